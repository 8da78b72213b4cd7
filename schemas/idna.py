"""Internationalised host names of IDNA2008: RFC 5890 to 5893, as trees.

Which characters a label may hold is derived from Python's own Unicode data as RFC 5892 derives it, at first use. The
trees hold names that are valid beyond doubt; `MAYBE` trees beside them hold what else might be, of which neither the
format nor its negation is ever written:

- of A-labels (`xn--`) all but short ones of some scripts, whose Punycode is written out;
- U-labels of more than 12 characters (18 below U+0800): whether their Punycode fits 63 octets is no regular language;
- names of more than four labels, where any is not ASCII: likewise with their 253 octets;
- characters beyond the Basic Multilingual Plane, and those that Python's Unicode does not know yet;
- two combining marks behind each other, and marks that compose with a letter: they may not be in normal form C;
- a ZERO WIDTH NON-JOINER between letters of other cursive scripts than Arabic, a joiner behind a virama that
  validators don't know, and a KERAIA before the accented letters of old Greek, which they judge differently.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

from guard.schemas import charsets, regex
from guard.schemas.charsets import Ranges
from guard.schemas.ops import Rx, Tree

#: Scripts that are valid in whole blocks: nothing in them needs a look.
_WHOLE = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3))
#: Old Hangul, and blocks of marks for symbols and of variation selectors: disallowed (RFC 5892, 2.6 and 2.9).
_NEVER = (
    (0x1100, 0x11FF),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x20D0, 0x20FF),
    (0xA960, 0xA97C),
    (0xD7B0, 0xF8FF),
    (0xFE00, 0xFE0F),
)
#: Exceptions (RFC 5892, 2.6), and characters whose neighbours matter (its appendix A).
_VALID = "\u00df\u03c2\u06fd\u06fe\u0f0b\u3007"
_DISALLOWED = "\u034f\u0640\u07fa\u302e\u302f\u3031\u3032\u3033\u3034\u3035\u303b"
_MIDDLE_DOT, _KERAIA, _GERESH, _KATAKANA_DOT = "\u00b7", "\u0375", "[\u05f3\u05f4]", "\u30fb"
_ARABIC_DIGITS, _PERSIAN_DIGITS = "\u0660-\u0669", "\u06f0-\u06f9"
_IN_CONTEXT = _MIDDLE_DOT + _KERAIA + "\u05f3\u05f4" + _KATAKANA_DOT
#: Arabic letters that join on both sides, and those that join to the right only.
_DUAL = "\u0626\u0628\u062a-\u062e\u0633-\u063f\u0641-\u0647\u0649\u064a"
_RIGHT = "\u0622-\u0625\u0627\u0629\u062f-\u0632\u0648"

SEPARATORS = "[.\u3002\uff0e\uff61]"
#: Viramas that validators don't know, after which a joiner is not written.
_NEW_VIRAMAS = "\u0d3b\u0d3c\u0eba\u103a\u1715\u1bab\ua82c\ua9c0\uaaf6"
_LETTERS = frozenset({"Ll", "Lu", "Lo", "Lm", "Nd", "Mn", "Mc"})


def _is_valid(code: int) -> bool:
    """Say whether RFC 5892 derives PVALID for a character that is in no block above."""
    char = chr(code)
    if char in _VALID:
        return True
    if unicodedata.category(char) not in _LETTERS or char in _DISALLOWED or char in _IN_CONTEXT:
        return False
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", char).casefold()) == char


def _looked_at() -> Iterator[int]:
    """Yield the characters from U+0080 to U+FFEF that are in no block above."""
    start = 0x80
    for low, high in (*sorted((*_WHOLE, *_NEVER)), (0xFFF0, 0xFFFF)):
        yield from range(start, low)
        start = high + 1


@cache
def valid() -> tuple[int, ...]:
    """Return the characters below U+10000 that need no look at their neighbours, those of whole blocks aside."""
    return tuple(code for code in _looked_at() if _is_valid(code))


@cache
def _composing() -> frozenset[str]:
    """Return the characters that another before them may swallow in normal form C."""
    parts = (unicodedata.decomposition(chr(code)) for code in _looked_at())
    return frozenset(chr(int(part.split()[1], 16)) for part in parts if " " in part and "<" not in part)


@cache
def _by(trait: Callable[[str], Any]) -> dict[Any, Ranges]:
    """Divide the valid characters by a trait: one look at each for all sets of them."""
    found: dict[Any, list[tuple[int, int]]] = {}
    for code in valid():
        found.setdefault(trait(chr(code)), []).append((code, code))
    return {value: charsets.union(codes) for value, codes in found.items()}


def _those(trait: Callable[[str], Any], holds: Callable[[Any], bool], *more: tuple[int, int]) -> Ranges:
    return charsets.union([*chain.from_iterable(codes for value, codes in _by(trait).items() if holds(value)), *more])


def _named(low: int, high: int, *heads: str) -> Ranges:
    codes = (code for code in valid() if low <= code <= high)
    return charsets.union((code, code) for code in codes if unicodedata.name(chr(code), "").startswith(heads))


class _Mark(NamedTuple):
    """What matters of a character as a mark."""

    composes: bool
    combines: bool
    leads: bool  # where it must not: at the start of a label
    virama: bool  # that validators know


def _mark(char: str) -> _Mark:
    combining = unicodedata.combining(char)
    virama = combining == 9 and char not in _NEW_VIRAMAS
    return _Mark(char in _composing(), combining > 0, unicodedata.category(char)[0] == "M", virama)


def _set(ranges: Iterable[tuple[int, int]]) -> Tree:
    return (int(Rx.SET), charsets.union(ranges))


def _cat(*trees: Tree) -> Tree:
    return (int(Rx.CAT), list(trees))


def _any(*trees: Tree) -> Tree:
    return (int(Rx.ALT), list(trees))


def _all(*trees: Tree) -> Tree:
    return (int(Rx.AND), list(trees))


def _many(tree: Tree, least: int = 0, most: int = -1) -> Tree:
    return (int(Rx.REPEAT), tree, least, most)


def _read(source: str) -> Tree:
    return regex.parse(source).tree


# ---- labels ----


@cache
def _label() -> Tree:
    """Return the labels that hold something beyond ASCII; their directions are another matter."""
    ascii_part = "a-z0-9\\-"
    plain = _those(_mark, lambda m: not m.composes, *_WHOLE, (0x61, 0x7A), (0x30, 0x39), (0x2D, 0x2D))
    mark = _those(_mark, lambda m: m.combines and not m.composes)
    leading = _those(_mark, lambda m: m.leads)
    virama = _set(_those(_mark, lambda m: m.virama))
    greek = _set(_named(0x370, 0x3FF, "GREEK SMALL LETTER"))
    hebrew = _set(_named(0x590, 0x5FF, "HEBREW LETTER"))
    kana_or_han = _set([*_named(0x3040, 0x31FF, "HIRAGANA LETTER", "KATAKANA LETTER"), (0x4E00, 0x9FFF)])
    part = _any(
        _set(plain),
        _read(f"l(?:{_MIDDLE_DOT}l)+|{_KATAKANA_DOT}|[{_DUAL}](?:\u200c[{_DUAL}])*\u200c[{_DUAL}{_RIGHT}]"),
        _cat(_read(_KERAIA), greek),
        _cat(hebrew, _read(_GERESH)),
        _cat(virama, _read("[\u200c\u200d]")),
    )
    others = charsets.complement(mark)
    return _all(
        _many(part, 1),
        _cat(_set(charsets.complement(charsets.union([*leading, (0x2D, 0x2D)]))), _read("[^]*")),
        _cat(_many(_any(_set(others), _cat(_set(mark), _set(others)))), _many(_set(mark), 0, 1)),
        _read("[^]{0,12}|[\\0-\u07ff]{0,18}"),
        _read(f"[^]*[^{ascii_part}][^]*"),
        _read("[^]{0,3}|[^]{2}(?:[^\\-][^]|-[^\\-])[^]*"),
        _read("(?:[^]*[^\\-])?"),
        _any(_read(f"[^{_KATAKANA_DOT}]*"), _cat(_read("[^]*"), kana_or_han, _read("[^]*"))),
        _read(f"[^{_ARABIC_DIGITS}]*|[^{_PERSIAN_DIGITS}]*"),
    )


@cache
def _directed() -> tuple[Tree, Tree]:
    """Return the labels without letters from right to left, and those that obey the Bidi rule (RFC 5893)."""
    joiners = ((0x200C, 0x200D), (0x2D, 0x2D))  # BN and ES: neither is a letter of a direction
    digits, small = (0x30, 0x39), (0x61, 0x7A)
    context = [ord(c) for c in _IN_CONTEXT]

    def of(*classes: str, more: tuple[tuple[int, int], ...] = ()) -> Ranges:
        inside = [(c, c) for c in context if unicodedata.bidirectional(chr(c)) in classes]
        whole = _WHOLE if "L" in classes else ()
        ascii_part = [*([digits] if "EN" in classes else []), *([small] if "L" in classes else [])]
        return _those(unicodedata.bidirectional, classes.__contains__, *inside, *whole, *ascii_part, *more)

    neutral = ("ES", "CS", "ET", "ON", "BN", "NSM")
    marks = _many(_set(of("NSM")))
    every = _read("[^]*")
    leftward = _all(
        _cat(_set(of("R", "AL")), every),
        _many(_set(of("R", "AL", "AN", "EN", *neutral, more=joiners))),
        _cat(every, _set(of("R", "AL", "EN", "AN")), marks),
        _any(_many(_set(charsets.complement(of("EN")))), _many(_set(charsets.complement(of("AN"))))),
    )
    rightward = _all(
        _cat(_set(of("L")), every),
        _many(_set(of("L", "EN", *neutral, more=joiners))),
        _cat(every, _set(of("L", "EN")), marks),
    )
    free = _many(_set(of("L", "EN", *neutral, more=joiners)))
    return _all(_label(), free), _all(_label(), _any(leftward, rightward))


_GREEK, _HEBREW = "[\u03ac-\u03ce]", "[\u05d0-\u05ea]"
_ARABIC = "[\u0620-\u063f\u0641-\u064a]"
_ARABIC_AND_MORE = f"[{_ARABIC[1:-1]}\u066e\u066f\u0671-\u0674\u0679-\u06d3\u06d5\u06ee\u06ef\u06fa-\u06ff]"
_KANA, _CONSONANT = "[\u3041-\u3096\u30a1-\u30fa]", "[\u0915-\u0939]"
#: The labels whose Punycode is written out, of two or three characters mostly.
_SHORT_FREE = (
    f"{_GREEK}{{1,3}}|{_GREEK}?{_KERAIA}{_GREEK}|{_KANA}{{1,2}}|{_KANA}?{_KATAKANA_DOT}{_KANA}|{_KANA}{_KATAKANA_DOT}"
    f"|{_KATAKANA_DOT}[\u4e00-\u9fff]|l(?:{_MIDDLE_DOT}l){{1,3}}|{_CONSONANT}\u094d[\u200c\u200d]{_CONSONANT}"
    f"|[{_PERSIAN_DIGITS}][0-9]"
)
_SHORT_LEFTWARD = (
    f"{_HEBREW}{{1,3}}|{_HEBREW}{_GERESH}{_HEBREW}?|{_ARABIC}{{1,3}}|{_ARABIC}[{_ARABIC_DIGITS}]{_ARABIC}"
    f"|{_ARABIC_AND_MORE}{{1,2}}"
)


def names(u_labels: bool = True) -> Tree:
    """Return the names of up to four labels, of which some may be A-labels and U-labels.

    Either no label has a letter from right to left, or all obey the Bidi rule.
    """
    separator = _read(SEPARATORS if u_labels else "\\.")
    ascii_only = _read(ascii_label(62))
    ways: list[Tree] = []
    plain_ones = ascii_only, _all(ascii_only, _read("[A-Za-z][^]*"))
    for plain, short in zip(plain_ones, (_SHORT_FREE, _SHORT_LEFTWARD), strict=True):
        label = _any(plain, _cat(_read("xn--"), (int(Rx.PUNYCODE), _read(short))))
        if u_labels:
            label = _any(label, _directed()[len(ways)])
        ways.append(_cat(label, _many(_cat(separator, label), 0, 3)))
    return _any(*ways)


#: Names that could be valid: those of which it takes Punycode or a table to say so.
OPEN: Tree = (int(Rx.MAYBE), _read("[A-Za-z0-9.\\-\\x80-\\u{10FFFF}]+"))
OPEN_ASCII: Tree = (int(Rx.MAYBE), _read("(?:[A-Za-z0-9-]+\\.)*[Xx][Nn]--[A-Za-z0-9.-]+"))


def ascii_label(longest: int) -> str:
    """Return the labels of letters, digits and hyphens: no hyphen at an end, nor two in the third and fourth place."""
    one, more = "[A-Za-z0-9]", "[A-Za-z0-9\\-]"
    inner = f"{more}{{0,{longest - 5}}}"
    return f"(?:{one}|{one}{more}{{0,2}}{one}|{one}{more}(?:{one}{more}|-{one}){inner}{one})"
