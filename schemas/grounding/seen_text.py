"""A text without the marks that nobody sees: of direction, zero-width spaces, soft hyphens, byte-order marks.

Documents in scripts from right to left, and what was copied from PDF or HTML, are full of them, and no model repeats
them. A soft hyphen at the end of a line is seen, as a hyphen. Joiners stay: in Persian and Hindi they change words.
"""

from __future__ import annotations

import bisect
import re

_UNSEEN = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\u00ad]+")
_AT_LINE_END = re.compile("\u00ad(?=[^\\S\\n\\r]*[\\n\\r])")


def seen(text: str) -> str:
    """Return a text without such marks."""
    return text if text.isascii() else _UNSEEN.sub("", _AT_LINE_END.sub("-", text))


class SeenText:
    """A text without such marks, and where its characters stand in the original."""

    def __init__(self, text: str) -> None:
        self.text = seen(text)
        self._at: list[int] = []  # for each mark, the index in `text` of the character behind it
        if len(self.text) < len(text):
            for mark in _UNSEEN.finditer(_AT_LINE_END.sub("-", text)):
                self._at += [mark.start() - len(self._at)] * len(mark[0])

    def place(self, span: tuple[int, int]) -> tuple[int, int]:
        """Return the place in the original of a part that is not empty."""
        return self._origin(span[0]), self._origin(span[1] - 1) + 1

    def _origin(self, index: int) -> int:
        return index + bisect.bisect_right(self._at, index)
