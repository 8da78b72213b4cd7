r"""Regular expressions of ECMA-262, as JSON Schema means them, read into syntax trees.

The trees are tuples that start with an `Rx` (ops.py). A pattern is read in `u` mode; where that fails, by the rules
of Annex B, as browsers read a RegExp without flags. Both work on code points, as every validator does, and one rule
is kinder than the standard: `\p{Letter}` and `\u{61}` keep their meaning under Annex B, where `\-` or `\_` elsewhere
in the pattern would silently turn them into the letters "p" and "u".

The parser keeps its own stack and looks at each character a bounded number of times. It reads everything; a
back-reference, which no automaton can follow, is noted for the scan to judge, so that one place decides what is
refused. Flags are gone from the trees: `(?i:a)` is the set of "a" and "A". So are word boundaries: `\b` is two
look-arounds of one character.

Three things are taken that ECMA-262 has not, and that others write: `\A`, `\z` and `\Z` are the ends of the text;
`(?i)` and `(?u)` in front hold for the whole pattern, whose characters are Unicode's here anyway; and a group is named
by `(?P<name>` as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from guard.kernels.memo import memo
from guard.schemas import charsets
from guard.schemas.charsets import Ranges
from guard.schemas.ops import Rx, Tree

#: Parentheses inside parentheses. The engine recurses over a tree; real patterns stay below 20.
MAX_NESTING = 200

_SET, _CAT, _ALT, _REPEAT, _LOOK = int(Rx.SET), int(Rx.CAT), int(Rx.ALT), int(Rx.REPEAT), int(Rx.LOOK)
_START: Tree = (int(Rx.START),)
_END: Tree = (int(Rx.END),)
EMPTY: Tree = (_CAT, ())

_CLASS_ESCAPES: dict[str, Ranges] = {
    "d": charsets.DIGITS,
    "D": charsets.NOT_DIGITS,
    "w": charsets.WORD,
    "W": charsets.NOT_WORD,
    "s": charsets.SPACE,
    "S": charsets.NOT_SPACE,
}
_CONTROL_ESCAPES = {"f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_SYNTAX = frozenset("^$\\.*+?()[]{}|/")
_HEX = frozenset("0123456789abcdefABCDEF")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_PLAIN = re.compile(r"[^\\^$.*+?()\[\]{}|]+")  # characters that stand for themselves
_IN_FRONT = re.compile(r"\(\?([iu]+)\)")
_FLAGS = re.compile(r"\(\?([a-zA-Z]+)\)")
_QUANTIFIERS = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}
_LONGEST_PROPERTY = 100
#: Counts are 32 bits in the engine. A longer text than this cannot be, so a larger maximum is none.
_MOST = 2**31 - 1
#: Bytes of the trees that are remembered: a schema's patterns are read by the scan, the lowering and the bound of the
#: judge's cost.
REMEMBERED = 32_000_000


class RegexError(ValueError):
    """A pattern that is no regular expression of ECMA-262; `position` counts characters from 0."""

    def __init__(self, source: str, position: int, reason: str) -> None:
        self.source, self.position, self.reason = source, position, reason
        super().__init__(f"{reason} at character {position}")


class RegexTooDeepError(RegexError):
    """A pattern whose groups nest beyond MAX_NESTING."""


@dataclass(frozen=True, eq=False)
class Regex:
    """A pattern that was read: its tree, and where it has a back-reference, which the tree does not enforce."""

    tree: Tree
    back_reference: int | None  # the position of the first
    no_property: str | None = None  # the first `\p` that names none, and is the letter "p" under Annex B


def _nbytes(regex: Regex, source: str) -> int:
    """Return about how many bytes a tree and its source take."""
    total, todo = 200 + 4 * len(source), [regex.tree]
    while todo:
        node = todo.pop()
        kind = node[0]
        total += 80
        if kind == _SET:
            total += charsets.nbytes(node[1])
        elif kind in (_CAT, _ALT):
            total += 8 * len(node[1])
            todo += node[1]
        else:  # what is repeated, or looked for
            todo += [part for part in node[1:] if type(part) is tuple]
    return total


def whole(pattern: str) -> str:
    """Return a pattern that finds the texts which this one matches as a whole; its flags in front stay its own."""
    in_front = _IN_FRONT.match(pattern)
    if in_front is None:
        return f"^(?:{pattern})$"
    return f"^(?{'i' if 'i' in in_front[1] else ''}:{pattern[in_front.end() :]})$"


@memo(REMEMBERED, _nbytes)
def parse(source: str) -> Regex:
    """Read a pattern. Raises RegexError; never RecursionError."""
    try:
        return _Parser(source, unicode=True).parse()
    except RegexTooDeepError:
        raise
    except RegexError as error:
        try:
            return _Parser(source, unicode=False).parse()
        except RegexError as annex_b:
            raise annex_b from error


def exact_tree(source: str) -> Tree:
    """Return the tree of a pattern, all of which it enforces. Raises RegexError, also for a back-reference."""
    found = parse(source)
    if found.back_reference is not None:
        raise RegexError(source, found.back_reference, "a back-reference, which is beyond any regular language,")
    return found.tree


class _Group:
    """An open group: its kind, the alternatives before the last `|`, and the terms since."""

    __slots__ = ("alternatives", "flags", "kind", "position", "terms")

    def __init__(self, kind: str, position: int, flags: frozenset[str]) -> None:
        self.kind = kind  # "(", "(?:", "(?=", "(?!", "(?<=", "(?<!" or "" for the whole pattern
        self.position = position
        self.flags = flags  # those in force around it
        self.alternatives: list[Tree] = []
        self.terms: list[Tree] = []

    def close(self) -> Tree:
        """Return the group's tree."""
        last = _cat(self.terms)
        return last if not self.alternatives else (_ALT, (*self.alternatives, last))


def _cat(terms: list[Tree]) -> Tree:
    return terms[0] if len(terms) == 1 else (_CAT, tuple(terms))


class _Parser:
    def __init__(self, source: str, *, unicode: bool) -> None:
        self.source = source
        self.unicode = unicode
        self.at = 0
        self.flags: frozenset[str] = frozenset()  # of "ims", in force where it reads
        self.back_reference: int | None = None
        self.no_property: str | None = None
        self.names: dict[str, int] = {}
        self._groups: int | None = None
        self._named: bool | None = None

    def fail(self, reason: str, position: int | None = None) -> RegexError:
        return RegexError(self.source, self.at if position is None else position, reason)

    def parse(self) -> Regex:
        source, end = self.source, len(self.source)
        stack: list[_Group] = []
        group = _Group("", 0, self.flags)
        repeatable = False  # may a quantifier follow
        if in_front := _IN_FRONT.match(source):
            self.flags, self.at = frozenset(in_front[1]) - {"u"}, in_front.end()
        references: list[tuple[str, int]] = []
        while self.at < end:
            start, char = self.at, source[self.at]
            self.at += 1
            if char == "(":
                flags = self.flags
                kind = self._open(start)
                stack.append(group)
                if len(stack) > MAX_NESTING:
                    raise RegexTooDeepError(source, start, f"more than {MAX_NESTING} groups inside each other")
                group = _Group(kind, start, flags)
                repeatable = False
            elif char == ")":
                if not stack:
                    raise self.fail("a ) that closes no group", start)
                self.flags = group.flags
                tree, repeatable = self._close(group)
                group = stack.pop()
                group.terms.append(tree)
            elif char == "|":
                group.alternatives.append(_cat(group.terms))
                group.terms = []
                repeatable = False
            elif char in "^$":
                group.terms.append(self._anchor(char))
                repeatable = False
            elif (bounds := _QUANTIFIERS.get(char) or (self._bounds(start) if char == "{" else None)) is not None:
                least, most = bounds
                if not repeatable:
                    raise self.fail(f"nothing for {source[start : self.at]} to repeat", start)
                if self.at < end and source[self.at] == "?":
                    self.at += 1  # lazy: the same language
                group.terms[-1] = (_REPEAT, group.terms[-1], least, most)
                repeatable = False
            elif char == "\\" and self.at < end and source[self.at] in "bB":
                group.terms.append(self._word_boundary(source[self.at]))
                self.at += 1
                repeatable = False
            elif char == "\\" and self.at < end and source[self.at] in "AzZ":
                group.terms.append(_START if source[self.at] == "A" else _END)
                self.at += 1
                repeatable = False
            elif char == "\\":
                group.terms.append(self._escape_term(start, references))
                repeatable = True
            elif run := _PLAIN.match(source, start):
                self.at = run.end()
                group.terms += map(_literal, run[0]) if "i" not in self.flags else map(self._folded, run[0])
                repeatable = True
            else:
                group.terms.append((_SET, self._character(char, start)))
                repeatable = True
        if stack:
            raise self.fail("a ( that nothing closes", group.position)
        for name, position in references:
            if name not in self.names:
                raise self.fail(f"no group is named {name!r}", position)
        return Regex(group.close(), self.back_reference, self.no_property)

    def _anchor(self, char: str) -> Tree:
        edge = _START if char == "^" else _END
        return (_ALT, (edge, (_LOOK, char == "$", False, (_SET, charsets.LINE_ENDS)))) if "m" in self.flags else edge

    def _word_boundary(self, char: str) -> Tree:
        word = charsets.folded(charsets.WORD) if "i" in self.flags and self.unicode else charsets.WORD
        behind, ahead = ([(_LOOK, side, sign, (_SET, word)) for sign in (False, True)] for side in (False, True))
        if char == "b":
            ahead.reverse()
        return (_ALT, tuple((_CAT, pair) for pair in zip(behind, ahead, strict=True)))

    def _class_escape(self, char: str) -> Ranges:
        """Return the set of an escape such as `\\w`, whose letter is given. What is no word folds to none either."""
        if char == "W" and "i" in self.flags and self.unicode:
            return charsets.complement(charsets.folded(charsets.WORD))
        return _CLASS_ESCAPES[char]

    def _set(self, ranges: Ranges) -> Ranges:
        """Return the characters that a set stands for under the flags."""
        if "i" not in self.flags:
            return ranges
        return charsets.folded(ranges) if self.unicode else charsets.folded_without_unicode(ranges)

    def _character(self, char: str, start: int) -> Ranges:
        """Return the set of a `.`, a class, or a brace or bracket that stands for itself."""
        if char == ".":
            return charsets.ALL if "s" in self.flags else charsets.DOT
        if char == "[":
            return self._class(start)
        if self.unicode and char in "{}]":
            raise self.fail(f"a {char} that must be written \\{char}", start)
        return charsets.single(ord(char))

    def _folded(self, char: str) -> Tree:
        return (_SET, self._set(charsets.single(ord(char))))

    def _open(self, start: int) -> str:
        source = self.source
        if source[self.at : self.at + 1] != "?":
            return "("
        for kind in ("(?:", "(?=", "(?!", "(?<=", "(?<!"):
            if source.startswith(kind, start):
                self.at = start + len(kind)
                return kind
        if source.startswith(("(?<", "(?P<"), start):
            self.at = source.index("<", start) + 1
            name = self._group_name()
            if name in self.names:
                raise self.fail(f"two groups are named {name!r}", start)
            self.names[name] = start
            return "("
        colon = source.find(":", start, start + 10)
        on, _, off = source[start + 2 : colon].partition("-") if colon >= 0 else ("", "", "")
        both = on + off
        if both and set(both) <= set("ims") and len(set(both)) == len(both):
            self.flags = (self.flags | set(on)) - set(off)
            self.at = colon + 1
            return "(?:"
        if found := _FLAGS.match(source, start):
            if start == 0 or set(found[1]) - set("ims"):
                raise self.fail(f"flags that ECMA-262 does not have, {found[0]},", start)
            raise self.fail(f"flags in the middle, {found[0]}, where only (?{found[1]}:...) may stand", start)
        if source.startswith(("(?P=", "(?P>", "(?>", "(?#", "(?("), start):
            raise self.fail(f"a group of Python's or Perl's, {source[start : start + 4]}...,", start)
        raise self.fail("a group that starts with (? and is none of ECMA-262", start)

    def _group_name(self) -> str:
        close = self.source.find(">", self.at)
        name = self.source[self.at : close] if close >= 0 else ""
        if not name.replace("$", "_").isidentifier():
            raise self.fail("a group name that is no identifier")
        self.at = close + 1
        return name

    def _close(self, group: _Group) -> tuple[Tree, bool]:
        """Return a closed group's tree, and whether a quantifier may follow."""
        tree, kind = group.close(), group.kind
        if kind in ("(", "(?:"):
            return tree, True
        ahead = "<" not in kind
        return (_LOOK, ahead, kind.endswith("!"), tree), ahead and not self.unicode

    def _bounds(self, start: int) -> tuple[int, int] | None:
        """Read `{2}`, `{2,}` or `{2,5}` from behind its brace; None where Annex B takes the brace as a character."""
        source, at = self.source, self.at
        close = at
        while close < len(source) and source[close] in "0123456789,":
            close += 1
        low, comma, high = source[at:close].partition(",")
        if source[close : close + 1] != "}" or not low or "," in high:
            if self.unicode:
                raise self.fail("a { that must be written \\{", start)
            return None
        self.at = close + 1
        least = _count(low)
        most = least if not comma else _count(high) if high else -1
        if 0 <= most < least and (len(low), low) > (len(high), high):
            raise self.fail(f"a quantifier of at least {low} and at most {high}", start)
        return least, most if most < _MOST else -1

    # ---- escapes ----

    def _escape_term(self, start: int, references: list[tuple[str, int]]) -> Tree:
        """Read an escape outside a class, from behind its backslash."""
        char = self.source[self.at : self.at + 1]
        if char == "k" and (self.unicode or self.named):
            self.at += 1
            if self.source[self.at : self.at + 1] != "<":
                raise self.fail("a \\k without a group name", start)
            self.at += 1
            references.append((self._group_name(), start))
            return self._reference(start)
        if char and char in "123456789":
            end = self.at
            while end < len(self.source) and self.source[end] in "0123456789":
                end += 1
            number = _count(self.source[self.at : end])
            if self.unicode and number > self.groups:
                raise self.fail(f"no group has the number {self.source[self.at : end]}", start)
            if number <= self.groups:
                self.at = end
                return self._reference(start)
        found = self._escape(start, in_class=False)
        return (_SET, self._set(charsets.single(found) if isinstance(found, int) else found))

    def _reference(self, start: int) -> Tree:
        if self.back_reference is None:
            self.back_reference = start
        return EMPTY

    def _escape(self, start: int, *, in_class: bool) -> int | Ranges:
        """Read an escape that stands for one code point or for a set of them."""
        source = self.source
        if self.at >= len(source):
            raise self.fail("a \\ at the end", start)
        char = source[self.at]
        self.at += 1
        if char in _CLASS_ESCAPES:
            return self._class_escape(char)
        if char in _CONTROL_ESCAPES:
            return _CONTROL_ESCAPES[char]
        if char in "pP":
            return self._property(start, negative=char == "P")
        if char in "ux":
            code = self._unicode_escape() if char == "u" else self._hex(2)
            if code is not None:
                return code
            if self.unicode:
                raise self.fail(f"a \\{char} without its hexadecimal digits", start)
            return ord(char)
        if char == "c":
            return self._control_letter(start, in_class)
        if in_class and char == "b":
            return 8
        if in_class and char == "-" and self.unicode:
            return ord(char)
        if char.isdigit() and char.isascii():
            return self._octal(char, start)
        if self.unicode and char not in _SYNTAX:
            raise self.fail(f"\\{char} is no escape", start)
        return ord(char)

    def _control_letter(self, start: int, in_class: bool) -> int:
        letter = self.source[self.at : self.at + 1]
        allowed = letter in _LETTERS or (in_class and not self.unicode and (letter.isdecimal() or letter == "_"))
        if letter and letter.isascii() and allowed:
            self.at += 1
            return ord(letter) % 32
        if self.unicode:
            raise self.fail("a \\c without a letter", start)
        self.at -= 1  # Annex B: the backslash is a character, and so is the c
        return ord("\\")

    def _octal(self, char: str, start: int) -> int:
        following = self.source[self.at : self.at + 1]
        if char == "0" and not (following and following in "0123456789"):
            return 0
        if self.unicode:
            raise self.fail(f"\\{char} is no escape", start)
        if char in "89":
            return ord(char)
        longest = 3 if char in "0123" else 2
        end = self.at
        while end < len(self.source) and end - self.at + 1 < longest and self.source[end] in "01234567":
            end += 1
        code = int(self.source[self.at - 1 : end], 8)
        self.at = end
        return code

    def _hex(self, digits: int) -> int | None:
        text = self.source[self.at : self.at + digits]
        if len(text) < digits or not _HEX.issuperset(text):
            return None
        self.at += digits
        return int(text, 16)

    def _unicode_escape(self) -> int | None:
        """Read what follows `\\u`: four digits, a pair of surrogates, or a code point in braces."""
        source = self.source
        if source[self.at : self.at + 1] == "{":
            end = self.at + 1
            while end < len(source) and source[end] in _HEX:
                end += 1
            text = source[self.at + 1 : end].lstrip("0") or source[self.at + 1 : end][:1]
            if not text or source[end : end + 1] != "}" or len(text) > 6 or int(text, 16) > charsets.MAX_CODE_POINT:
                return None
            self.at = end + 1
            return int(text, 16)
        high = self._hex(4)
        if high is not None and 0xD800 <= high < 0xDC00 and source.startswith("\\u", self.at):
            after = self.at
            self.at += 2
            low = self._hex(4)
            if low is not None and 0xDC00 <= low < 0xE000:
                return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
            self.at = after
        return high

    def _property(self, start: int, *, negative: bool) -> int | Ranges:
        close = self.source.find("}", self.at, self.at + 1 + _LONGEST_PROPERTY)
        name = self.source[self.at + 1 : close] if self.source[self.at : self.at + 1] == "{" and close >= 0 else ""
        plain = bool(name) and name.isascii() and name.replace("_", "").replace("=", "", 1).isalnum()
        ranges = charsets.named(name) if plain else None
        if ranges is not None:
            self.at = close + 1
            return charsets.complement(ranges) if negative else ranges
        if self.unicode:
            raise self.fail(f"no Unicode property is named {name!r}", start)
        if self.no_property is None:
            self.no_property = self.source[start : close + 1 if name else self.at]
        return ord(self.source[self.at - 1])

    # ---- classes ----

    def _class(self, start: int) -> Ranges:
        source, end = self.source, len(self.source)
        negative = source.startswith("^", self.at)
        self.at += negative
        ranges: list[tuple[int, int]] = []
        while self.at < end and source[self.at] != "]":
            position = self.at
            low = self._class_atom()
            if source.startswith("-", self.at) and self.at + 1 < end and source[self.at + 1] != "]":
                self.at += 1
                high = self._class_atom()
                if isinstance(low, int) and isinstance(high, int):
                    if low > high:
                        raise self.fail("a range whose ends are out of order", position)
                    ranges.append((low, high))
                    continue
                if self.unicode:
                    raise self.fail("a range that ends in a class", position)
                for part in (low, ord("-"), high):
                    ranges += [(part, part)] if isinstance(part, int) else part
            else:
                ranges += [(low, low)] if isinstance(low, int) else low
        if self.at >= end:
            raise self.fail("a [ that nothing closes", start)
        self.at += 1
        found = self._set(charsets.union(ranges))
        return charsets.complement(found) if negative else found

    def _class_atom(self) -> int | Ranges:
        start, char = self.at, self.source[self.at]
        self.at += 1
        return ord(char) if char != "\\" else self._escape(start, in_class=True)

    # ---- what the whole pattern holds ----

    @property
    def groups(self) -> int:
        """Count the capturing groups of the whole pattern."""
        if self._groups is None:
            self._survey()
        assert self._groups is not None
        return self._groups

    @property
    def named(self) -> bool:
        """Say whether the pattern has a named group, which turns `\\k` into a reference under Annex B too."""
        if self._named is None:
            self._survey()
        assert self._named is not None
        return self._named

    def _survey(self) -> None:
        source, at, in_class = self.source, 0, False
        groups, named = 0, False
        while at < len(source):
            char = source[at]
            if char == "\\":
                at += 1
            elif in_class:
                in_class = char != "]"
            elif char == "[":
                in_class = True
            elif char == "(":
                name = source.startswith("?<", at + 1) and source[at + 3 : at + 4] not in ("=", "!")
                named |= name
                groups += name or not source.startswith("?", at + 1)
            at += 1
        self._groups, self._named = groups, named


def _count(digits: str) -> int:
    """Return a written count, cut off where no text can reach it: `int` is quadratic in long digits."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) < 10 else _MOST


@lru_cache(maxsize=4096)
def _literal(char: str) -> Tree:
    return (_SET, charsets.single(ord(char)))


def literal(text: str) -> Tree:
    """Return the tree of one text."""
    return _cat([_literal(char) for char in text])
