"""Quotes: the texts that may be quoted from a text, and the places where they stand in it.

Of a text is kept what is compared: each run of white space is one space, each break that a quotation may not reach
beyond a line feed, all in NFC; and for each character where it stands in the text as it was given. Where lines may be
joined (within="paragraph"), a word that is hyphenated at a line's end is read in three ways, one paragraph each: as it
stands, without its hyphen, and with it but joined.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Callable

from guard.schemas.grounding.keyword import Within
from guard.schemas.grounding.words import bounds
from guard.schemas.ops import Rx, Tree

_LINE_BREAK = re.compile("\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_COLUMN = 3  #: So many spaces, or a tab, are between two columns.
_PARTS = re.compile(r"\s+|\S+")
_CELL_PARTS = re.compile(r"\s*(?:\||\t)\s*|\s+|[^\s|]+")
_WRAP = re.compile(r"(?<=[^\W\d_])[-‐\u00ad][^\S\n\r]*(?:\r\n|\n|\r)[^\S\n\r]*(?=[^\W\d_])")
_SEPARATOR = re.compile(r"(?:\r\n|[\n\r])[^\S\n\r]*(?:\r\n|[\n\r])\s*")


class Quotes:
    """What may be quoted from one text."""

    def __init__(self, text: str, within: Within) -> None:
        self.text = text
        self._parts: list[str] = []
        self._begins, self._ends = array("q"), array("q")  # of each character, in the text that was given
        self._is_plain = text.isascii() or unicodedata.is_normalized("NFC", text)
        self._add(0, len(text), within)
        if within == "paragraph" and _WRAP.search(text):
            self._add_unwrapped()
        self.compared = "".join(self._parts)
        self.starts, self.ends = bounds(self.compared)

    @property
    def tree(self) -> Tree:
        """What may be quoted, as the engine takes it."""
        return (int(Rx.QUOTES), self.compared, self.starts, self.ends)

    def find(self, value: str) -> list[tuple[int, int]]:
        """Return all places where a value stands, in order; none where it can't be quoted."""
        wanted = compared(value)
        if not wanted or wanted[0] == " " or wanted[-1] == " ":
            return []
        found: list[tuple[int, int]] = []
        at = self.compared.find(wanted)
        while at >= 0:
            end = at + len(wanted)
            if self.starts[at] and self.ends[end]:
                found.append((self._begins[at], self._ends[end - 1]))
            at = self.compared.find(wanted, at + 1)
        return sorted(set(found))

    def _add(self, start: int, end: int, within: Within) -> None:
        """Add the text from `start` to `end`."""
        is_break = _BREAKS[within]
        for match in (_CELL_PARTS if within == "cell" else _PARTS).finditer(self.text, start, end):
            part, begin = match.group(), match.start()
            if part[0].isspace() or part[-1].isspace() or (part == "|" and within == "cell"):
                self._put("\n" if is_break(part) else " ", begin, match.end())
            elif self._is_plain:
                self._parts.append(part)
                self._begins.extend(range(begin, match.end()))
                self._ends.extend(range(begin + 1, match.end() + 1))
            else:
                self._add_composed(part, begin)

    def _add_unwrapped(self) -> None:
        """Add the paragraphs with hyphenated lines once more, without the hyphens, and with them."""
        start = 0
        for end in [*(match.end() for match in _SEPARATOR.finditer(self.text)), len(self.text)]:
            wraps = list(_WRAP.finditer(self.text, start, end))
            for hyphen in ("", "-") if wraps else ():
                self._put("\n", start, start)
                at = start
                for wrap in wraps:
                    self._add(at, wrap.start(), "paragraph")
                    if hyphen:
                        self._put(hyphen, wrap.start(), wrap.start() + 1)
                    at = wrap.end()
                self._add(at, end, "paragraph")
            start = end

    def _add_composed(self, part: str, begin: int) -> None:
        """Add a part in NFC: each cluster of characters that compose stands where all of them do."""
        at = 0
        for end in range(1, len(part) + 1):
            if end < len(part) and not _begins_cluster(part, at, end):
                continue
            for char in unicodedata.normalize("NFC", part[at:end]):
                self._put(char, begin + at, begin + end)
            at = end

    def _put(self, char: str, begin: int, end: int) -> None:
        self._parts.append(char)
        self._begins.append(begin)
        self._ends.append(end)


def compared(value: str) -> str:
    """Return a value as it is compared: in NFC, each run of white space one space."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", value))


def _begins_cluster(part: str, start: int, at: int) -> bool:
    """Whether no character from `at` on composes with one between `start` and there."""
    if part[at].isascii():
        return True
    end = at + 1
    while end < len(part) and unicodedata.combining(part[end]):
        end += 1
    normalize = unicodedata.normalize
    return normalize("NFC", part[start:end]) == normalize("NFC", part[start:at]) + normalize("NFC", part[at:end])


def _cell_breaks(space: str) -> bool:
    return "|" in space or "\t" in space or len(space) >= _COLUMN or _LINE_BREAK.search(space) is not None


_BREAKS: dict[Within, Callable[[str], bool]] = {
    "cell": _cell_breaks,
    "line": lambda space: _LINE_BREAK.search(space) is not None,
    "paragraph": lambda space: len(_LINE_BREAK.findall(space)) > 1,
}
