"""Readers: what may be written of a world's values under the options of white space and spelling, byte by byte.

A reader is an automaton over bytes, made state by state and kept for all schemas: a state knows the trie's nodes that
the bytes so far may lead to. Which nodes lead to a valid value differs from schema to schema; the state lives while one
of its nodes does. It is written straight from docs/explanation/json-text.md and RFC 8259, and shares nothing with
the engine.

Canonical spelling is read twice: "canonical" is the one text that must be allowed for each value; "zeros", zeros behind
a fraction or in place of one (12.50, 1.0), may be: the engine writes them where a number need not be an integer.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from typing import Any

from exactness.worlds import Node, World

import guard

SPACES = b" \n\r\t"
LONGEST_RUN = 256  #: Bytes of white space in one gap, with whitespace="any".
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_NUMBER_PREFIX = re.compile(rb"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)?")
_SHORT = {'"': b'\\"', "\\": b"\\\\", "/": b"\\/", "\n": b"\\n", "\t": b"\\t", "\r": b"\\r", "\b": b"\\b", "\f": b"\\f"}


class State:
    """A state of a reader."""

    __slots__ = ("at", "ends", "gap", "kind", "moves", "next", "nodes", "number", "text")

    def __init__(self, kind: str, at: Node, text: bytes, gap: str, nodes: tuple[Node, ...], number: int) -> None:
        self.kind = kind  # gap, literal, number, string
        self.at = at  # the node behind the last whole symbol
        self.text = text  # of the symbol that is being read
        self.gap = gap  # the white space since `at`
        self.nodes = nodes  # the nodes that may come next
        self.ends = -1  # the leaf, where a text may end here
        self.number = number
        self.next: dict[int, State | None] = {}
        self.moves: dict[int, list[tuple[int, State]]] = {}  # by vocabulary: tokens that lead on in the whole world

    def lives(self, live: Any) -> bool:
        """Say whether something valid lies ahead; `live` tells it for each node."""
        return any(live[node.number] for node in self.nodes)


class Reader:
    """The automaton of one world under one choice of white space and spelling."""

    def __init__(self, world: World, whitespace: str, spelling: str) -> None:
        self.world = world
        self.whitespace = whitespace
        self.spelling = spelling
        self._states: dict[Any, State] = {}
        self.start = self._gap(world.root, "")

    def __len__(self) -> int:
        """Return how many states were made."""
        return len(self._states)

    # ---- states ----

    def _make(self, kind: str, at: Node, text: bytes, gap: str, nodes: tuple[Node, ...]) -> State:
        key = kind, id(at), text, gap, tuple(map(id, nodes))
        found = self._states.get(key)
        if found is None:
            found = self._states[key] = State(kind, at, text, gap, nodes, len(self._states))
            if kind == "gap":
                found.ends = at.leaf
            elif kind == "number":
                found.ends = max((n.leaf for n in self._denoted(at, text)), default=-1)
        return found

    def _gap(self, at: Node, gap: str) -> State:
        return self._make("gap", at, b"", gap, (at,))

    def step(self, state: State, byte: int) -> State | None:
        """Return the state after a byte; None where no text of the world goes on so."""
        try:
            return state.next[byte]
        except KeyError:
            found = state.next[byte] = getattr(self, "_" + state.kind + "_step")(state, byte)
            return found

    def _gap_step(self, state: State, byte: int) -> State | None:
        at, char = state.at, chr(byte)
        if not at.next:
            return None  # nothing trails
        if byte in SPACES:
            gap = state.gap + char
            return self._gap(at, gap) if self._may_be(at.last, gap) else None
        if self.whitespace == "spaced" and at.last in (",", ":") and state.gap != " ":
            return None
        if (char,) in at.next and char not in "clnq":
            below = at.next[(char,)]
            return self._make("string", below, b"", "", (below,)) if char == '"' else self._gap(below, "")
        if char in "-0123456789":
            return self._read_number(at, bytes([byte]))
        for literal in (b"null", b"true", b"false"):
            if byte == literal[0] and ("l", literal) in at.next:
                return self._make("literal", at, literal[:1], "", (at.next["l", literal],))
        return None

    def _may_be(self, last: str, gap: str) -> bool:
        """Say whether white space may begin so, behind the symbol `last`."""
        separated, leading = last in (",", ":"), last == "start"
        match self.whitespace:
            case "compact":
                return False
            case "spaced":
                return gap == " " and (separated or leading)
            case "any":
                return len(gap) <= LONGEST_RUN
            case _:
                if gap == " ":
                    return separated or leading
                return not leading and re.fullmatch(r"\n(?: {0,40}|\t{0,10})", gap) is not None

    def _literal_step(self, state: State, byte: int) -> State | None:
        text = state.text + bytes([byte])
        for symbol, below in state.at.next.items():
            if symbol[0] == "l" and symbol[1].startswith(text):
                return (
                    self._gap(below, "") if symbol[1] == text else self._make("literal", state.at, text, "", (below,))
                )
        return None

    # ---- numbers ----

    def _read_number(self, at: Node, text: bytes) -> State | None:
        if not _NUMBER_PREFIX.fullmatch(text):
            return None
        nodes = tuple(
            below for symbol, below in at.next.items() if symbol[0] == "n" and self._begins(text, *symbol[1:])
        )
        return self._make("number", at, text, "", nodes) if nodes else None

    def _begins(self, text: bytes, value: Decimal, has_point: bool | None) -> bool:
        """Say whether a number's text may begin so."""
        plain = format(value, "f").encode()
        if self.spelling == "canonical":
            return plain.startswith(text) and not is_padded(value, has_point)
        if self.spelling == "zeros" and text[:1] == b"-" and not value:
            return False
        sign, magnitude = text[:1] == b"-", text.lstrip(b"-")
        if (sign and value > 0) or (not sign and value < 0):
            return False
        whole, point, fraction = magnitude.partition(b".")
        its_whole, _, its_fraction = plain.lstrip(b"-").partition(b".")
        if not point:
            return its_whole.startswith(whole)
        if has_point is False or whole != its_whole:
            return False
        digits = max(len(fraction), len(its_fraction))
        return its_fraction.ljust(digits, b"0").startswith(fraction)

    def _denoted(self, at: Node, text: bytes) -> list[Node]:
        """Return the node behind a whole number."""
        if not _NUMBER.fullmatch(text):
            return []
        value = Decimal(text.decode()).normalize() + 0
        has_point = b"." in text if self.world.by_text else None
        if self.world.by_text and value != value.to_integral_value():
            has_point = True
        node = at.next.get(("n", value, has_point))
        return [] if node is None or not self._begins(text, value, has_point) else [node]

    def _number_step(self, state: State, byte: int) -> State | None:
        if byte in b"0123456789.-":
            return self._read_number(state.at, state.text + bytes([byte]))
        for node in self._denoted(state.at, state.text):
            return self._gap_step(self._gap(node, ""), byte)
        return None

    # ---- strings ----

    def _string_step(self, state: State, byte: int) -> State | None:
        at, text = state.at, state.text + bytes([byte])
        if text == b'"':
            below = at.next.get(("q",))
            return self._gap(below, "") if below else None
        nodes = []
        for symbol, below in at.next.items():
            if symbol[0] == "c":
                for way in spellings(symbol[1], self.spelling):
                    if way == text:
                        return self._make("string", below, b"", "", (below,))
                    if way.startswith(text):
                        nodes.append(below)
                        break
        return self._make("string", at, text, "", tuple(nodes)) if nodes else None

    # ---- tokens ----

    def moves(self, state: State, vocabulary: Words) -> list[tuple[int, State]]:
        """Return the tokens that lead on in the whole world, with the states behind them."""
        found = state.moves.get(vocabulary.number)
        if found is None:
            found = state.moves[vocabulary.number] = []
            todo: list[tuple[dict[Any, Any], State | None]] = [(vocabulary.trie, state)]
            while todo:
                branch, at = todo.pop()
                if at is None:
                    continue
                found += [(token, at) for token in branch.get("", ())]
                todo += [(below, self.step(at, byte)) for byte, below in branch.items() if byte != ""]
            found.sort(key=lambda move: move[0])
        return found


@cache
def spellings(char: str, spelling: str) -> tuple[bytes, ...]:
    """Return the ways to write a character inside a string."""
    required = char in '"\\' or char < " "
    if spelling != "any":
        return (_SHORT.get(char, f"\\u{ord(char):04x}".encode()),) if required else (char.encode(),)
    ways = [b""]
    units = char.encode("utf-16-be").hex()
    for at, digit in enumerate(units):
        head = b"\\u" if at % 4 == 0 else b""
        ways = [way + head + d.encode() for way in ways for d in {digit, digit.upper()}]
    ways += [_SHORT[char]] if char in _SHORT else []
    return tuple(ways) if required else (char.encode(), *ways)


def is_padded(value: Decimal, has_point: bool | None) -> bool:
    """Say whether a number is an integer that is written with a point."""
    return bool(has_point) and value == value.to_integral_value()


class Words:
    """A vocabulary, its tokens as a trie: by byte the branches, under "" the tokens that end there."""

    _count = 0

    def __init__(self, tokens: list[bytes], eos: list[int], special: list[int], alphabet: bytes) -> None:
        self.number = Words._count
        Words._count += 1
        self.tokens = tokens
        self.eos = eos
        self.special = special
        self.native = guard.Vocabulary.from_bytes(tokens, eos=eos, special=special, alphabet=alphabet)
        self.trie: dict[Any, Any] = {}
        for token, text in enumerate(tokens):
            if text and token not in eos and token not in special:
                branch = self.trie
                for byte in text:
                    branch = branch.setdefault(byte, {})
                branch.setdefault("", []).append(token)
