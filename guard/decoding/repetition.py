"""Strings that say the same over and over: how small models go on when they have nothing more to say.

A string repeats itself where one of its parts comes REPEATS times in a row, in at least SHORTEST characters. `ends_so`
looks at the end of a text while it is written, `repeated_at` into a whole one. Both look at JSON as it is written,
escapes included.
"""

from __future__ import annotations

import re

from guard.decoding.places import pointers

REPEATS = 8  #: How often a part comes in a row.
SHORTEST = 160  #: Characters that it takes up together.
LONGEST_PART = 200  #: Characters of a part.
LOOKED_INTO = 250_000  #: Characters of an answer that are looked into: 10 to 20 ms.
_PROBE = 24  #: Characters at the end of a text whose last occurrence before tells the length of a part.
_TRIES = 4  #: Occurrences that are tried: a part may have its own repetitions.
_STRIDE = 64  #: Characters between two places at which a string is looked into.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_QUOTE = re.compile(rb'(?<!\\)(?:\\\\)*+"')


def repeated_at(text: str, *, is_json: bool = True) -> tuple[str, ...]:
    """Return the JSON Pointers of the strings that repeat themselves; that of the root for a text that does. O(text).

    A repetition of SHORTEST + _STRIDE characters and REPEATS parts is surely found.
    """
    data = text[:LOOKED_INTO].encode(errors="replace")
    if not is_json:
        return ("",) if _repeats(data, 0, len(data)) else ()
    found = []
    for match in _STRING.finditer(data):
        start, end = match.span()
        if end - start > SHORTEST and _repeats(data, start + 1, end - 1):
            found.append((start + 1, b"x"))
    return pointers(data, found) if found else ()


def ends_so(text: str) -> bool:
    """Answer whether a text that ends inside of a string ends in a repetition of that string's. O(1)."""
    data = text[-REPEATS * LONGEST_PART :].encode(errors="replace")
    size = _size(data, 0, len(data))
    return size > 0 and _QUOTE.search(data, len(data) - size) is None


def _repeats(data: bytes, start: int, end: int) -> bool:
    """Answer whether a string between two offsets repeats itself somewhere."""
    places = range(start + SHORTEST, end, _STRIDE)
    return any(_size(data, start, place) for place in places) or _size(data, start, end) > 0


def _size(data: bytes, start: int, end: int) -> int:
    """Return how many bytes before `end`, and none before `start`, say the same over and over; 0 where none do."""
    probe = data[max(start, end - _PROBE) : end]
    if len(probe) < _PROBE:
        return 0
    before = end
    for _ in range(_TRIES):
        before = data.rfind(probe, max(start, end - _PROBE - LONGEST_PART), before - 1)
        if before < 0:
            return 0
        part = end - _PROBE - before
        size = max(SHORTEST, REPEATS * part)
        if end - start >= size and data[end - size : end - part] == data[end - size + part : end]:
            return size
        before += _PROBE
    return 0
