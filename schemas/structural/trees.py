"""Syntax trees of the languages in formats: literals, and free text up to the first of some strings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from guard.schemas.ops import Rx, Tree

_SET, _CAT, _ALT, _REPEAT = int(Rx.SET), int(Rx.CAT), int(Rx.ALT), int(Rx.REPEAT)
_AND, _NOT, _TEXT = int(Rx.AND), int(Rx.NOT), int(Rx.TEXT)

EMPTY: Tree = (_CAT, [])  #: The empty text.
CHAR: Tree = (_SET, ((0, 0xD7FF), (0xE000, 0x10FFFF)))  #: Any one character.
ANY: Tree = (_REPEAT, CHAR, 0, -1)  #: All texts.


def size(tree: Tree) -> int:
    """Return the number of parts of a tree; a shared part counts as often as it occurs."""
    known: dict[int, int] = {}

    def of(part: Tree) -> int:
        if id(part) not in known:
            parts = part[1] if part[0] in (_CAT, _ALT, _AND) else part[1:2] if part[0] in (_REPEAT, _NOT) else ()
            known[id(part)] = 1 + (len(part[1]) if part[0] == _TEXT else sum(map(of, parts)))
        return known[id(part)]

    return of(tree)


def char(among: str) -> Tree:
    """Return the language of one character out of `among`."""
    return (_SET, tuple(sorted((ord(one), ord(one)) for one in set(among))))


def no_char(among: str) -> Tree:
    """Return the language of one character not in `among`."""
    return no_ranges([(ord(one), ord(one)) for one in among])


def ranges(of: Iterable[tuple[int, int]]) -> Tree:
    """Return the language of one character in ranges of code points, ends included; surrogates are left out."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(of):
        for first, last in ((low, min(high, 0xD7FF)), (max(low, 0xE000), high)):
            if first > last:
                continue
            if out and first <= out[-1][1] + 1:
                out[-1] = (out[-1][0], max(out[-1][1], last))
            else:
                out.append((first, last))
    return (_SET, tuple(out))


def no_ranges(of: Iterable[tuple[int, int]]) -> Tree:
    """Return the language of one character outside the ranges."""
    out, start = [], 0
    for low, high in (*sorted(of), (0x110000, 0x110000)):
        if start < low:
            out.append((start, low - 1))
        start = max(start, high + 1)
    return ranges(out)


def literal(text: str) -> Tree:
    """Return the language of one text."""
    return (_TEXT, text) if text else EMPTY


def cat(*parts: Tree) -> Tree:
    """Return the concatenation of languages."""
    return (_CAT, list(parts))


def either(parts: Sequence[Tree]) -> Tree:
    """Return the union of languages."""
    return parts[0] if len(parts) == 1 else (_ALT, list(parts))


def both(*parts: Tree) -> Tree:
    """Return the intersection of languages."""
    return (_AND, list(parts))


def no(part: Tree) -> Tree:
    """Return the complement of a language."""
    return (_NOT, part)


def repeat(part: Tree, least: int, most: int) -> Tree:
    """Return `least` to `most` repetitions of a language; most=-1 is unbounded."""
    return (_REPEAT, part, least, most)


SPACE: Tree = repeat(char(" \n\r\t"), 0, 20)  #: White space, bounded so that a model can't write it without end.


def free(avoid: Iterable[str], max_chars: int | None = None) -> Tree:
    """Return the language of texts in which none of the strings `avoid` occurs."""
    length = ANY if max_chars is None else repeat(CHAR, 0, max_chars)
    strings = [literal(text) for text in sorted(set(avoid)) if text]
    return both(length, no(cat(ANY, either(strings), ANY))) if strings else length


def is_met(end: str, avoid: Iterable[str]) -> bool:
    """Whether `until(end, avoid)` has a text: no string of `avoid` is complete in `end` before its last character."""
    return not any(text and text in end[:-1] for text in avoid)


def until(
    end: str,
    avoid: Iterable[str],
    max_chars: int | None = None,
    excludes: Iterable[str] = (),
    within: Tree | None = None,
) -> Tree:
    """Return the language of free text that ends with `end`, with no string of `avoid` complete before it.

    A reader of free text commits to the string that is complete first, and to the longest of several that are complete
    at once. The text before the end is in the language `within` and contains none of `excludes`.
    """
    before = free(excludes, max_chars) if within is None else both(free(excludes, max_chars), within)
    others = sorted({*avoid, end} - {""})
    earlier = cat(ANY, either([literal(text) for text in others]), CHAR, ANY)
    longer = [text for text in others if len(text) > len(end) and text.endswith(end)]
    parts = [cat(before, literal(end)), no(earlier)]
    if longer:
        parts.append(no(cat(ANY, either([literal(text) for text in longer]))))
    return both(*parts)
