"""Quotes: the substrings of a text that may be quoted, and the places where they occur.

Comparison takes the normal form of the text (normal_form.py), with a line feed for each break that a quotation may not
cross. Each of its characters remembers its place in the original text. Where quotations may
join lines (within="paragraph"), a word hyphenated at the end of a line is kept in three forms, each in a paragraph of
its own: as written, joined without the hyphen, and joined with it.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Callable, Iterator

from guard.schemas.grounding.keyword import MOST_PLACES, Within
from guard.schemas.grounding.normal_form import clusters, compared, nfc
from guard.schemas.grounding.word_bounds import bounds
from guard.schemas.ops import Rx, Tree

_LINE_BREAK = re.compile("\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_COLUMN = 3  #: Spaces that separate columns; a tab does, too.
#: White space that is not a single space; between cells, the cell border.
_GAPS = re.compile(r" \s+|[^\S ]\s*")
_CELL_GAPS = re.compile(r"\s*[|\t]\s*| \s+|[^\S ]\s*")
#: A hyphen at the end of a line; not one inside a Hangul syllable that is written in parts.
_WRAP = re.compile(r"(?<=[^\W\d_])[-‐\u00ad][^\S\n\r]*(?:\r\n|\n|\r)[^\S\n\r]*(?=[^\W\d_\u1160-\u11ff\ud7b0-\ud7ff])")
_SEPARATOR = re.compile(r"(?:\r\n|\n|\r(?!\n))[^\S\n\r]*[\n\r]\s*")


class QuotableText:
    """One text in the form for comparison. Building it takes O(characters)."""

    def __init__(self, text: str, within: Within) -> None:
        self.text = text
        self._parts: list[str] = []
        # Runs of characters: the start of each in the normal form, its start in the text, and the end of each of its
        # characters in the text; -1: they are consecutive there.
        self._at, self._begins, self._ends = [0], [0], [0]
        self._size = 0
        self._is_plain = text.isascii() or unicodedata.is_normalized("NFC", text)
        self._add(0, len(text), within)
        if within == "paragraph" and _WRAP.search(text):
            self._add_unwrapped()
        self.compared = "".join(self._parts)
        self.starts, self.ends = bounds(self.compared)

    @property
    def tree(self) -> Tree:
        """The substrings that may be quoted, as a syntax tree for the engine."""
        return (int(Rx.QUOTES), self.compared, self.starts, self.ends)

    def find(self, value: str) -> list[tuple[int, int]]:
        """Return the places of a value in order, at most MOST_PLACES; none where it can't be quoted."""
        wanted = compared(value)
        if not wanted or wanted[0] == " " or wanted[-1] == " ":
            return []
        found: set[tuple[int, int]] = set()
        for at in self._quoted(wanted):
            found.add((self._place(at)[0], self._place(at + len(wanted) - 1)[1]))
            if len(found) == MOST_PLACES:
                break
        return sorted(found)

    def _quoted(self, wanted: str) -> Iterator[int]:
        """Yield where a text stands between bounds, in the normal form."""
        for begins in _occurrences(self.compared, wanted):
            first, end, step = begins.start, begins.stop, begins.step
            starts = self.starts[first:end:step]
            ends = self.ends[first + len(wanted) : end + len(wanted) : step]
            if len(begins) > 1:
                yield from (begins[index] for index in _set_in_both(starts, ends))
            elif starts == ends == b"\1":
                yield first

    def _place(self, index: int) -> tuple[int, int]:
        """Return the place in the original text of a character of the normal form."""
        run = bisect.bisect_right(self._at, index) - 1
        if self._ends[run] >= 0:
            return self._begins[run], self._ends[run]
        begin = self._begins[run] + index - self._at[run]
        return begin, begin + 1

    def _add(self, start: int, end: int, within: Within) -> None:
        """Append the text from `start` to `end` to the normal form."""
        is_break, at = _BREAKS[within], start
        for gap in (_CELL_GAPS if within == "cell" else _GAPS).finditer(self.text, start, end):
            first, last = gap.span()
            if first > at:
                self._add_words(at, first)
            self._put("\n" if is_break(gap[0]) else " ", first, last)
            at = last
        if end > at:
            self._add_words(at, end)

    def _add_unwrapped(self) -> None:
        """Append the paragraphs with hyphenated lines again: without the hyphens, then with them."""
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

    def _add_words(self, start: int, end: int) -> None:
        """Append words in NFC with single spaces between them. What is composed takes the place of its cluster."""
        words = self.text[start:end]
        if self._is_plain or unicodedata.is_normalized("NFC", words):
            self._put(words, start, -1)
            return
        for at, until in clusters(words):
            self._add_cluster(words[at:until], start + at)

    def _add_cluster(self, cluster: str, start: int) -> None:
        composed = nfc(cluster)
        head = _alike(cluster, composed)
        tail = _alike(cluster[head:][:0:-1], composed[head:][:0:-1])
        begin, end = start + head, start + len(cluster) - tail
        self._put(composed[:head], start, -1)
        for char in composed[head : len(composed) - tail]:
            self._put(char, begin, end)
        self._put(composed[len(composed) - tail :], end, -1)

    def _put(self, chars: str, begin: int, end: int) -> None:
        self._parts.append(chars)
        self._at.append(self._size)
        self._begins.append(begin)
        self._ends.append(end)
        self._size += len(chars)


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts share at their start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _occurrences(text: str, wanted: str) -> Iterator[range]:
    """Yield the places of a text in another, in order. O(characters), however much they overlap."""
    at = text.find(wanted)
    while at >= 0:
        following = text.find(wanted, at + 1)
        step = following - at
        if following < 0 or step > len(wanted):
            yield range(at, at + 1)
            at = following
            continue
        found = range(at, _end_of_period(text, at, step) - len(wanted) + 1, step)
        yield found
        at = text.find(wanted, found[-1] + 1)


def _end_of_period(text: str, start: int, step: int) -> int:
    """Return up to where a text repeats, from `start` on, what stood `step` characters before."""
    end, size = start + step, 1
    while text.startswith(text[end - step : end - step + size], end):
        end += size
        size *= 2
    while size := size // 2:
        if text.startswith(text[end - step : end - step + size], end):
            end += size
    return end


def _set_in_both(one: bytes, other: bytes) -> Iterator[int]:
    """Yield the indexes at which two strings of bytes, 0 or 1, both have a 1."""
    both = (int.from_bytes(one) & int.from_bytes(other)).to_bytes(len(one))
    at = both.find(1)
    while at >= 0:
        yield at
        at = both.find(1, at + 1)


def _has_line_break(space: str) -> bool:
    return _LINE_BREAK.search(space) is not None


def _cell_breaks(space: str) -> bool:
    return len(space) >= _COLUMN or "\n" in space or "|" in space or "\t" in space or _has_line_break(space)


_BREAKS: dict[Within, Callable[[str], bool]] = {
    "cell": _cell_breaks,
    "line": _has_line_break,
    "paragraph": lambda space: len(_LINE_BREAK.findall(space)) > 1,
}
