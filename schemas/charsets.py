"""Character sets: sorted disjoint ranges of code points, and the Unicode properties that regexes name.

A set is a tuple of (low, high) pairs, inclusive. Surrogates are in no set: JSON text that is read as Unicode has none.
What a property holds is asked of jsonschema_rs: the validator that judges a finished value and the mask that let it
through then agree about every character, whatever version of Unicode each was built with. Where that is the version of
unicode_classes.py, one character of each class is asked about, some 2,000 in all; otherwise every code point.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, TypeAlias

from guard.kernels.memo import memo
from guard.schemas import unicode_classes

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator as _Validator

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

#: Where letters with two cases are, and how many code points are looked at together: most such blocks have none.
_CASED = (
    (0x41, 0x2FFF),
    (0xA000, 0xABFF),
    (0xFB00, 0xFFFF),
    (0x10000, 0x11FFF),
    (0x16000, 0x16FFF),
    (0x1D000, 0x1EFFF),
)
_TOGETHER = 128


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


def _cased() -> list[int]:
    """Return the code points of every block in which some letter has two cases."""
    out: list[int] = []
    for low, high in _CASED:
        for start in range(low, high + 1, _TOGETHER):
            codes = array("I", range(start, min(start + _TOGETHER, high + 1)))
            text = codes.tobytes().decode("utf-32")  # as this machine orders bytes
            if not text.lower() == text == text.upper():
                out += codes
    return out


@cache
def _classes(unicode: bool) -> tuple[list[int], dict[int, set[int]]]:
    """Return the letters that differ from another in case only, in order, and those of each one's class."""
    fold = _simple_fold if unicode else _upper
    classes: dict[int, set[int]] = {}
    for code in _cased():
        to = fold(code)
        if to != code:
            classes.setdefault(to, {to}).add(code)
    out: dict[int, set[int]] = {}
    for codes in classes.values():
        for code in codes:
            out[code] = out.get(code, set()) | codes
    return sorted(out), out


def _folded(ranges: Ranges, unicode: bool) -> Ranges:
    letters, classes = _classes(unicode)
    more: set[int] = set()
    for low, high in ranges:
        more.update(*(classes[code] for code in letters[bisect_left(letters, low) : bisect_right(letters, high)]))
    return union([*ranges, *((code, code) for code in more)])


#: Bytes of the sets that are remembered with their letters of either case.
REMEMBERED = 4_000_000


def _both(folded: Ranges, ranges: Ranges) -> int:
    return nbytes(folded) + nbytes(ranges)


@memo(REMEMBERED, _both)
def folded(ranges: Ranges) -> Ranges:
    """Return a set with all letters that are equal to one of it under the flags `iu`."""
    return _folded(ranges, True)


@memo(REMEMBERED, _both)
def folded_without_unicode(ranges: Ranges) -> Ranges:
    """Return a set with all letters that are equal to one of it under the flag `i` alone."""
    return _folded(ranges, False)


@lru_cache(maxsize=256)
def named(name: str) -> Ranges | None:
    r"""Return the set that `\p{name}` means, or None where there is no such property."""
    found = validators(name)
    if found is None:
        return None
    looked_up = _looked_up(*found) if _is_written_down() else None
    return asked(*found) if looked_up is None else looked_up


def validators(name: str) -> tuple[_Validator, _Validator] | None:
    """Return what says whether a text is all in a property, and all outside of it; None where there is none such."""
    import jsonschema_rs  # here: few schemas name a property, and it takes a while

    try:
        inside = jsonschema_rs.Draft202012Validator({"pattern": f"^\\p{{{name}}}*$"})
        outside = jsonschema_rs.Draft202012Validator({"pattern": f"^\\P{{{name}}}*$"})
    except (ValueError, jsonschema_rs.ValidationError):
        return None
    return inside, outside


@cache
def _is_written_down() -> bool:
    """Say whether the validator has the version of Unicode that unicode_classes.py has."""
    now, later = (validators(f"age={version}") for version in (unicode_classes.UNICODE, unicode_classes.LATER))
    return now is not None and later is None


@cache
def _runs() -> list[tuple[int, int, int, str]]:
    """Return each run of code points that no property tells apart: its first and last, its class, and both as text."""
    numbers = list(map(int, unicode_classes.RUNS.split()))
    starts = accumulate(numbers[::2], initial=0)
    runs = [(low, high - 1, number) for (low, high), number in zip(pairwise(starts), numbers[1::2], strict=True)]
    return [(low, high, number, chr(low) if high in (low, SURROGATES[1]) else chr(low) + chr(high))
            for low, high, number in runs]  # fmt: skip


@cache
def _examples() -> dict[int, str]:
    """Return one character of each class."""
    return {number: text[0] for _, _, number, text in _runs()}


def _looked_up(inside: _Validator, outside: _Validator) -> Ranges | None:
    """Return the set of a property, of which one character of each class is asked; None where that is not all."""
    held = {number for number, char in _examples().items() if inside.is_valid(char)}
    # A property that the classes were not derived from would tell some runs of one class apart, or their ends.
    if not inside.is_valid("".join(text for _, _, number, text in _runs() if number in held)):
        return None
    if not outside.is_valid("".join(text for _, _, number, text in _runs() if number not in held)):
        return None
    return union((low, high) for low, high, number, _ in _runs() if number in held)


#: Code points asked about at once where every one is.
BLOCK = 1024


def asked(inside: _Validator, outside: _Validator) -> Ranges:
    """Return the set of a property, of which every code point is asked."""
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
