"""Syntax trees of the languages in formats: literals, and free text up to the first of some strings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from guard.schemas.ops import Rx, Tree

_SET, _CAT, _ALT, _REPEAT = int(Rx.SET), int(Rx.CAT), int(Rx.ALT), int(Rx.REPEAT)
_AND, _NOT, _TEXT = int(Rx.AND), int(Rx.NOT), int(Rx.TEXT)
_LOOK, _START, _END = int(Rx.LOOK), int(Rx.START), int(Rx.END)
MOST_PATTERN = 50_000  #: Characters of a pattern that `spelled` returns.
MOST_SPELLED = 20 * MOST_PATTERN  #: Characters of all parts on the way to it.

EMPTY: Tree = (_CAT, ())  #: The empty text.
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
    return (_CAT, parts)


def either(parts: Sequence[Tree]) -> Tree:
    """Return the union of languages."""
    return parts[0] if len(parts) == 1 else (_ALT, tuple(parts))


def both(*parts: Tree) -> Tree:
    """Return the intersection of languages."""
    return (_AND, parts)


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


def before(end: str, excludes: Iterable[str] = ()) -> Tree:
    """Return the language of texts with none of `excludes` behind which `end` is complete at its end only.

    That is: `end` does not occur in the text, nor across the border to the `end` behind it.
    """
    overlaps = [literal(end[:-size]) for size in range(1, len(end)) if end.endswith(end[:size])]
    found = free([end, *excludes])
    return both(found, no(cat(ANY, either(overlaps)))) if overlaps else found


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


def spelled(tree: Tree) -> str:
    """Return a pattern of ECMA-262 that matches the same texts. Raises ValueError where none does, or it is too long.

    A part that occurs several times is written as often.
    """
    known: dict[int, str] = {}
    total = 0

    def of(part: Tree) -> str:
        nonlocal total
        if id(part) not in known:
            known[id(part)] = text = one(part)
            total += len(text)
            if len(text) > MOST_PATTERN or total > MOST_SPELLED:
                raise ValueError(f"it is longer than {MOST_PATTERN:,} characters as a pattern")
        return known[id(part)]

    def one(part: Tree) -> str:
        kind = part[0]
        if kind == _SET:
            return _class(part[1])
        if kind == _TEXT:
            return "".join(map(_escaped, part[1]))
        if kind == _CAT:
            return "".join(map(of, part[1]))
        if kind == _ALT:
            return f"(?:{'|'.join(map(of, part[1]))})"
        if kind == _REPEAT:
            least, most = part[2:]
            count = {(0, -1): "*", (1, -1): "+", (0, 1): "?"}.get((least, most))
            count = count or (f"{{{least}}}" if least == most else f"{{{least},{'' if most < 0 else most}}}")
            return (of(part[1]) if part[1][0] == _SET else f"(?:{of(part[1])})") + count
        if kind == _LOOK:
            return f"(?{'' if part[1] else '<'}{'!' if part[2] else '='}{of(part[3])})"
        if kind in (_START, _END):
            return "^" if kind == _START else "$"
        raise ValueError("it has parts that no pattern can say")

    return of(tree)


def _class(of: Sequence[tuple[int, int]]) -> str:
    if len(of) == 1 and of[0][0] == of[0][1]:
        return _escaped(chr(of[0][0]))
    ends = ([low] if low == high else [low, high] for low, high in of)
    return f"[{''.join('-'.join(_escaped(chr(end), '-') for end in one) for one in ends)}]"


def _escaped(char: str, more: str = "") -> str:
    """Return a character as a pattern has it; `more` are characters to escape beside those of the syntax."""
    if char in "^$\\.*+?()[]{}|/" or char in more:
        return "\\" + char
    return char if char.isprintable() or ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
