"""Shapes that break mask engines, each with texts that it lets through and texts that it does not.

The tests hold every text to the verdict given here, and the verdict to a validator; benchmarks/shapes.py walks the same
texts and times each mask.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


@dataclass(frozen=True)
class Shape:
    """A schema, the texts of some instances, and texts that are none."""

    schema: Any
    good: list[str]
    bad: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)


def written(*values: Any) -> list[str]:
    """Write values as the default options do."""
    return [json.dumps(value, ensure_ascii=False) for value in values]


def closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """Return the schema of an object without other properties."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def large(properties: int = 587, size: int = 938_000) -> Shape:
    """A schema of nearly a megabyte: nested objects, enums, patterns, and long descriptions."""
    r = Random(1)
    kinds: list[Callable[[], tuple[Any, Any]]] = [
        lambda: ({"type": "string", "minLength": 1, "maxLength": r.randint(10, 400)}, "text"),
        lambda: ({"type": "string", "pattern": f"^[A-Z]{{{r.randint(1, 4)}}}-\\d+$"}, None),
        lambda: ({"enum": (words := [f"value {r.randrange(10**6)}" for _ in range(r.randint(2, 40))])}, words[-1]),
        lambda: ({"type": "number", "minimum": 0, "maximum": 10 ** r.randint(1, 9)}, 7.5),
        lambda: ({"type": "array", "items": closed({"x": INTEGER, "y": STRING}, "x")}, [{"x": 1, "y": "é"}]),
        lambda: ({"type": ["object", "null"], "properties": {f"sub{i}": STRING for i in range(9)}}, {"sub3": "s"}),
        lambda: ({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}, "2024-02-29"),
    ]
    table: dict[str, Any] = {}
    value: dict[str, Any] = {}
    for number in range(properties):
        schema, instance = kinds[number % len(kinds)]()
        table[f"property_{number}"] = schema
        if instance is not None and number % 5 == 0:
            value[f"property_{number}"] = instance
    for schema in table.values():
        schema["description"] = "what it is for, at length, " * (size // properties // 27 - 8)
    return Shape(closed(table), written(value, {}), written({**value, "property_9999": 1}, {"property_0": ""}))


def all_of(width: int = 266) -> Shape:
    """Many conjuncts, each about a key of its own and one key that all share."""
    parts = [{"properties": {f"p{i}": STRING, "shared": {"type": "string", "minLength": i % 7}}} for i in range(width)]
    good = {"p7": "a", "p8": "b", "shared": "123456", f"p{width - 1}": "z"}
    return Shape(
        {"type": "object", "allOf": parts},
        written({"p7": "a", "shared": "123456", "p8": "b", f"p{width - 1}": "z"}, {}, {"other": 1}),
        written({"p7": 1}, {**good, "shared": "12345"}, {f"p{width - 1}": None}),
        {"key_order": "any"},
    )


def any_of(width: int = 238) -> Shape:
    """Alternatives that overlap: each has a required key of its own and shares fifty others."""
    parts = [
        {"type": "object", "properties": {f"p{i % 50}": STRING, f"q{i}": INTEGER}, "required": [f"q{i}"]}
        for i in range(width)
    ]
    return Shape(
        {"anyOf": parts},
        written({"q7": 3, "p7": "a"}, {"p7": 5, "q8": 1}, {"q1": 1, "q2": 2, f"q{width - 1}": 3, "p3": []}),
        written({"q7": "a"}, {"p7": "a"}, {"q7": 3, "p7": 5}, []),
        {"key_order": "any"},
    )


def tagged(width: int = 60) -> Shape:
    """Alternatives told apart by a constant, which comes last in the text."""
    parts = [closed({"x": STRING, f"y{i}": INTEGER, "kind": {"const": f"k{i}"}}, "kind", "x") for i in range(width)]
    return Shape(
        {"oneOf": parts},
        written({"x": "a", "kind": "k3"}, {"x": "a", f"y{width - 1}": 3, "kind": f"k{width - 1}"}),
        written({"x": "a", "y3": 1, "kind": "k4"}, {"kind": "k3"}),
        {"key_order": "any"},
    )


def overlapping_one_of(width: int = 41) -> Shape:
    """Alternatives of which several may hold at once, so that the exact one is known late."""
    parts = [
        {"type": "object", "properties": {f"p{j}": [STRING, INTEGER][i >> j & 1] for j in range(6)}, "required": ["p0"]}
        for i in range(width)
    ]
    full = {f"p{j}": [0, "s"][not 13 >> j & 1] for j in range(6)}
    return Shape(
        {"oneOf": parts},
        written(full, {f"p{j}": [0, "s"][not 40 >> j & 1] for j in range(6)}),
        written({"p0": "a"}, {**full, "p5": True}, {"p1": "s"}),
        {"key_order": "any"},
    )


def optional_properties(count: int = 311) -> Shape:
    """Properties that may come or not, in any order."""
    r = Random(2)
    names = [f"p{i}" for i in range(count)]
    r.shuffle(names)
    return Shape(
        closed(dict.fromkeys(sorted(names), STRING)),
        written({}, dict.fromkeys(names[:60], "s"), {names[0]: "s"}),
        [*written({f"p{count}": "s"}, {names[0]: 1}), '{"p1": "a", "p1": "b"}'],
        {"key_order": "any"},
    )


def enum_of_strings(count: int = 5_383) -> Shape:
    """Constants, many with the same beginnings and ends."""
    r = Random(3)
    words = list(dict.fromkeys(f"{r.choice('abcxyz')}-{n:05d}/suffix" for n in range(count)))
    return Shape(
        {"enum": words},
        written(words[0], words[count // 2], words[-1]),
        written(words[0][:-1], words[7] + "x", "q", 1),
    )


def enum_of_objects(count: int = 12) -> Shape:
    """Constants that are objects, and their exclusion."""
    values = [{"a": n, "b": [n % 7, str(n)]} for n in range(count)]
    return Shape(
        {"properties": {"one": {"enum": values}, "none": {"type": "object", "not": {"enum": values}}}},
        written({"one": values[3]}, {"one": values[-1], "none": {"a": 1}}, {"none": {"a": 3, "b": [3, "4"]}}),
        written({"one": {"a": 3, "b": [4, "3"]}}, {"none": values[9]}, {"one": {}}),
    )


def array_of_many(most: int = 10_000) -> Shape:
    """Count bounds far away."""
    return Shape(
        {"type": "array", "items": INTEGER, "minItems": 2, "maxItems": most},
        written(list(range(min(most, 300))), [1, 2], [0] * most),
        written([1], [0] * (most + 1), ["a", "b"]),
    )


def longest_string(most: int = 1_000_000) -> Shape:
    """A length bound far away."""
    return Shape(
        {"type": "string", "minLength": 3, "maxLength": most},
        written("abc", "é文😀", ("some longer text, and more of it, " * 50)[:most]),
        written("ab", "é文"),
    )


def shortest_string(least: int = 10_000) -> Shape:
    """A length that must be reached."""
    return Shape(
        {"type": "string", "minLength": least, "pattern": "^[a-zé ]*$"},
        written("naïve text".replace("ï", "é") * (least // 10), "a" * (least + 7)),
        written("a" * (least - 1), "A" * least),
    )


def counted_from_the_end(width: int = 100) -> Shape:
    """A pattern whose deterministic automaton has 2**width states."""
    tail = "xyz " * (width // 4)
    return Shape(
        {"type": "string", "pattern": f".*a.{{{width}}}$"},
        written("banana a" + tail, "a" * (width + 1)),
        written("b" + tail, "a" * width, ""),
    )


def look_aheads() -> Shape:
    """What passwords are checked with."""
    pattern = r"^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*[@$!%*?&])[A-Za-z\d@$!%*?&]{8,64}$"
    return Shape(
        {"type": "string", "pattern": pattern},
        written("Passw0rd!", "aA1@" * 16),
        written("password", "Passw0rd", "aA1@" * 17, "Passw0rd! "),
    )


def required_cycle() -> Shape:
    """A value that would have to hold itself: nothing but the way around it is left."""
    return Shape(
        {
            "$ref": "#/$defs/node",
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {"next": {"anyOf": [{"$ref": "#/$defs/endless"}, {"$ref": "#/$defs/node"}, False]}},
                    "required": ["id"],
                },
                "endless": {"type": "object", "properties": {"e": {"$ref": "#/$defs/endless"}}, "required": ["e"]},
            },
        },
        written({"next": {"id": 1}, "id": 2}, {"id": None}),
        ['{"next": {"e": ', '{"next": 1, "id": 2}', "{}"],
    )


def overlapping_patterns(width: int = 8) -> Shape:
    """Keys that several patterns and a property hold at once."""
    patterns = {f"[{c}]": {"type": "string", "minLength": i} for i, c in enumerate("abcdefgh"[:width])}
    return Shape(
        {"type": "object", "properties": {"abc": {"maxLength": 3}, "x": INTEGER}, "patternProperties": patterns},
        written({"abc": "123", "x": 1}, {"x": 1, "ab": "a", "bh": "1234567", "zz": 0}, {"h": "1234567"}),
        written({"abc": "1"}, {"abc": "1234"}, {"bd": "12"}, {"x": "a"}, {"ha": 1}),
        {"key_order": "any"},
    )


def conditions(width: int = 16) -> Shape:
    """A condition for each value of a tag."""
    return Shape(
        {
            "type": "object",
            "properties": {"kind": {"enum": [f"t{i}" for i in range(width)]}},
            "required": ["kind"],
            "allOf": [
                {"if": {"properties": {"kind": {"const": f"t{i}"}}}, "then": {"required": [f"k{i}"]}}
                for i in range(width)
            ],
        },
        written({"kind": "t3", "k3": 1}, {"k0": 1, "k3": 1, "kind": "t0"}),
        written({"kind": "t3", "k4": 1}, {"kind": "x"}),
        {"key_order": "any"},
    )


def dependencies(width: int = 20) -> Shape:
    """Keys that ask for other keys."""
    return Shape(
        {"type": "object", "dependentRequired": {f"a{i}": [f"b{i}"] for i in range(width)}},
        written({"a3": 1, "b3": 1}, {"b1": 1, "a1": 1, "a9": 1, "b9": 1}, {}),
        written({"a3": 1}, {"a3": 1, "b4": 1}),
        {"key_order": "any"},
    )


def exact_numbers() -> Shape:
    """Bounds and integers as exact decimals."""
    return Shape(
        closed(
            {
                "open": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
                "large": {"type": "integer", "minimum": 2**53 + 1},
                "whole": {"type": "integer"},
                "step": {"type": "number", "multipleOf": 0.123456789, "minimum": 1000},
            }
        ),
        [
            '{"open": 0.5, "large": 9007199254740993, "whole": 1.0, "step": 1000.123447689}',
            '{"open": 0.0000001}',
            '{"whole": -0}',
            '{"whole": 1.0}',
        ],
        [
            '{"open": 0}',
            '{"open": 0.0}',
            '{"open": 0.50001}',
            '{"large": 9007199254740992}',
            '{"whole": 1.5}',
            '{"step": 1000}',
        ],
        {"spelling": "any"},
    )


def escaped_keys() -> Shape:
    """A key is what it decodes to, and is written once."""
    return Shape(
        closed({"a": INTEGER, "é": STRING}, "a"),
        ['{"\\u0061": 1}', '{"\\u00e9": "x", "a": 1}', '{"a": 1, "é": "\\ud83d\\ude00"}'],
        ['{"\\u0062": 1}', '{"a": 1, "\\u0061": 1}', '{"\\u0061": "x"}', '{"é": "x", "\\u00E9": "x", "a": 1}'],
        {"spelling": "any", "key_order": "any"},
    )


def open_keys() -> Shape:
    """Keys that no property names are written once as well."""
    return Shape(
        {"type": "object", "additionalProperties": INTEGER, "maxProperties": 40},
        written({f"key {n}": n for n in range(40)}, {"": 0, "a": 1, "ab": 2}),
        [*written({f"key {n}": n for n in range(41)}), '{"ab": 1, "a": 2, "ab": 3}', '{"x": 1, "\\u0078": 2}'],
        {"spelling": "any"},
    )


def dates() -> Shape:
    """Days that the calendar has."""
    return Shape(
        {"type": "string", "format": "date"},
        written("2024-02-29", "2000-02-29", "2023-12-31"),
        written("2023-02-29", "1900-02-29", "2023-04-31", "2023-13-01"),
    )


def white_space() -> Shape:
    """White space between everything, written with tokens that are nothing else."""
    value = {"a": [1, {"b": "c"}], "d": {}}
    return Shape(
        {"type": "object"},
        [json.dumps(value, indent=40), json.dumps(value, indent="\t"), '{"a":' + " " * 200 + "1}"],
        ['{"a"\u00a0: 1}'],
        {"whitespace": "any"},
    )


def recursion() -> Shape:
    """Ten alternatives that overlap, each recursive."""
    node = {"$ref": "#/$defs/node"}
    parts = [
        {
            "type": "object",
            "properties": {"op": {"type": "string"}, f"x{i}": node, f"x{i + 1}": node},
            "required": ["op"],
        }
        for i in range(10)
    ]
    value: Any = {"op": "leaf"}
    for i in range(12):
        value = {"op": "+", f"x{i % 10}": value, "x4": {"op": "-"}}
    return Shape(
        {"$ref": "#/$defs/node", "$defs": {"node": {"anyOf": parts}}},
        written(value),
        written({"x1": {"op": "a"}}, {"op": 1}),
        {"key_order": "any"},
    )


def end_of_every_shape() -> Iterable[tuple[str, Callable[[], Shape]]]:
    """Yield the shapes that must be as cheap for other sizes."""
    for make, sizes in (
        (all_of, (40, 1_000)),
        (any_of, (50, 500)),
        (tagged, (5, 100)),
        (overlapping_one_of, (42, 60)),
        (optional_properties, (20, 1_000)),
        (enum_of_strings, (100, 20_000)),
        (array_of_many, (10, 100_000)),
        (longest_string, (10, 10**9)),
        (shortest_string, (100, 100_000)),
        (counted_from_the_end, (12, 300)),
        (overlapping_patterns, (4, 6)),
        (conditions, (6, 40)),
        (dependencies, (6, 40)),
    ):
        for size in sizes:
            yield f"{make.__name__} {size:,}", functools.partial(make, size)


SHAPES: dict[str, Callable[[], Shape]] = {
    make.__name__: make
    for make in (
        large,
        all_of,
        any_of,
        tagged,
        overlapping_one_of,
        optional_properties,
        enum_of_strings,
        enum_of_objects,
        array_of_many,
        longest_string,
        shortest_string,
        counted_from_the_end,
        look_aheads,
        required_cycle,
        overlapping_patterns,
        conditions,
        dependencies,
        exact_numbers,
        escaped_keys,
        open_keys,
        dates,
        white_space,
        recursion,
    )
}
OTHER_SIZES = dict(end_of_every_shape())


def vocabulary_of_262k(tokens: list[bytes], size: int = 262_144) -> list[bytes]:
    """Return a vocabulary as large as the largest in use: pairs of a real one's tokens after its own."""
    more = (a + b for a, b in itertools.product(tokens[1_000:2_000], tokens[300:1_000]) if len(a) + len(b) < 128)
    white = [b" " * n for n in range(90, 129)] + [b"\n" + b"\t" * n for n in range(1, 20)]
    return [*tokens, *white, *itertools.islice(more, size - len(tokens) - len(white))]
