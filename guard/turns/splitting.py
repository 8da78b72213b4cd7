"""Rendered turns, taken apart: where sentinels stand, and what texts are around them.

Nothing here knows a family of templates. A list of calls, of members or of items is told from two of its elements: what
is in front of the first, between both, and behind the last.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

MARK = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")  #: What looks like a token of its own.
MOST_TRIED = 10
DIGITS = frozenset("0123456789")


class Listed(NamedTuple):
    """The texts around the elements of a list."""

    begin: str
    opening: str
    closing: str
    separator: str
    end: str


def listed(before: str, between: str, behind: str) -> Listed:
    """Tell the texts of a list apart: as much as can be belongs to each element."""
    opening = common_end([before, between])
    rest = between.removesuffix(opening)
    closing = common_start([rest, behind])
    return Listed(before[: len(before) - len(opening)], opening, closing, rest[len(closing) :], behind[len(closing) :])


def shared_start(texts: Iterable[str]) -> str:
    """Return the longest text with which all begin."""
    given = [*texts]
    length = 0
    for length, chars in enumerate(zip(*given, strict=False), 1):
        if len({*chars}) > 1:
            return given[0][: length - 1]
    return given[0][:length]


def shared_end(texts: Iterable[str]) -> str:
    """Return the longest text with which all end."""
    return shared_start(text[::-1] for text in texts)[::-1]


def common_start(texts: Iterable[str]) -> str:
    """Return the longest text with which all begin; no mark is cut in two."""
    return whole_start(shared_start(texts))


def common_end(texts: Iterable[str]) -> str:
    """Return the longest text with which all end; no mark is cut in two."""
    return whole_end(shared_end(texts))


def whole_start(text: str) -> str:
    """Return a text without a mark at its end that it only begins."""
    at = text.rfind("<")
    return text[:at] if at > text.rfind(">") else text


def whole_end(text: str) -> str:
    """Return a text without a mark at its beginning of which it has only the end."""
    first = text.find(">")
    return text if first < 0 or -1 < text.find("<") < first else text[first + 1 :]


def json_at(text: str, value: dict[str, Any]) -> tuple[int, int] | None:
    """Return where a JSON object stands in a text: among the first few places where one of its keys comes first."""
    decoder = json.JSONDecoder()
    begun = re.finditer(rf'\{{\s{{0,99}}"(?:{"|".join(map(re.escape, value))})"', text)
    for match in itertools.islice(begun, MOST_TRIED):
        with contextlib.suppress(ValueError, RecursionError):
            found, end = decoder.raw_decode(text, match.start())
            if found == value:
                return match.start(), end
    return None


def last_number(text: str) -> tuple[int, int] | None:
    """Return where the last digits of a text stand."""
    end = len(text)
    while end and text[end - 1] not in DIGITS:
        end -= 1
    begin = end
    while begin and text[begin - 1] in DIGITS:
        begin -= 1
    return (begin, end) if end else None
