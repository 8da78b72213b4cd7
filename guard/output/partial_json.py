r"""JSON as far as it has come: a text in pieces goes in, the tree of what it says so far is there after each piece.

Every character is read once. A closed node never changes again; the open ones lie on one path, from the root to where
the text ends. Of a string that is open the characters are known, those of an escape once it is whole; of a number
nothing is before what follows it has come, for more digits may. What breaks JSON's grammar, or is beyond what Python
reads of a number, ends the reading: the tree stays as it is. No parser that is in use gives open strings and reads on
from where it stopped: jiter begins anew with each piece, ijson tells of whole strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from enum import Enum
from typing import Any

from guard.output.judge import read

MOST_DEPTH = 64  #: Levels that are read: a type that holds itself takes ten calls of Python for each, of some 1,000.

_SPACE = re.compile(r"[ \t\n\r]*")
_CHARACTERS = re.compile(r'[^"\\\x00-\x1f]*')
_NUMERIC = re.compile(r"[-+.0-9eE]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS = ("true", "false", "null")
#: A whole escape; of characters beyond the first 65,536 both halves.
_ESCAPE = re.compile(
    r'\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})'
)
_LONGEST_ESCAPE = 12  # characters


class Kind(Enum):
    """What a node is."""

    OBJECT = "object"
    ARRAY = "array"
    STRING = "string"
    NUMBER = "number"
    WORD = "word"  # true, false, null


class Node:
    """A value as far as it has come. All of its items but the last are closed."""

    __slots__ = ("_parts", "is_open", "items", "keys", "kind", "memo")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.is_open = True
        self.keys: list[str] = []  # of an object, one for each item; a key that stands twice is there twice
        self.items: list[Node] = []  # of an object or an array
        self.memo: dict[Hashable, Any] = {}  # what readers of the tree have made of it
        self._parts: list[str] = []

    def add(self, text: str) -> None:
        """Add to the text of a leaf."""
        self._parts.append(text)

    @property
    def text(self) -> str:
        """Of a string its characters, of a number or a word what is written, as far as it has come."""
        if len(self._parts) != 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0]

    @property
    def closed_items(self) -> int:
        """How many items are closed."""
        return len(self.items) - (bool(self.items) and self.items[-1].is_open)


class PartialReader:
    """Reads a text piece by piece; `root` is the tree, None before its first character."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.is_over = False  # the value is whole, or the text is no JSON: nothing changes any more
        self._path: list[Node] = []  # the objects and arrays that are open
        self._leaf: Node | None = None  # the string, number or word that is open
        self._is_key = False  # whether that is the key of a member
        self._key = ""
        self._escape = ""  # the beginning of one
        self._next = "value"  # what may follow: value, item (or the array's end), key, member (…), colon, comma

    @property
    def weight(self) -> int:
        """What a copy of the open path costs, in items; 64 characters of an open string cost as much as one."""
        leaf = 0 if self._leaf is None else sum(map(len, self._leaf._parts)) // 64
        return leaf + sum(len(node.items) for node in self._path)

    @property
    def open_nodes(self) -> list[Node]:
        """The values that are open, from the root on."""
        return self._path if self._leaf is None or self._is_key else [*self._path, self._leaf]

    def feed(self, piece: str) -> None:
        """Read the next piece."""
        at = 0
        while at < len(piece) and not self.is_over:
            leaf = self._leaf
            if leaf is None:
                at = self._between(piece, at)
            elif leaf.kind is Kind.STRING:
                at = self._in_string(leaf, piece, at)
            elif leaf.kind is Kind.NUMBER:
                at = self._in_number(leaf, piece, at)
            else:
                at = self._in_word(leaf, piece, at)

    def _between(self, piece: str, at: int) -> int:
        found = _SPACE.match(piece, at)
        assert found is not None
        at = found.end()
        if at == len(piece):
            return at
        character, expected = piece[at], self._next
        if expected in ("value", "item"):
            if character == "]" and expected == "item":
                self._close_container()
                return at + 1
            return self._begin(character, at)
        if expected in ("key", "member") and character == '"':
            self._leaf, self._is_key = Node(Kind.STRING), True
        elif expected == "colon" and character == ":":
            self._next = "value"
        elif expected == "comma" and character == ",":
            self._next = "key" if self._path[-1].kind is Kind.OBJECT else "value"
        elif expected in ("member", "comma") and character == ("}" if self._path[-1].kind is Kind.OBJECT else "]"):
            self._close_container()
        else:
            self.is_over = True
        return at + 1

    def _begin(self, character: str, at: int) -> int:
        """Begin a value with its first character."""
        if character in "{[":
            node = Node(Kind.OBJECT if character == "{" else Kind.ARRAY)
            self._attach(node)
            self._path.append(node)
            self._next = "member" if character == "{" else "item"
            self.is_over = len(self._path) > MOST_DEPTH
            return at + 1
        if character == '"':
            self._leaf = Node(Kind.STRING)
            at += 1
        elif character in "-0123456789":
            self._leaf = Node(Kind.NUMBER)
        elif character in "tfn":
            self._leaf = Node(Kind.WORD)
        else:
            self.is_over = True
            return at
        self._attach(self._leaf)
        return at

    def _attach(self, node: Node) -> None:
        if not self._path:
            self.root = node
            return
        parent = self._path[-1]
        if parent.kind is Kind.OBJECT:
            parent.keys.append(self._key)
        parent.items.append(node)

    def _in_string(self, leaf: Node, piece: str, at: int) -> int:
        if self._escape:
            self._escape += piece[at]
            if _ESCAPE.fullmatch(self._escape):
                leaf.add(json.loads(f'"{self._escape}"'))
                self._escape = ""
            elif self._escape[1] != "u" or len(self._escape) == _LONGEST_ESCAPE:
                self.is_over = True
            return at + 1
        found = _CHARACTERS.match(piece, at)
        assert found is not None
        if found[0]:
            leaf.add(found[0])
        at = found.end()
        if at < len(piece):
            if piece[at] == '"':
                self._close_leaf(leaf)
            elif piece[at] == "\\":
                self._escape = "\\"
            else:
                self.is_over = True
        return at + 1

    def _in_number(self, leaf: Node, piece: str, at: int) -> int:
        found = _NUMERIC.match(piece, at)
        assert found is not None
        leaf.add(found[0])
        if found.end() < len(piece):
            value, findings = read(leaf.text) if _NUMBER.fullmatch(leaf.text) else (None, True)
            if findings:  # it is no number, or one that Python does not read
                self.is_over = True
            else:
                leaf.memo["plain"] = value
                self._close_leaf(leaf)
        return found.end()

    def _in_word(self, leaf: Node, piece: str, at: int) -> int:
        leaf.add(piece[at])
        if leaf.text in _WORDS:
            self._close_leaf(leaf)
        elif not any(word.startswith(leaf.text) for word in _WORDS):
            self.is_over = True
        return at + 1

    def _close_leaf(self, leaf: Node) -> None:
        self._leaf, leaf.is_open = None, False
        if self._is_key:
            self._is_key, self._key, self._next = False, leaf.text, "colon"
        else:
            self._closed()

    def _close_container(self) -> None:
        self._path.pop().is_open = False
        self._closed()

    def _closed(self) -> None:
        self._next = "comma"
        self.is_over = not self._path


def plain(node: Node) -> Any:
    """Return what a node says as `json.loads` gives it; what is not known yet is left out, at the root it is None."""
    if "plain" in node.memo:
        return node.memo["plain"]
    value: Any
    if node.kind is Kind.STRING:
        value = node.text
    elif node.kind in (Kind.NUMBER, Kind.WORD):
        value = None if node.is_open else json.loads(node.text)
    else:
        value = _plain_container(node)
    if not node.is_open:
        node.memo["plain"] = value
    return value


def _plain_container(node: Node) -> Any:
    """Return a copy of what is closed, with the open item behind it."""
    closed = node.memo.setdefault("closed", {} if node.kind is Kind.OBJECT else [])
    for index in range(node.memo.get("number", 0), node.closed_items):
        _put(node, closed, index)
    node.memo["number"] = node.closed_items
    if not node.is_open:
        return closed
    whole = closed.copy()
    if node.closed_items < len(node.items) and _is_known(node.items[-1]):
        _put(node, whole, -1)
    return whole


def _put(node: Node, container: Any, index: int) -> None:
    if node.kind is Kind.OBJECT:
        container[node.keys[index]] = plain(node.items[index])
    else:
        container.append(plain(node.items[index]))


def _is_known(node: Node) -> bool:
    """Answer whether something of a node's value is known: of an open number or word nothing is."""
    return not node.is_open or node.kind not in (Kind.NUMBER, Kind.WORD)
