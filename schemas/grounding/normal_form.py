"""The normal form of texts that are compared: NFC, with one space for each run of white space.

A cluster is a part of a text that is brought into NFC alone: a letter with what composes with it, and all its marks.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator

from guard.schemas.grounding.seen_text import seen

_LONG = 30  #: Marks of one letter, above which they are put in order here: no language has as many.


def compared(value: str) -> str:
    """Return the normal form of a value."""
    return re.sub(r"\s+", " ", nfc(seen(value)))


def nfc(text: str) -> str:
    """Return a text in NFC. Python's own takes O(marks**2) where many marks of one letter are in disorder."""
    if unicodedata.is_normalized("NFC", text):
        return text
    return unicodedata.normalize("NFC", _long_marks().sub(_in_order, text))


def clusters(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each cluster. O(characters)."""
    start = 0
    for at in range(1, len(text)):
        if text[at].isascii() or (text[at] not in _marks() and _is_apart(text[start:at], text[at])):
            yield start, at
            start = at
    if text:
        yield start, len(text)


def _is_apart(cluster: str, letter: str) -> bool:
    """Whether a letter composes with none of the cluster before it, as parts of a Hangul syllable do."""
    return nfc(cluster + letter) == nfc(cluster) + nfc(letter)


@functools.cache
def _marks() -> frozenset[str]:
    """Return the characters that belong to the letter before them."""
    chars = map(chr, range(0x20000))
    return frozenset(char for char in chars if unicodedata.combining(unicodedata.normalize("NFD", char)[0]))


@functools.cache
def _long_marks() -> re.Pattern[str]:
    return re.compile(f"[{''.join(sorted(_marks()))}]{{{_LONG},}}")


def _in_order(marks: re.Match[str]) -> str:
    parts = "".join(unicodedata.normalize("NFD", mark) for mark in marks[0])
    return "".join(sorted(parts, key=unicodedata.combining))
