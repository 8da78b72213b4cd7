r"""Grammars: GBNF and XGrammar's EBNF (`name ::= …`), and Lark (`name: …`), as far as they are regular languages.

A rule may refer to others, and to itself at the end of its own alternatives (`digits ::= [0-9] | [0-9] digits`), which
is a repetition. Any other recursion is refused with the rule's name. Rules become syntax trees (trees.py), so the
engine reads a grammar as it reads a pattern.

    rule     GBNF: `name ::= body`; Lark: `name: body`, terminals too; Lark's start rule is `start`, the others' `root`
    body     alternatives with `|`; groups; `* + ? {n} {n,} {n,m}`, Lark's `[optional]` and `~ n..m`
    text     "…" with JSON's escapes and \xHH, Lark's "…"i; [a-z^-] in GBNF; Lark's /pattern/ and "a".."z"; `.` in GBNF
    comment  `# …` in GBNF, `// …` in Lark
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guard.schemas import regex
from guard.schemas.jsontext import clip
from guard.schemas.ops import Rx
from guard.schemas.structural import trees

if TYPE_CHECKING:
    from guard.schemas.ops import Tree

_TEXT = r'(?P<text>"(?:[^"\\\n]|\\.)*"i?)'
_WORD = r"(?P<name>[_A-Za-z][-\w]*(?:\.\d+)?)"
_SIGN = r"(?P<sign>::=|->|\.\.|[:|()\[\]*+?{},~.])|(?P<number>\d+)|(?P<line>\n)|(?P<gap>[^\S\n]+)|(?P<other>.)"
#: An unterminated text, set or pattern is read to the end of the line, so that nothing is read twice.
_TORN = r'(?P<torn>"(?:[^"\\\n]|\\.)*|/(?:[^/\\\n]|\\.)*)'
_OPEN = r"(?P<open>\[(?:[^\]\\\n]|\\.)*)"
_GBNF = re.compile(rf"(?P<comment>#[^\n]*)|{_TEXT}|(?P<set>\[(?:[^\]\\\n]|\\.)*\])|{_TORN}|{_OPEN}|{_WORD}|{_SIGN}")
_LARK = re.compile(
    rf"(?P<comment>//[^\n]*)|(?P<mark>^[?!]+(?=\w))|(?P<directive>^[^\S\n]*%\w+)|{_TEXT}"
    rf"|(?P<pattern>/(?:[^/\\\n]|\\.)+/[imslux]*)|{_TORN}|{_WORD}|{_SIGN}",
    re.MULTILINE,
)
_DROPPED = ("gap", "comment", "mark")  # marks concern a rule's tree, not its texts
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}
MOST_DEPTH = 100  #: Nesting levels of groups and rules together.
MOST_COUNT = 2**31 - 1
MOST_SIZE = 100_000  #: Parts of all rules together, references expanded.


class GrammarError(Exception):
    """The grammar is malformed or not a regular language."""

    def __init__(self, found: str, fix: str) -> None:
        self.found, self.fix = found, fix
        super().__init__(f"{found}; {fix}")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


class _Rule:
    """The tokens of one rule's body."""

    def __init__(self, name: str, tokens: list[_Token]) -> None:
        self.name, self.tokens = name, tokens


def parse(text: str) -> Tree:
    """Return a grammar's language as a syntax tree. Raises GrammarError, which names the rule."""
    is_lark = "::=" not in text
    rules = _rules(text, is_lark)
    start = "start" if is_lark else "root"
    if start not in rules:
        raise GrammarError(f"it has no rule {start!r}", f"begin it with `{start}{':' if is_lark else ' ::='} …`")
    return _Reader(rules, is_lark).rule(start, ())


def as_pattern(text: str) -> str:
    """Return a pattern of ECMA-262 that matches a grammar's texts as a whole. Raises GrammarError."""
    try:
        return f"^(?:{trees.spelled(parse(text))})$"
    except ValueError as error:
        raise GrammarError(str(error), "say less") from None


def _rules(text: str, is_lark: bool) -> dict[str, _Rule]:
    tokens = []
    for found in (_LARK if is_lark else _GBNF).finditer(text):
        token = _Token(str(found.lastgroup), found.group())
        if token.kind == "directive":
            raise GrammarError(f"{token.text.strip()} can't be kept", "write the rules out")
        if token.kind not in _DROPPED:
            tokens.append(token)
    sign = ":" if is_lark else "::="
    heads = [
        at
        for at in range(len(tokens) - 1)
        if tokens[at].kind == "name" and tokens[at + 1].text == sign and (at == 0 or tokens[at - 1].kind == "line")
    ]
    if any(token.kind != "line" for token in tokens[: heads[0] if heads else None]):
        raise GrammarError("it does not begin with a rule", f"write `name {sign} …`")
    if not heads:
        raise GrammarError("it has no rule", f"write `{'start' if is_lark else 'root'} {sign} …`")
    rules: dict[str, _Rule] = {}
    for at, after in zip(heads, [*heads[1:], len(tokens)], strict=True):
        name = _plain(tokens[at].text)
        if name in rules:
            raise GrammarError(f"the rule {name!r} stands twice", "give each its own name")
        rules[name] = _Rule(name, [token for token in tokens[at + 2 : after] if token.kind != "line"])
    return rules


def _plain(name: str) -> str:
    """Return a rule's name without Lark's priority."""
    return name.partition(".")[0]


class _Reader:
    def __init__(self, rules: dict[str, _Rule], is_lark: bool) -> None:
        self._rules, self._is_lark = rules, is_lark
        self._known: dict[str, Tree] = {}
        self._size = self._depth = 0

    def rule(self, name: str, within: tuple[str, ...]) -> Tree:
        """Return the tree of a rule; `within` names the rules being read, to find recursion."""
        if name not in self._rules:
            user = f", which {within[-1]!r} uses" if within else ""
            raise GrammarError(f"there is no rule {name!r}{user}", "add it")
        if name in within:
            raise GrammarError(
                f"the rule {name!r} uses itself where no repetition says the same", "write `*` or `{m,n}`"
            )
        if name not in self._known:
            with self.deeper(name):
                self._known[name] = _RuleReader(self, self._rules[name], (*within, name)).read()
        return self._known[name]

    @contextmanager
    def deeper(self, name: str) -> Iterator[None]:
        """Enter a rule or a group; GrammarError past MOST_DEPTH."""
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise GrammarError(
                f"in the rule {name!r}, groups and rules nest deeper than {MOST_DEPTH}", "say it flatter"
            )
        yield
        self._depth -= 1

    def count(self) -> None:
        self._size += 1
        if self._size > MOST_SIZE:
            raise GrammarError("it is too large", "say less")

    @property
    def is_lark(self) -> bool:
        return self._is_lark


class _RuleReader:
    """Reads one rule: a cursor over its tokens."""

    def __init__(self, reader: _Reader, rule: _Rule, within: tuple[str, ...]) -> None:
        self._reader, self._rule, self._within = reader, rule, within
        self._tokens, self._at = rule.tokens, 0

    def read(self) -> Tree:
        ends: list[Tree] = []
        again: list[Tree] = []  # the texts before the rule's reference to itself
        while True:
            parts = self._sequence(may_recur=True)
            if parts and parts[-1] is _SELF:
                again.append(trees.cat(*parts[:-1]))
            else:
                ends.append(trees.cat(*parts))
            if not self._take("|"):
                break
        if self._at < len(self._tokens):
            raise self._refused(f"{self._tokens[self._at].text!r} is not expected")
        if not ends:
            raise self._refused("each alternative goes on with the rule itself", "add one that ends")
        tree = trees.either(ends)
        return trees.cat(trees.repeat(trees.either(again), 0, -1), tree) if again else tree

    def _refused(self, found: str, fix: str = "correct it") -> GrammarError:
        return GrammarError(f"in the rule {self._rule.name!r}, {found}", fix)

    def _take(self, text: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == _Token("sign", text):
            self._at += 1
            return True
        return False

    def _alternatives(self) -> Tree:
        with self._reader.deeper(self._rule.name):
            parts = [trees.cat(*self._sequence())]
            while self._take("|"):
                parts.append(trees.cat(*self._sequence()))
        return trees.either(parts)

    def _sequence(self, *, may_recur: bool = False) -> list[Tree]:
        parts: list[Tree] = []
        while self._at < len(self._tokens) and self._tokens[self._at].text not in ("|", ")", "]"):
            if self._reader.is_lark and self._take("->"):  # Lark's alias, a name for the branch
                self._at += 1
                continue
            self._reader.count()
            atom = self._atom(may_recur)
            parts.append(atom if atom is _SELF else self._repeated(atom))
            if atom is _SELF and self._at < len(self._tokens) and self._tokens[self._at].text != "|":
                raise self._refused("it uses itself where no repetition says the same", "write `*` or `{m,n}`")
        return parts

    def _atom(self, may_recur: bool) -> Tree:
        token = self._tokens[self._at]
        self._at += 1
        if token.kind == "text":
            return self._text(token.text)
        if token.kind in ("torn", "open"):
            raise self._refused(f"{clip(token.text)} does not end", "close it on its line")
        if token.kind == "set":
            return self._set(token.text)
        if token.kind == "pattern":
            return self._pattern(token.text)
        if token.kind == "name":
            name = _plain(token.text)
            if may_recur and name == self._rule.name:
                return _SELF
            return self._reader.rule(name, self._within)
        if token.text == "(":
            tree = self._alternatives()
            if not self._take(")"):
                raise self._refused("a group does not end", "write `)`")
            return tree
        if token.text == "[" and self._reader.is_lark:
            tree = self._alternatives()
            if not self._take("]"):
                raise self._refused("an optional part does not end", "write `]`")
            return trees.repeat(tree, 0, 1)
        if token.text == "." and not self._reader.is_lark:
            return trees.CHAR
        raise self._refused(f"{token.text!r} is not expected")

    def _repeated(self, tree: Tree) -> Tree:
        while True:
            if self._take("*"):
                tree = trees.repeat(tree, 0, -1)
            elif self._take("+"):
                tree = trees.repeat(tree, 1, -1)
            elif self._take("?"):
                tree = trees.repeat(tree, 0, 1)
            elif self._take("{"):
                tree = self._counted(tree, ",")
                if not self._take("}"):
                    raise self._refused("a count does not end", "write `{m,n}`")
            elif self._reader.is_lark and self._take("~"):
                tree = self._counted(tree, "..")
            else:
                return tree

    def _counted(self, tree: Tree, between: str) -> Tree:
        least = self._number()
        is_range = self._take(between)
        most = self._number() if is_range else least
        if least is None and most is None:
            raise self._refused("a count has no number", "write `{m,n}`")
        if most is not None and most < (least or 0):
            raise self._refused(f"a count from {least} to {most} has no number", "write the lesser number first")
        return trees.repeat(tree, least or 0, -1 if most is None else most)

    def _number(self) -> int | None:
        if self._at == len(self._tokens) or self._tokens[self._at].kind != "number":
            return None
        digits = self._tokens[self._at].text
        self._at += 1
        if len(digits) > 10 or int(digits) > MOST_COUNT:
            raise self._refused(f"the count {clip(digits)[1:-1]} is too large", f"count to {MOST_COUNT:,} at most")
        return int(digits)

    def _text(self, token: str) -> Tree:
        folds = token.endswith("i")
        text = self._unescaped(token[1 : -2 if folds else -1])
        if self._reader.is_lark and self._take(".."):
            other = self._tokens[self._at] if self._at < len(self._tokens) else _Token("", "")
            self._at += 1
            high = self._unescaped(other.text[1:-1]) if other.kind == "text" else ""
            if len(text) != 1 or len(high) != 1 or high < text:
                raise self._refused("a range is of two characters", 'write "a".."z"')
            return (int(Rx.SET), ((ord(text), ord(high)),))
        if not folds:
            return trees.literal(text)
        return trees.cat(*(trees.char(_folded(char)) for char in text))

    def _unescaped(self, text: str) -> str:
        def one(found: re.Match[str]) -> str:
            code = found[1] or found[2] or found[3]
            if code:
                value = int(code, 16)
                if value > 0x10FFFF or 0xD800 <= value < 0xE000:
                    raise self._refused(f"{found[0]} is no character")
                return chr(value)
            if found[4] not in _ESCAPES and found[4].isalnum():
                raise self._refused(f"{found[0]} is no escape", r"write \\ for a backslash")
            return _ESCAPES.get(found[4], found[4])

        return re.sub(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", one, text)

    def _set(self, token: str) -> Tree:
        inner = token[1:-1]
        negated = inner.startswith("^")
        if len(inner) == negated:
            raise self._refused(f"{token} is a set of nothing", "name a character")
        chars = re.findall(r"\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}|\\.|.", inner[negated:], re.DOTALL)
        ranges: list[tuple[int, int]] = []
        at = 0
        while at < len(chars):
            low = high = ord(self._unescaped(chars[at]))
            if at + 2 < len(chars) and chars[at + 1] == "-":
                high = ord(self._unescaped(chars[at + 2]))
                at += 2
            if high < low:
                raise self._refused(f"{token} has a range that ends before it begins")
            ranges.append((low, high))
            at += 1
        return trees.no_ranges(ranges) if negated else trees.ranges(ranges)

    def _pattern(self, token: str) -> Tree:
        body, _, flags = token[1:].rpartition("/")
        if flags.strip("u"):
            raise self._refused(f"the flags {flags!r} of a pattern can't be kept", "write the pattern without them")
        try:
            return regex.exact_tree(body.replace("\\/", "/"))
        except regex.RegexError as error:
            raise self._refused(str(error), "correct the pattern") from None


def _folded(char: str) -> str:
    """Return the characters that match one regardless of case."""
    cases = {char, char.lower(), char.upper(), char.title()}
    return "".join(one for one in sorted(cases) if len(one) == 1)


_SELF: Tree = (-1,)  #: A rule's reference to itself at the end of an alternative.
