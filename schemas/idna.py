"""Internationalised host names of IDNA2008: RFC 5890 to 5893, as trees.

Which characters a label may hold is written down in idna_sets.py, as RFC 5892 derives it from Unicode. The trees hold
names that are valid beyond doubt; `MAYBE` trees beside them hold what else might be, of which neither the format nor
its negation is ever written:

- of A-labels (`xn--`) all but short ones of some scripts, whose Punycode is written out;
- U-labels of more than 12 characters (18 below U+0800): whether their Punycode fits 63 octets is no regular language;
- names of more than four labels, where any is not ASCII: likewise with their 253 octets;
- characters beyond the Basic Multilingual Plane, and those that the Unicode of idna_sets.py does not know yet;
- two combining marks behind each other, and marks that compose with a letter: they may not be in normal form C;
- a ZERO WIDTH NON-JOINER between letters of other cursive scripts than Arabic, a joiner behind a virama that
  validators don't know, and a KERAIA before the accented letters of old Greek, which they judge differently.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import cache

from guard.schemas import charsets, idna_sets, regex
from guard.schemas.charsets import Ranges
from guard.schemas.ops import Rx, Tree

_MIDDLE_DOT, _KERAIA, _GERESH, _KATAKANA_DOT = "\u00b7", "\u0375", "[\u05f3\u05f4]", "\u30fb"
_ARABIC_DIGITS, _PERSIAN_DIGITS = "\u0660-\u0669", "\u06f0-\u06f9"
#: Characters whose neighbours matter (RFC 5892, appendix A).
IN_CONTEXT = _MIDDLE_DOT + _KERAIA + "\u05f3\u05f4" + _KATAKANA_DOT
#: Arabic letters that join on both sides, and those that join to the right only.
_DUAL = "\u0626\u0628\u062a-\u062e\u0633-\u063f\u0641-\u0647\u0649\u064a"
_RIGHT = "\u0622-\u0625\u0627\u0629\u062f-\u0632\u0648"

SEPARATORS = "[.\u3002\uff0e\uff61]"


def ranges(numbers: str) -> Ranges:
    """Return a set of idna_sets.py."""
    ends = list(itertools.accumulate(map(int, numbers.split())))
    return tuple(zip(ends[::2], ends[1::2], strict=True))


def _set(ranges: Iterable[tuple[int, int]]) -> Tree:
    return (int(Rx.SET), charsets.union(ranges))


def _cat(*trees: Tree) -> Tree:
    return (int(Rx.CAT), trees)


def _any(*trees: Tree) -> Tree:
    return (int(Rx.ALT), trees)


def _all(*trees: Tree) -> Tree:
    return (int(Rx.AND), trees)


def _many(tree: Tree, least: int = 0, most: int = -1) -> Tree:
    return (int(Rx.REPEAT), tree, least, most)


def _read(source: str) -> Tree:
    return regex.parse(source).tree


# ---- labels ----


@cache
def _label() -> Tree:
    """Return the labels that hold something beyond ASCII; their directions are another matter."""
    ascii_part = "a-z0-9\\-"
    part = _any(
        _set(ranges(idna_sets.PLAIN)),
        _read(f"l(?:{_MIDDLE_DOT}l)+|{_KATAKANA_DOT}|[{_DUAL}](?:\u200c[{_DUAL}])*\u200c[{_DUAL}{_RIGHT}]"),
        _cat(_read(_KERAIA), _set(ranges(idna_sets.GREEK))),
        _cat(_set(ranges(idna_sets.HEBREW)), _read(_GERESH)),
        _cat(_set(ranges(idna_sets.VIRAMAS)), _read("[\u200c\u200d]")),
    )
    mark, others = _set(ranges(idna_sets.MARKS)), _set(charsets.complement(ranges(idna_sets.MARKS)))
    return _all(
        _many(part, 1),
        _cat(_set(charsets.complement(charsets.union([*ranges(idna_sets.LEADING), (0x2D, 0x2D)]))), _read("[^]*")),
        _cat(_many(_any(others, _cat(mark, others))), _many(mark, 0, 1)),
        _read("[^]{0,12}|[\\0-\u07ff]{0,18}"),
        _read(f"[^]*[^{ascii_part}][^]*"),
        _read("[^]{0,3}|[^]{2}(?:[^\\-][^]|-[^\\-])[^]*"),
        _read("(?:[^]*[^\\-])?"),
        _any(_read(f"[^{_KATAKANA_DOT}]*"), _cat(_read("[^]*"), _set(ranges(idna_sets.KANA)), _read("[^]*"))),
        _read(f"[^{_ARABIC_DIGITS}]*|[^{_PERSIAN_DIGITS}]*"),
    )


@cache
def _directed() -> tuple[Tree, Tree]:
    """Return the labels without letters from right to left, and those that obey the Bidi rule (RFC 5893)."""
    marks, every = _many(_set(ranges(idna_sets.NONSPACING))), _read("[^]*")
    leftward = _all(
        _cat(_set(ranges(idna_sets.LEFTWARD)), every),
        _many(_set(ranges(idna_sets.LEFTWARD_ALL))),
        _cat(every, _set(ranges(idna_sets.LEFTWARD_END)), marks),
        _any(
            _many(_set(charsets.complement(ranges(idna_sets.EUROPEAN_NUMBERS)))),
            _many(_set(charsets.complement(ranges(idna_sets.ARABIC_NUMBERS)))),
        ),
    )
    free = _many(_set(ranges(idna_sets.FREE)))
    rightward = _all(
        _cat(_set(ranges(idna_sets.RIGHTWARD)), every),
        free,
        _cat(every, _set(ranges(idna_sets.RIGHTWARD_END)), marks),
    )
    return _all(_label(), free), _all(_label(), _any(leftward, rightward))


_GREEK, _HEBREW = "[\u03ac-\u03ce]", "[\u05d0-\u05ea]"
_ARABIC = "[\u0620-\u063f\u0641-\u064a]"
_ARABIC_AND_MORE = f"[{_ARABIC[1:-1]}\u066e\u066f\u0671-\u0674\u0679-\u06d3\u06d5\u06ee\u06ef\u06fa-\u06ff]"
_KANA, _CONSONANT = "[\u3041-\u3096\u30a1-\u30fa]", "[\u0915-\u0939]"
#: The labels whose Punycode is written out, of one or two characters mostly, ten thousand in all: they are listed where
#: a name begins with `xn`, which takes some milliseconds once in a process.
_SHORT_FREE = (
    f"{_GREEK}{{1,2}}|{_GREEK}?{_KERAIA}{_GREEK}|{_KANA}|{_KATAKANA_DOT}{_KANA}|{_KANA}{_KATAKANA_DOT}"
    f"|{_KATAKANA_DOT}[\u4e00-\u4e3f]|l(?:{_MIDDLE_DOT}l){{1,3}}|{_CONSONANT}\u094d[\u200c\u200d]{_CONSONANT}"
    f"|[{_PERSIAN_DIGITS}][0-9]"
)
_SHORT_LEFTWARD = (
    f"{_HEBREW}{{1,2}}|{_HEBREW}{_GERESH}{_HEBREW}?|{_ARABIC}{{1,2}}|{_ARABIC_AND_MORE}|[\u06fa-\u06ff]{{2}}"
    f"|[\u0627\u0628][{_ARABIC_DIGITS}][\u0627\u0628]"
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
