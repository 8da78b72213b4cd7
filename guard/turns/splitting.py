"""Rendered turns, taken apart: where sentinels stand, and what texts are around them.

Nothing here knows a family of templates. A list of calls, of members or of items is told from two of its elements: what
is in front of the first, between both, and behind the last.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

MARK = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")  #: What looks like a token of its own.


class Listed(NamedTuple):
    """The texts around the elements of a list."""

    begin: str
    opening: str
    closing: str
    separator: str
    end: str


def listed(before: str, between: str, behind: str) -> Listed:
    """Tell the texts of a list apart: as much as can be belongs to each element."""
    opening = whole_end(os.path.commonprefix([before[::-1], between[::-1]])[::-1])
    rest = between[: len(between) - len(opening)]
    closing = whole_start(os.path.commonprefix([rest, behind]))
    return Listed(
        before[: len(before) - len(opening)], opening, closing, rest[len(closing) :], behind[len(closing) :]
    )


def common_start(texts: Sequence[str]) -> str:
    """Return the longest text with which all begin; no mark is cut in two."""
    return whole_start(os.path.commonprefix(list(texts)))


def common_end(texts: Sequence[str]) -> str:
    """Return the longest text with which all end; no mark is cut in two."""
    return whole_end(os.path.commonprefix([text[::-1] for text in texts])[::-1])


def whole_start(text: str) -> str:
    """Return a text without a mark at its end that it only begins."""
    at = text.rfind("<")
    return text[:at] if at > text.rfind(">") else text


def whole_end(text: str) -> str:
    """Return a text without a mark at its beginning of which it has only the end."""
    first = text.find(">")
    return text if first < 0 or -1 < text.find("<") < first else text[first + 1 :]


def json_at(text: str, value: Any, begin: int = 0) -> tuple[int, int] | None:
    """Return where a JSON object or array stands in a text."""
    decoder, bracket = json.JSONDecoder(), "{" if isinstance(value, dict) else "["
    at = text.find(bracket, begin)
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except ValueError:
            found = None
        if found == value:
            return at, end
        at = text.find(bracket, at + 1)
    return None
