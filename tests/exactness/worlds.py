"""Worlds: finite sets of JSON values, each with a schema that holds for its values and for nothing else.

A schema that is bounded by a world has only values of the world, so that which of them are valid can be found out one
by one, and with them everything that may be written: disallowed is proved by enumeration, too. The bound is structural
(types, lengths, patterns, counts), so that it meets the schema's own keywords in the engine; under two negations it
annotates nothing, and `unevaluated*` sees none of it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np

Symbol = tuple[
    Any, ...
]  # ("[",) ("{",) (":",) (",",) ... ; ("c", character); ("n", Decimal, has a point); ("l", b"true")

#: Dialects where an integer is one by its text: 1.0 is none.
BY_TEXT = frozenset({"draft4", "openapi3.0"})


@dataclass(frozen=True)
class Shape:
    """The values of one depth: scalars, arrays over `items` and objects over `keys` with values of `members`."""

    literals: tuple[Any, ...] = ()  # null, or both booleans
    numbers: tuple[str, str, str] | None = None  # least, most, step
    strings: tuple[str, int] | tuple[str, ...] = ()  # the characters and the longest, or the strings themselves
    items: Shape | None = None
    most_items: int = 0
    keys: tuple[str, ...] = ()
    members: Shape | None = None
    most_members: int = 0

    def all_numbers(self) -> list[Decimal]:
        """Return the numbers."""
        if self.numbers is None:
            return []
        low, high, step = map(Decimal, self.numbers)
        return [low + step * i for i in range(int((high - low) / step) + 1)]

    def all_strings(self) -> list[str]:
        """Return the strings."""
        if len(self.strings) == 2 and isinstance(self.strings[1], int):
            letters, longest = self.strings
            return ["".join(s) for n in range(longest + 1) for s in itertools.product(letters, repeat=n)]
        return [str(s) for s in self.strings]

    def values(self, by_text: bool) -> Iterator[Any]:
        """Yield every value once: integers are int, other numbers Decimal, and 1.0 too where texts decide."""
        yield from self.literals
        for number in self.all_numbers():
            whole = number == number.to_integral_value()
            yield int(number) if whole else number
            if whole and by_text:
                yield Decimal(f"{int(number)}.0")
        yield from self.all_strings()
        if self.items is not None:
            below = list(self.items.values(by_text))
            for size in range(self.most_items + 1):
                yield from map(list, itertools.product(below, repeat=size))
        if self.members is not None:
            below = list(self.members.values(by_text))
            for size in range(self.most_members + 1):
                for names in itertools.combinations(self.keys, size):
                    for chosen in itertools.product(below, repeat=size):
                        yield dict(zip(names, chosen, strict=True))

    def bound(self) -> dict[str, Any]:
        """Return a schema, of any draft, that holds for the values of this shape and for no others."""
        types = [{True: "boolean", False: "boolean", None: "null"}[x] for x in self.literals]
        out: dict[str, Any] = {}
        if self.numbers is not None:
            low, high, step = (json.loads(x) for x in self.numbers)
            types.append("number")
            out |= {"minimum": low, "maximum": high, "multipleOf": step}
        if self.strings:
            types.append("string")
            if len(self.strings) == 2 and isinstance(self.strings[1], int):
                out |= {"pattern": f"^[{self.strings[0]}]*$", "maxLength": self.strings[1]}
            else:
                others = ["null", "boolean", "number", "array", "object"]
                out["anyOf"] = [{"type": others}, {"enum": list(self.strings)}]
        if self.items is not None:
            types.append("array")
            out |= {"items": self.items.bound(), "maxItems": self.most_items}
        if self.members is not None:
            types.append("object")
            names = "|".join(name.replace("\\", "\\\\") for name in self.keys)
            out |= {
                "patternProperties": {f"^(?:{names})$": self.members.bound()},
                "additionalProperties": False,
                "maxProperties": self.most_members,
            }
        return {"type": list(dict.fromkeys(types)), **out}


@dataclass
class Node:
    """A prefix of texts, as symbols. The leaves below it are a range."""

    last: str  # the first field of the last symbol: what a gap behind it may be
    next: dict[Symbol, Node] = field(default_factory=dict)
    first: int = 0
    end: int = 0
    leaf: int = -1
    number: int = -1


@dataclass
class World:
    """A finite set of values, and the trie of all ways to order their keys."""

    name: str
    shape: Shape
    by_text: bool = False  # 1.0 is written too, and is another value than 1

    def __post_init__(self) -> None:
        """Enumerate."""
        self.values = list(self.shape.values(self.by_text))
        self.rust = [as_read(v) for v in self.values]
        self.root = Node("start")
        self.leaf_value: list[int] = []
        self.leaf_objects: list[tuple[int, ...]] = []
        self.objects: dict[tuple[tuple[Any, ...], tuple[str, ...]], int] = {}  # (path, keys as written) of two or more
        ways = []
        for number, value in enumerate(self.values):
            for symbols, objects in ordered(value, (), self.by_text):
                ways.append((symbols, number, objects))
        ends: dict[int, tuple[int, Any]] = {}
        for symbols, number, objects in ways:
            node = self.root
            for symbol in symbols:
                node = node.next.setdefault(symbol, Node(symbol[0]))
            assert id(node) not in ends, "a text twice"
            ends[id(node)] = number, objects
        self.nodes = 0
        self._ranges: list[tuple[int, int]] = []
        self._number(self.root, ends)
        #: By leaf: its value, and whether an integer in it is written with a point.
        self.leaf_values = np.asarray(self.leaf_value)
        self.padded = np.asarray([_is_padded(self.values[v]) for v in self.leaf_value])
        self._first, self._end = np.asarray(self._ranges).T

    def _number(self, node: Node, ends: dict[int, tuple[int, Any]]) -> None:
        node.number = self.nodes
        self.nodes += 1
        self._ranges.append((0, 0))
        node.first = len(self.leaf_value)
        if id(node) in ends:
            value, objects = ends[id(node)]
            node.leaf = len(self.leaf_value)
            self.leaf_value.append(value)
            self.leaf_objects.append(tuple(self.objects.setdefault(o, len(self.objects)) for o in objects))
        for below in node.next.values():
            self._number(below, ends)
        node.end = len(self.leaf_value)
        self._ranges[node.number] = node.first, node.end

    def live(self, leaves: Any) -> list[bool]:
        """Return which nodes have one of these leaves (a bool each) below them."""
        total = np.concatenate([[0], np.cumsum(leaves)])
        found: list[bool] = (total[self._end] > total[self._first]).tolist()
        return found


def as_read(value: Any) -> Any:
    """Return a value as an ordinary reader has it: floats for fractions (all worlds' fractions are floats exactly)."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [as_read(item) for item in value]
    if isinstance(value, dict):
        return {name: as_read(item) for name, item in value.items()}
    return value


def _is_padded(value: Any) -> bool:
    """Say whether a value of a world where texts decide holds an integer with a point."""
    if isinstance(value, (list, dict)):
        return any(map(_is_padded, value.values() if isinstance(value, dict) else value))
    return isinstance(value, Decimal) and value == value.to_integral_value()


def ordered(value: Any, path: tuple[Any, ...], by_text: bool) -> Iterator[tuple[tuple[Symbol, ...], tuple[Any, ...]]]:
    """Yield the symbols of a value in every order of its keys, with (path, keys) of each object of two or more."""
    if isinstance(value, dict):
        for names in itertools.permutations(value):
            own = ((path, names),) if len(names) > 1 else ()
            parts = [list(ordered(value[name], (*path, name), by_text)) for name in names]
            for chosen in itertools.product(*parts):
                out: list[Symbol] = [("{",)]
                objects: tuple[Any, ...] = own
                for at, (name, (symbols, below)) in enumerate(zip(names, chosen, strict=True)):
                    out += [(",",)] if at else []
                    out += [*text(name), (":",), *symbols]
                    objects += below
                yield (*out, ("}",)), objects
    elif isinstance(value, list):
        parts = [list(ordered(item, (*path, at), by_text)) for at, item in enumerate(value)]
        for chosen in itertools.product(*parts):
            out = [("[",)]
            objects = ()
            for at, (symbols, below) in enumerate(chosen):
                out += [(",",)] if at else []
                out += symbols
                objects += below
            yield (*out, ("]",)), objects
    elif isinstance(value, str):
        yield tuple(text(value)), ()
    elif value is None or isinstance(value, bool):
        yield (("l", {None: b"null", True: b"true", False: b"false"}[value]),), ()
    else:
        exact = Decimal(value)
        has_point = isinstance(value, Decimal) if by_text else None
        yield (("n", exact.normalize() + 0, has_point),), ()


def text(string: str) -> list[Symbol]:
    """Return the symbols of a string: a quote, its characters, the closing quote."""
    return [('"',), *(("c", c) for c in string), ("q",)]


_BIT = Shape(numbers=("0", "1", "1"))
_SMALL = Shape(literals=(None,), numbers=("0", "1", "1"), strings=("ab", 1))
_MIXED = Shape(
    numbers=("0", "1", "1"), strings=("a",), items=_BIT, most_items=2, keys=("a", "b"), members=_BIT, most_members=1
)
_PAIR = Shape(numbers=("0", "1", "1"), keys=("a", "b"), members=_BIT, most_members=2)
_INNER = Shape(numbers=("0", "1", "1"), items=_BIT, most_items=1, keys=("a",), members=_BIT, most_members=1)
_NESTED = Shape(items=_INNER, most_items=1, keys=("a", "b"), members=_INNER, most_members=2)
_FEW = Shape(literals=(None, True, False), numbers=("0", "2", "0.5"), strings=("a",))
#: Strings that formats, lengths in code points and escapes tell apart.
STRINGS = (
    *("", "a", "b", "ab", "é", "aé", 'a"b', "x\\", "\n", "/a"),
    *("2024-02-29", "2023-02-29", "1.2.3.4", "1.2.3.256", "::1", "a@b", "00000000-0000-0000-0000-000000000000"),
)
#: What inputs.py states, and what looks like it.
QUOTES = (
    *("", "a", "b", "ab", "a b", "b a", "ab a", "a b ab", "é", "aé", "a-b", 'a"b', "a.", "/a", "abba", "ab-ba"),
    *("ab- ba", "1", "0.5", "-1", "€2", "a 1", "2024-02-29", "2024-04-03", "29.02.2024", "29 February", "1.2.3.4"),
)
_QUOTES = Shape(numbers=("0", "1", "1"), strings=("a", "b", "a b", "é", "2024-02-29", "1"))
_TEXTS = Shape(numbers=("0", "1", "1"), strings=("", "a", "é", "2024-02-29", "1.2.3.4"))

SHAPES: dict[str, Shape] = {
    "flat": Shape(
        literals=(None, True, False),
        numbers=("-1", "2", "0.5"),
        strings=("ab", 2),
        items=_SMALL,
        most_items=3,
        keys=("a", "b", "c"),
        members=_SMALL,
        most_members=3,
    ),
    "deep": Shape(
        literals=(None,),
        numbers=("-1", "2", "1"),
        strings=("ab", 1),
        items=_MIXED,
        most_items=2,
        keys=("a", "b"),
        members=_MIXED,
        most_members=2,
    ),
    "pairs": Shape(
        numbers=("0", "1", "1"),
        items=_PAIR,
        most_items=2,
        keys=("a", "b"),
        members=_PAIR,
        most_members=2,
    ),
    "nested": Shape(
        numbers=("0", "1", "1"),
        items=_NESTED,
        most_items=1,
        keys=("a", "b"),
        members=_NESTED,
        most_members=1,
    ),
    "texts": Shape(
        literals=(True, False),
        numbers=("0", "2", "1"),
        strings=STRINGS,
        items=_TEXTS,
        most_items=2,
        keys=("a", "é", 'x"y', "ab"),
        members=_TEXTS,
        most_members=2,
    ),
    "quotes": Shape(
        literals=(None,),
        numbers=("-1", "2", "0.5"),
        strings=QUOTES,
        items=_QUOTES,
        most_items=2,
        keys=("a", "b"),
        members=_QUOTES,
        most_members=2,
    ),
    "numbers": Shape(
        literals=(None, True, False),
        numbers=("-2", "12", "0.25"),
        strings=("a", 1),
        items=_FEW,
        most_items=2,
        keys=("a", "b"),
        members=_FEW,
        most_members=2,
    ),
    "counts": Shape(
        literals=(None,),
        numbers=("0", "3", "1"),
        strings=("ab", 1),
        items=Shape(numbers=("0", "1", "1"), strings=("a", "b")),
        most_items=4,
        keys=("a", "b", "c", "aa"),
        members=Shape(numbers=("0", "0", "1"), strings=("a",)),
        most_members=4,
    ),
}


@cache
def world_of(name: str, by_text: bool) -> World:
    """Return a world; `by_text` where 1.0 is another value than 1."""
    return World(name, SHAPES[name], by_text)
