"""Character sets: sorted disjoint ranges of code points, and the Unicode properties that regexes name.

A set is a tuple of (low, high) pairs, inclusive. Surrogates are in no set: JSON text that is read as Unicode has none.
Property tables are asked of jsonschema_rs, block by block: the validator that judges a finished value and the mask that
let it through then agree about every character, whatever version of Unicode each was built with.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import TypeAlias

from guard.kernels.memo import memo

Ranges: TypeAlias = tuple[tuple[int, int], ...]

MAX_CODE_POINT = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)
ALL: Ranges = ((0, 0xD7FF), (0xE000, MAX_CODE_POINT))


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the set of all code points in the ranges, which may come in any order and overlap."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            if high > out[-1][1]:
                out[-1] = (out[-1][0], high)
        else:
            out.append((low, high))
    return _without_surrogates(out)


def complement(ranges: Ranges) -> Ranges:
    """Return every code point, surrogates aside, that is not in the set."""
    out, start = [], 0
    for low, high in ranges:
        if low > start:
            out.append((start, low - 1))
        start = high + 1
    if start <= MAX_CODE_POINT:
        out.append((start, MAX_CODE_POINT))
    return _without_surrogates(out)


def nbytes(ranges: Ranges) -> int:
    """Return about how many bytes a set takes."""
    return 80 + 130 * len(ranges)


def _without_surrogates(ranges: list[tuple[int, int]]) -> Ranges:
    first, last = SURROGATES
    if all(high < first or low > last for low, high in ranges):
        return tuple(ranges)
    out = []
    for low, high in ranges:
        if low < first:
            out.append((low, min(high, first - 1)))
        if high > last:
            out.append((max(low, last + 1), high))
    return tuple(out)


def single(code: int) -> Ranges:
    """Return the set of one code point; a surrogate's is empty."""
    return _without_surrogates([(code, code)])


DIGITS: Ranges = ((48, 57),)
WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
SPACE: Ranges = (
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
)
NOT_DIGITS, NOT_WORD, NOT_SPACE = complement(DIGITS), complement(WORD), complement(SPACE)
LINE_ENDS: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
#: What `.` matches.
DOT: Ranges = complement(LINE_ENDS)

#: Where letters with two cases are; asking every code point would take a third of a second.
_CASED = ((0x41, 0x2FFF), (0xA000, 0xABFF), (0xF900, 0xFFFF), (0x10000, 0x1FFFF))


def _simple_fold(code: int) -> int:
    """Return a code point's simple case folding, which `re.casefold` makes longer for some letters."""
    char = chr(code)
    for text in (char.casefold(), char.lower()):
        if len(text) == 1:
            return ord(text)
    return code


def _upper(code: int) -> int:
    """Return what a regex without `u` takes a code point for: its capital, if that is one, and ASCII only for ASCII."""
    text = chr(code).upper()
    return code if len(text) != 1 or (code >= 128 > ord(text)) else ord(text)


@cache
def _classes(unicode: bool) -> list[tuple[int, ...]]:
    """Return the sets of letters that differ in case only."""
    fold = _simple_fold if unicode else _upper
    out: dict[int, list[int]] = {}
    for low, high in _CASED:
        for code in range(low, high + 1):
            out.setdefault(fold(code), []).append(code)
    return [tuple(dict.fromkeys((to, *codes))) for to, codes in out.items() if codes != [to]]


def _folded(ranges: Ranges, classes: list[tuple[int, ...]]) -> Ranges:
    more = [
        code
        for codes in classes
        if any(low <= code <= high for low, high in ranges for code in codes)
        for code in codes
    ]
    return union([*ranges, *((code, code) for code in more)])


#: Bytes of the sets that are remembered with their letters of either case.
REMEMBERED = 4_000_000


def _both(folded: Ranges, ranges: Ranges) -> int:
    return nbytes(folded) + nbytes(ranges)


@memo(REMEMBERED, _both)
def folded(ranges: Ranges) -> Ranges:
    """Return a set with all letters that are equal to one of it under the flags `iu`."""
    return _folded(ranges, _classes(True))


@memo(REMEMBERED, _both)
def folded_without_unicode(ranges: Ranges) -> Ranges:
    """Return a set with all letters that are equal to one of it under the flag `i` alone."""
    return _folded(ranges, _classes(False))


#: Code points asked about at once while a property's table is read.
BLOCK = 1024


@lru_cache(maxsize=256)
def named(name: str) -> Ranges | None:
    r"""Return the set that `\p{name}` means, or None where there is no such property."""
    import jsonschema_rs  # here: few schemas name a property, and it takes a while

    try:
        inside = jsonschema_rs.Draft202012Validator({"pattern": f"^\\p{{{name}}}*$"})
        outside = jsonschema_rs.Draft202012Validator({"pattern": f"^\\P{{{name}}}*$"})
    except (ValueError, jsonschema_rs.ValidationError):
        return None
    found: list[tuple[int, int]] = []
    todo = [(low, min(low + BLOCK - 1, high)) for start, high in ALL for low in range(start, high + 1, BLOCK)][::-1]
    while todo:
        low, high = todo.pop()
        text = "".join(map(chr, range(low, high + 1)))
        if inside.is_valid(text):
            if found and found[-1][1] == low - 1:
                found[-1] = (found[-1][0], high)
            else:
                found.append((low, high))
        elif not outside.is_valid(text):
            middle = (low + high) // 2
            todo += [(middle + 1, high), (low, middle)]
    return union(found)
