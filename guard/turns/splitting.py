"""Splitting of rendered turns: the texts around sentinels, and around the elements of a list.

Nothing here knows a family of templates. Two elements are enough to learn how a list is written: from the text before
the first, the text between both, and the text after the last.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

MARK = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")  #: Looks like a special token.
MOST_TRIED = 10  #: Places of a text at which an object is looked for.
DIGITS = frozenset("0123456789")


class Listed(NamedTuple):
    """The texts around a list (`begin`, `end`), around each element, and between two elements."""

    begin: str
    opening: str
    closing: str
    separator: str
    end: str


def listed(before: str, between: str, behind: str) -> Listed:
    """Split the texts around two elements. What could belong to the list or to each element is given to the element."""
    opening = common_end([before, between])
    rest = between.removesuffix(opening)
    closing = common_start([rest, behind])
    return Listed(before[: len(before) - len(opening)], opening, closing, rest[len(closing) :], behind[len(closing) :])


def shared_start(texts: Iterable[str]) -> str:
    """Return the longest common prefix."""
    given = [*texts]
    length = 0
    for length, chars in enumerate(zip(*given, strict=False), 1):
        if len({*chars}) > 1:
            return given[0][: length - 1]
    return given[0][:length]


def shared_end(texts: Iterable[str]) -> str:
    """Return the longest common suffix."""
    return shared_start(text[::-1] for text in texts)[::-1]


def common_start(texts: Iterable[str]) -> str:
    """Return the longest common prefix that cuts no mark in two."""
    return whole_start(shared_start(texts))


def common_end(texts: Iterable[str]) -> str:
    """Return the longest common suffix that cuts no mark in two."""
    return whole_end(shared_end(texts))


def whole_start(text: str) -> str:
    """Return a text without an incomplete mark at its end."""
    at = text.rfind("<")
    return text[:at] if at > text.rfind(">") else text


def whole_end(text: str) -> str:
    """Return a text without an incomplete mark at its start."""
    first = text.find(">")
    return text if first < 0 or -1 < text.find("<") < first else text[first + 1 :]


def json_at(text: str, value: dict[str, Any]) -> tuple[int, int] | None:
    """Return the start and end of a JSON object in a text; None where it is not at one of the first few candidates."""
    decoder = json.JSONDecoder()
    begun = re.finditer(rf'\{{\s{{0,99}}"(?:{"|".join(map(re.escape, value))})"', text)
    for match in itertools.islice(begun, MOST_TRIED):
        with contextlib.suppress(ValueError, RecursionError):
            found, end = decoder.raw_decode(text, match.start())
            if found == value:
                return match.start(), end
    return None


def last_number(text: str) -> tuple[int, int] | None:
    """Return the start and end of the last run of digits in a text."""
    end = len(text)
    while end and text[end - 1] not in DIGITS:
        end -= 1
    begin = end
    while begin and text[begin - 1] in DIGITS:
        begin -= 1
    return (begin, end) if end else None
