"""Grounded values: texts, numbers and dates that the inputs of a call state, with the places where they do.

`keyword.py` reads `x-guard-from`, the keyword for values that come from the inputs. `seen_text.py` leaves out marks
that nobody sees, `normal_form.py` has the form in which texts are compared, `word_bounds.py` finds where words begin
and end, and `quotes.py` the texts that may be quoted. `stated_numbers.py` and `stated_dates.py` find the numbers and
dates of a text in the notations of `notations.py`. `sources.py` holds all of this for one call, and `walk.py` finds the
grounded values of an answer.
"""
