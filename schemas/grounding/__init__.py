"""Grounded values: what the inputs of a call state, with the places where they state it.

`keyword.py` reads `x-guard-from`, the keyword of a schema that says that a value comes from the inputs. `words.py` says
where words begin and end, `quotes.py` which texts may be quoted. `stated_numbers.py` and `stated_dates.py` find what
stands there as a number or a date, in what `notations.py` knows. `sources.py` has all of that of one call. `walk.py`
finds the grounded values of an answer.
"""
