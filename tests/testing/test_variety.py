"""Variety: of twenty values that are drawn for a schema at least fifteen differ, wherever there are many."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from guard.testing import values
from guard.testing.strategies.values import Instances

pytestmark = pytest.mark.usefixtures("no_constants_of_modules")

TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
BOOL, NULL = {"type": "boolean"}, {"type": "null"}


def closed(required: list[str] | None = None, **members: Any) -> dict[str, Any]:
    """Return the schema of an object of these members and no others."""
    names = list(members) if required is None else required
    return {"type": "object", "properties": members, "required": names, "additionalProperties": False}


def listed(items: Any, **more: Any) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **more}


def either(*schemas: Any) -> dict[str, Any]:
    """Return a union."""
    return {"anyOf": list(schemas)}


def itself(schema: Any) -> dict[str, Any]:
    """Return a schema in which `ITSELF` is the whole."""
    return {"$defs": {"one": schema}, "$ref": "#/$defs/one"}


ITSELF = {"$ref": "#/$defs/one"}

VARIED: dict[str, Any] = {
    "array of one constant": listed({"const": 1}),
    "array of one text": listed({"const": "a"}),
    "array of null": listed(NULL),
    "array of bool": listed(BOOL),
    "array of enum": listed({"enum": ["a", "b", "c"]}),
    "array of empty objects": listed(closed()),
    "array of empty arrays": listed(listed({}, maxItems=0)),
    "nonempty array of const": listed({"const": 1}, minItems=1),
    "array of const, many": listed({"const": 1}, maxItems=1000),
    "array of arrays of const": listed(listed({"const": 0})),
    "array of unique ints": listed(WHOLE, uniqueItems=True),
    "array, contains": {"type": "array", "contains": {"const": 5}},
    "prefix and rest of const": {
        "type": "array",
        "prefixItems": [{"const": "a"}],
        "items": {"const": 1},
        "minItems": 1,
    },
    "tuple": {"type": "array", "prefixItems": [BOOL, TEXT], "items": False, "minItems": 2},
    "tuple of one": {"type": "array", "prefixItems": [WHOLE], "items": False, "minItems": 1},
    "optional text": either(TEXT, NULL),
    "optional integer": either(WHOLE, NULL),
    "optional number": {"type": ["number", "null"]},
    "optional int bounded": either({"type": "integer", "minimum": 0, "maximum": 1000}, NULL),
    "optional pattern": either({"type": "string", "pattern": "^[a-z]+$"}, NULL),
    "optional array": either(listed(WHOLE), NULL),
    "optional object": either(closed(a=WHOLE), NULL),
    "constant or text pattern": either({"const": "x"}, {"type": "string", "pattern": "^[A-Z]{2}-\\d{4}$"}),
    "constant or text": either({"const": "x"}, TEXT),
    "enum or pattern": either({"enum": ["a", "b", "c"]}, {"type": "string", "pattern": "^\\d+$"}),
    "constant or integer": either({"const": 7}, WHOLE),
    "constant or large": either({"const": -1}, {"type": "integer", "minimum": 100}),
    "constants of number or text": either({"enum": [1, 2]}, TEXT),
    "bool or integer": either(BOOL, WHOLE),
    "bool or text": {"type": ["boolean", "string"]},
    "null bool or text": {"type": ["null", "boolean", "string"]},
    "null or bool or int": {"type": ["null", "boolean", "integer"]},
    "constant object or text": either(closed(kind={"const": "x"}), TEXT),
    "constant object or other": either(closed(kind={"const": "x"}), closed(kind={"const": "y"}, n=WHOLE)),
    "empty array or integer": either(listed({}, maxItems=0), WHOLE),
    "empty object or object": either(closed(), closed(a=TEXT)),
    "array of opt": listed(either(TEXT, NULL)),
    "object with one opt": closed(a=either(TEXT, NULL)),
    "object with opt absent": closed([], a=TEXT),
    "object with opt absent int": closed([], a=WHOLE),
    "object bool and text": closed(a=BOOL, b=TEXT),
    "object const and int": closed(a={"const": 1}, b=WHOLE),
    "map to const": {"type": "object", "additionalProperties": {"const": 1}},
    "map to null": {"type": "object", "additionalProperties": NULL},
    "map to text": {"type": "object", "additionalProperties": TEXT},
    "map patterned": {"type": "object", "patternProperties": {"^x-": WHOLE}, "additionalProperties": False},
    "map patterned const": {
        "type": "object",
        "patternProperties": {"^[a-z]+$": {"const": 0}},
        "additionalProperties": False,
    },
    "map names enum": {"type": "object", "propertyNames": {"enum": ["a", "b", "c"]}, "additionalProperties": WHOLE},
    "map at most one": {"type": "object", "additionalProperties": WHOLE, "maxProperties": 1},
    "linked list int": itself(closed(v=WHOLE, next=either(ITSELF, NULL))),
    "linked list of constants": itself(closed(v={"const": 1}, next=either(ITSELF, NULL))),
    "linked list of constants, open at its end": itself(closed(["v"], v={"const": 1}, next=ITSELF)),
    "linked list of nothing": itself(closed([], next=ITSELF)),
    "linked list of bools": itself(closed(v=BOOL, next=either(ITSELF, NULL))),
    "linked pairs": itself(
        {"type": "array", "prefixItems": [{"const": 1}, either(ITSELF, NULL)], "items": False, "minItems": 2}
    ),
    "list in a list": itself(listed(ITSELF, maxItems=1)),
    "successors of zero": itself(either({"const": 0}, closed(s=ITSELF))),
    "optional member, text or null": closed([], a=either(TEXT, NULL)),
    "optional member, integer or null": closed([], a=either(WHOLE, NULL)),
    "optional member, list or null": closed([], a=either(listed(WHOLE), NULL)),
    "optional member, list of constants or null": closed([], a=either(listed({"const": 1}), NULL)),
    "optional member, map or null": closed(
        [], a=either({"type": "object", "additionalProperties": {"const": 1}}, NULL)
    ),
    "optional member, bools or null": closed([], a=either(listed(BOOL), NULL)),
    "optional member beside a constant": closed(["k"], k={"const": "x"}, a=either(TEXT, NULL)),
    "optional object of an optional member": either(closed([], a=either(TEXT, NULL)), NULL),
    "tree": itself(closed(kids=listed(ITSELF))),
    "binary tree": itself(either({"const": 0}, closed(l=ITSELF, r=ITSELF))),
    "expression": itself(either(WHOLE, closed(op={"enum": ["+", "-"]}, l=ITSELF, r=ITSELF))),
    "nested array": itself(listed(ITSELF)),
    "one letter": {"type": "string", "pattern": "^a*$"},
    "a or bs": {"type": "string", "pattern": "^(a|b+)$"},
    "word or number": {"type": "string", "pattern": "^(yes|no|\\d{3,})$"},
    "optional suffix": {"type": "string", "pattern": "^v1(-[a-z]+)?$"},
    "optional fraction": {"type": "string", "pattern": "^\\d+(\\.\\d+)?$"},
    "two digits": {"type": "string", "pattern": "^\\d{2}$"},
    "text at most 2": {"type": "string", "maxLength": 2},
    "text of one": {"type": "string", "minLength": 1, "maxLength": 1},
    "text at least 200": {"type": "string", "minLength": 200},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "date-time": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "email": {"type": "string", "format": "email"},
    "uri": {"type": "string", "format": "uri"},
    "ipv4": {"type": "string", "format": "ipv4"},
    "ipv6": {"type": "string", "format": "ipv6"},
    "hostname": {"type": "string", "format": "hostname"},
    "duration": {"type": "string", "format": "duration"},
    "json-pointer": {"type": "string", "format": "json-pointer"},
    "regex": {"type": "string", "format": "regex"},
    "uri-reference": {"type": "string", "format": "uri-reference"},
    "date or empty": either({"type": "string", "format": "date"}, {"const": ""}),
    "integer": WHOLE,
    "number": NUMBER,
    "positive": {"type": "integer", "exclusiveMinimum": 0},
    "hundred": {"type": "integer", "minimum": 1, "maximum": 100},
    "multiple of 5": {"type": "integer", "multipleOf": 5},
    "multiple of cent": {"type": "number", "multipleOf": 0.01},
    "large multiple": {"type": "integer", "multipleOf": 1000000},
    "not zero": {"type": "integer", "not": {"const": 0}},
    "not a text": {"not": TEXT},
    "not an object": {"not": {"type": "object"}},
    "from far": {"type": "integer", "minimum": 10**20},
    "two ranges": either({"type": "integer", "maximum": -1000}, {"type": "integer", "minimum": 1000}),
    "range or point": either({"type": "number", "minimum": 0, "maximum": 1}, {"const": -1}),
    "multipleOf or null": either({"type": "number", "multipleOf": 0.5}, NULL),
    "one of multiples": {"type": "integer", "oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]},
    "if then": {
        "type": "object",
        "properties": {"c": {"enum": ["a", "b"]}, "v": {}},
        "required": ["c", "v"],
        "additionalProperties": False,
        "if": {"properties": {"c": {"const": "a"}}},
        "then": {"properties": {"v": WHOLE}},
        "else": {"properties": {"v": {"const": 0}}},
    },
    "tagged": {"oneOf": [closed(t={"const": "none"}), closed(t={"const": "some"}, v=TEXT)]},
    "tagged three": {"oneOf": [closed(t={"const": "a"}), closed(t={"const": "b"}), closed(t={"const": "c"}, v=WHOLE)]},
    "scalars": {"type": ["string", "number", "boolean", "null"]},
    "pair of opts": closed(a=either(WHOLE, NULL), b=either(TEXT, NULL)),
    "array of pairs": listed({"type": "array", "prefixItems": [BOOL, BOOL], "items": False, "minItems": 2}),
    "array of at most 3 bools or more": listed(BOOL, minItems=5, maxItems=8),
    "an open object with one member": {"type": "object", "properties": {"a": {"type": "integer"}}},
    "an open object": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    "any object": {"type": "object"},
    "a map": {"type": "object", "additionalProperties": {"type": "boolean"}},
    "anything": {},
    "a list": {"type": "array", "items": {"type": "integer"}},
    "a text": {"type": "string"},
    "a portion": {"type": "number", "minimum": 0, "maximum": 1},
    "a small portion": {"type": "number", "minimum": 1e-09, "maximum": 4.294967295},
    "a range": {"type": "integer", "minimum": 1, "maximum": 1000},
    "below zero": {"type": "integer", "exclusiveMaximum": 0},
    "what a double holds": {"type": "number", "minimum": -1.7976931348623157e308, "maximum": 1.7976931348623157e308},
    "above the smallest double": {"type": "number", "exclusiveMinimum": 5e-324, "maximum": 1},
    "no whole number": {"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.3},
    "a text that begins so": {"type": "string", "pattern": "^postgresql://[a-z]*"},
    "nested": {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}}},
    "one letter over and over": {"type": "string", "pattern": "^a+$"},
    "two letters over and over": {"type": "string", "pattern": "^(ab)*$"},
}


def drawn(schema: Any, n: int = 1000) -> list[Any]:
    """Draw values from seeded choices."""
    instances, r = Instances(schema, {}), random.Random(5)
    return [instances.value([r.randbytes(12) for _ in range(r.randrange(40))]) for _ in range(n)]


#: Twenty draws, and nothing of how long they take.
TWENTY = settings(
    max_examples=20, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def written(schema: Any, seed: int) -> list[str]:
    """Return 20 values that Hypothesis draws, as text."""
    texts: list[str] = []

    @hypothesis.seed(seed)
    @settings(TWENTY)
    @given(values(schema))
    def draw(value: Any) -> None:
        texts.append(json.dumps(value, sort_keys=True))

    draw()
    return texts


@pytest.mark.parametrize("name", VARIED)
def test_of_twenty_values_fifteen_differ(name: str) -> None:
    distinct = sorted(len(set(written(VARIED[name], seed))) for seed in range(5))
    assert distinct[2] >= 15, distinct


def test_members_that_are_not_declared_come_often_and_of_every_type() -> None:
    found = [json.loads(text) for seed in range(20) for text in written(VARIED["an open object"], seed)]
    more = [value for one in found for key, value in one.items() if key != "a"]
    assert len([one for one in found if len(one) > 1]) >= 0.4 * len(found)
    assert {type(value) for value in more} == {type(None), bool, int, float, str, list, dict}


def test_of_twenty_values_of_real_schemas_fifteen_differ(data: Path) -> None:
    r = random.Random(17)
    with gzip.open(data / "maskbench.jsonl.gz") as lines:
        cases = [json.loads(line) for line in r.sample(lines.readlines(), 60)]
    few = many = 0
    for number, case in enumerate(cases):
        if len(set(written(case["schema"], number))) >= 15:
            many += 1
        else:  # some have only few values at all
            few += len({json.dumps(value, sort_keys=True) for value in drawn(case["schema"], 300)}) >= 60
    assert few <= 4, (few, many)
