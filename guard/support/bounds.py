"""Checks of settings: that a value is a finite number within bounds, or of the right type.

A bound is far above what anybody means, and low enough that sums, deadlines and database columns can hold it.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

from guard.support.clipping import cut_short

MOST_SECONDS = 10_000_000.0  #: Longest wait, some four months. Clocks of event loops and sockets overflow later.
MOST_COUNT = 2**31 - 1  #: Largest count: of tokens of an answer, requests, bytes, attempts.
MOST_SUM = 2**53  #: Largest sum: of tokens of a budget, calls of a trace.
MOST_USD = 1e9  #: Largest budget in US dollars.
MOST_TEMPERATURE = 100.0  #: Highest temperature. All tokens are equally likely long before.
MOST_DAYS = 100_000.0  #: Longest time for which records are kept.
LEAST_SEED, MOST_SEED = -(2**63), 2**64 - 1  #: Seeds that torch and all providers take.
MOST_CONCURRENCY = 1024  #: Most calls of one run at the same time; each takes a thread.
CONCURRENCY = 8  #: The default of that.
SHOWN = 100  #: Characters of a value that a message shows.


def check(name: str, value: Any, least: float, most: float, *, is_above: bool = False, is_whole: bool = False) -> None:
    """Raise ValueError unless a value is a number from `least` (excluded if `is_above`) to `most`. A bool is none."""
    if type(value) is not int and (type(value) is not float or is_whole):
        kind = numbers.Integral if is_whole else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind):
            raise ValueError(f"{name}={value!r} must be a {'whole ' if is_whole else ''}number")
    if (least < value if is_above else least <= value) and value <= most:
        return
    if value > most and value != math.inf:
        raise ValueError(f"{name}={written(value)} must be at most {most:,}")
    end = "" if is_whole else " and finite"
    raise ValueError(f"{name}={written(value)} must be {'above' if is_above else 'at least'} {least:g}{end}")


def check_kind(name: str, value: Any, kind: Any, words: str) -> None:
    """Raise TypeError unless a value is an instance of `kind`; `words` name it: "a guard.Budget"."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}={written(value)} must be {words}")


def check_names(function: str, given: Iterable[str], known: Sequence[str], settings: Sequence[str] = ()) -> None:
    """Raise TypeError for an argument that a function does not take; the error names the closest known one.

    `settings` are those of the Guard whose method the function is.
    """
    for name in given:
        if name not in known and name in settings:
            advice = f"give it to the Guard, or write using({name}=…).{function}(…)"
            raise TypeError(f"{function}() takes no {name!r}, which is a setting; {advice}")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
            raise TypeError(f"{function}() takes no {name!r}; {advice}")


def written(value: Any) -> str:
    """Return a value's repr for a message, cut to SHOWN characters; works for integers of any size."""
    try:
        text = repr(value)
    except ValueError:  # of more digits than Python writes
        return "a number of thousands of digits"
    return cut_short(text, SHOWN)


def not_bool(value: Any) -> Any:
    """Raise ValueError for a bool, which Pydantic would take for 0 or 1; return any other value."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not true or false")
    return value
