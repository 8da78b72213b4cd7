"""Bounds of what people set: what is no number, not finite, beyond what a clock or a database can hold, or of no kind.

A bound is far above what anybody means, and low enough that every sum, deadline and column holds it.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

from guard.support.clipping import cut_short

MOST_SECONDS = 10_000_000.0  #: Of a wait: some four months. The clocks of event loops and sockets overflow later on.
MOST_COUNT = 2**31 - 1  #: Of things: tokens of an answer, requests, bytes, attempts.
MOST_SUM = 2**53  #: Of what adds up: tokens of a budget, calls of a trace.
MOST_USD = 1e9  #: Of a budget in US dollars.
MOST_TEMPERATURE = 100.0  #: Every token is as likely as any other long before.
MOST_DAYS = 100_000.0  #: For which records are kept.
MOST_CONCURRENCY = 1024  #: Of calls of one run under way at once, of which each takes a thread;
CONCURRENCY = 8  #: and as many as there are where nobody says.
SHOWN = 100  #: Characters of a value that a message shows.


def check(name: str, value: Any, least: float, most: float, *, is_above: bool = False, is_whole: bool = False) -> None:
    """Raise ValueError where a value is no number from `least` (or above it) to `most`; a bool is none."""
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
    """Raise TypeError where a value is not of a kind, which the words tell: "a guard.Budget"."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}={written(value)} must be {words}")


def check_names(function: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise TypeError where a function is given what it does not take, with the name that is meant."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
            raise TypeError(f"{function}() takes no {name!r}; {advice}")


def written(value: Any) -> str:
    """Return a value as a message shows it: however many digits it has, no more than fit on a line."""
    try:
        text = repr(value)
    except ValueError:  # of more digits than Python writes
        return "a number of thousands of digits"
    return cut_short(text, SHOWN)


def not_bool(value: Any) -> Any:
    """Refuse what Pydantic would take for 0 and 1."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not true or false")
    return value
