"""Valid instances: what the strategies draw is valid, reaches the boundaries, and shrinks to the smallest."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import referees
import strategies
import suite
from hypothesis import find, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

import guard
from guard.errors import SchemaError
from guard.output import target
from guard.testing import values
from guard.testing.json_validators import Judges
from guard.testing.scripted_replies import telling
from guard.testing.search import drawn as searched
from guard.testing.strategies.values import Instances

BYTES = guard.Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])

SCHEMAS: dict[str, Any] = {
    "anything": {},
    "not": {"not": {"type": ["string", "object"]}},
    "one of": {"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}], "type": "integer"},
    "recursion": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "kids": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["name"],
        "additionalProperties": False,
    },
    "a leaf or more": {
        "oneOf": [
            {"properties": {"kind": {"const": "leaf"}, "n": {"type": "integer"}}, "required": ["kind", "n"]},
            {"properties": {"kind": {"const": "node"}, "of": {"$ref": "#"}}, "required": ["kind", "of"]},
        ],
        "type": "object",
    },
    "formats": {
        "type": "object",
        "properties": {name: {"type": "string", "format": name} for name in ("date", "ipv4", "uuid", "email", "uri")},
    },
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-\\d{4,8}$"},
    "pattern of a length": {"type": "string", "pattern": "^(ab)*$", "minLength": 3, "maxLength": 9},
    "items that differ": {"type": "array", "uniqueItems": True, "items": {"enum": [1, 1.5, "a", [1], {"x": 1}]}},
    "contains": {"type": "array", "contains": {"minimum": 5}, "minContains": 2, "maxContains": 3},
    "unevaluated": {
        "type": "object",
        "anyOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"b": True}}],
        "unevaluatedProperties": False,
    },
    "if": {
        "type": "object",
        "properties": {"country": {"enum": ["US", "NL"]}, "zip": {"type": "string"}},
        "required": ["country"],
        "if": {"properties": {"country": {"const": "US"}}},
        "then": {"required": ["zip"], "properties": {"zip": {"pattern": "^[0-9]{5}$"}}},
        "else": {"not": {"required": ["zip"]}},
    },
    "dependent": {
        "type": "object",
        "properties": {"a": {}, "b": {}},
        "dependentRequired": {"a": ["b"]},
        "minProperties": 1,
    },
    "keys": {"type": "object", "patternProperties": {"^x-": {"type": "integer"}}, "propertyNames": {"maxLength": 4}},
    "decimals": {"type": "number", "multipleOf": 0.01, "minimum": -1, "exclusiveMaximum": 5},
    "an item that is not so": {"type": "array", "items": {"type": "object"}, "not": {"items": {"maxProperties": 0}}},
}


@st.composite
def choices(draw: st.DrawFn) -> list[bytes]:
    """Draw choices without looking at a schema."""
    return draw(st.lists(st.binary(max_size=12), max_size=16))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_value_validates_under_both_validators(name: str) -> None:
    schema = SCHEMAS[name]
    judges = Judges(schema, "draft2020-12", {})

    @given(values(schema))
    @settings(max_examples=30)
    def check(value: Any) -> None:
        assert judges.verdict(value) is True

    check()


@settings(max_examples=60)
@given(case=strategies.cases(), units=choices())
def test_no_value_of_any_schema_is_called_invalid_by_three_referees(case: strategies.Case, units: list[bytes]) -> None:
    try:
        text = Instances(case.schema, {}).text(units)
    except (SchemaError, ValueError):  # no instance, or a limit
        return
    assert referees.Referees(case.schema).verdict(text) is not False


@given(name=st.sampled_from(sorted(SCHEMAS)), units=choices())
def test_masks_let_every_text_through(name: str, units: list[bytes]) -> None:
    instances = Instances(SCHEMAS[name], {})
    matcher = instances.compiled.matcher(BYTES)
    assert all(matcher.accept(byte) for byte in instances.text(units).encode())
    assert matcher.can_stop()


@given(name=st.sampled_from(sorted(SCHEMAS)), units=choices())
def test_a_value_hangs_on_its_choices_alone(name: str, units: list[bytes]) -> None:
    used = Instances(SCHEMAS[name], {})
    for _ in range(3):
        used.text([b"\xff\x80\x40"] * 9)
    assert used.text(units) == Instances(SCHEMAS[name], {}).text(units)


SIMPLEST = {
    "anything": 0,
    "not": 0,
    "recursion": {"name": ""},
    "a leaf or more": {"kind": "leaf", "n": 0},
    "formats": {},
    "pattern": "AA-0000",
    "pattern of a length": "abab",
    "items that differ": [],
    "contains": [5, 5],
    "if": {"country": "NL"},
    "decimals": 0,
    "an item that is not so": [{"": 0}],
}


@pytest.mark.parametrize("name", SIMPLEST)
def test_no_choices_are_the_simplest_value(name: str) -> None:
    assert Instances(SCHEMAS[name], {}).value([]) == SIMPLEST[name]


# ---- shrinking -------------------------------------------------------------------------------------------------------

ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "note": {"type": "string", "maxLength": 20},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        },
        "paid": {"type": "boolean"},
    },
    "required": ["id"],
    "additionalProperties": False,
}
SHRUNK: dict[str, tuple[Any, Callable[[Any], bool], Any]] = {
    "a number": (ORDER, lambda v: v["id"] > 40, {"id": 41}),
    "a member": (ORDER, lambda v: "paid" in v, {"id": 1, "paid": False}),
    "a text": (ORDER, lambda v: len(v.get("note", "")) > 3, {"id": 1, "note": "aaaa"}),
    "an item": (ORDER, lambda v: len(v.get("lines", [])) > 1, {"id": 1, "lines": [{"n": 0}, {"n": 0}]}),
    "an item behind another": (
        ORDER,
        lambda v: any(x["n"] > 7 for x in v.get("lines", [])),
        {"id": 1, "lines": [{"n": 8}]},
    ),
    "a list": ({}, lambda v: isinstance(v, list) and len(v) > 2, [None, None, None]),
    "nesting": ({}, lambda v: isinstance(v, dict) and any(isinstance(x, list) for x in v.values()), {"": []}),
}


@pytest.mark.usefixtures("no_constants_of_modules")
@pytest.mark.parametrize("name", SHRUNK)
def test_values_shrink_to_the_smallest(name: str) -> None:
    """Of 122 searches none ended beside the smallest; where Hypothesis begins is its own."""
    schema, condition, smallest = SHRUNK[name]
    quiet = settings(max_examples=1000, database=None)
    found = [find(values(schema), condition, settings=quiet, random=random.Random(seed)) for seed in range(5)]
    assert found.count(smallest) >= 4, found


# ---- boundaries ------------------------------------------------------------------------------------------------------


def drawn(schema: Any, n: int = 1000) -> list[Any]:
    """Draw values from seeded choices."""
    instances, r = Instances(schema, {}), random.Random(5)
    return [instances.value([r.randbytes(12) for _ in range(r.randrange(40))]) for _ in range(n)]


def test_both_ends_of_a_range_come() -> None:
    assert {-7, 0, 1234} <= set(drawn({"type": "integer", "minimum": -7, "maximum": 1234}))


def test_the_numbers_beside_an_open_end_come() -> None:
    found = drawn({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10, "multipleOf": 0.5})
    assert {0.5, 9.5} <= set(found)


def test_every_length_that_is_allowed_comes() -> None:
    assert {len(value) for value in drawn({"type": "string", "minLength": 2, "maxLength": 6})} == {2, 3, 4, 5, 6}


def test_texts_of_the_greatest_length_come_also_where_it_is_large() -> None:
    assert 255 in {len(value) for value in drawn({"type": "string", "maxLength": 255})}


def test_characters_of_every_kind_come() -> None:
    found = set("".join(drawn({"type": "string"})))
    planes = {ord(c) >> 16 for c in found}
    assert {0, 1, 2, 16} <= planes
    assert {"\0", "\n", '"', "\\", "\u202e", "\u2028", "é", "\uffff", "😀"} <= found


def test_optional_keys_come_in_every_subset() -> None:
    schema = {"type": "object", "properties": {key: {"type": "null"} for key in "abcd"}, "additionalProperties": False}
    assert len({frozenset(value) for value in drawn(schema)}) == 16


def test_every_number_of_items_comes() -> None:
    assert {
        len(value) for value in drawn({"type": "array", "items": {"type": "null"}, "minItems": 1, "maxItems": 5})
    } == {1, 2, 3, 4, 5}


def test_nesting_is_deep_at_times() -> None:
    def depth(value: Any) -> int:
        return 1 + max(map(depth, value["kids"]), default=0) if value.get("kids") else 1

    assert max(map(depth, drawn(SCHEMAS["recursion"]))) >= 8


def test_every_branch_and_every_type_comes() -> None:
    found = drawn({"oneOf": [{"type": ["null", "boolean"]}, {"enum": ["x", 1.5, [2], {"y": 3}]}]})
    assert {json.dumps(value) for value in found} == {"null", "true", "false", '"x"', "1.5", "[2]", '{"y": 3}'}


# ---- what is asked for -----------------------------------------------------------------------------------------------


class Person(BaseModel):
    """A person."""

    name: str = Field(min_length=1)
    age: int = Field(ge=0, le=130)


@given(values(Person))
def test_values_of_a_type_are_read_by_it(value: Any) -> None:
    assert Person.model_validate(value).model_dump() == value


@given(
    values(
        {"$ref": "item"},
        documents={"item": {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "integer"}},
    )
)
def test_documents_are_those_of_compile(value: Any) -> None:
    assert isinstance(value, int)


def test_a_schema_without_instances_is_said_to_be_one() -> None:
    with pytest.raises(ValueError, match="has no instance"):
        values({"type": "string", "minLength": 3, "maxLength": 2})


def test_a_schema_that_is_refused_says_why() -> None:
    with pytest.raises(SchemaError, match="pattern"):
        values({"pattern": "("})


# ---- real schemas ----------------------------------------------------------------------------------------------------


def test_values_of_real_schemas_validate(data: Path) -> None:
    r = random.Random(11)
    with gzip.open(data / "maskbench.jsonl.gz") as lines:
        cases = [json.loads(line) for line in r.sample(lines.readlines(), 40)]
    for case in cases:
        instances = Instances(case["schema"], {})
        judges = Judges(case["schema"], instances.compiled.draft, {})
        for n in range(5):
            value = instances.value([r.randbytes(8) for _ in range(4 * n)])
            assert judges.verdict(value) is not False, (case["id"], value)


def test_values_of_the_official_suite_validate(data: Path) -> None:
    r = random.Random(13)
    documents = suite.remotes("draft2020-12")
    judged = 0
    for group in suite.groups("draft2020-12"):
        schema = json.loads(json.dumps(group.schema, default=float))
        try:
            instances = Instances(schema, {"documents": documents})
        except (SchemaError, ValueError):
            continue
        judges = Judges(schema, "draft2020-12", {"documents": documents})
        for n in range(3):
            value = instances.value([r.randbytes(8) for _ in range(4 * n)])
            verdict = judges.verdict(value)
            assert verdict is not False, (group.name, value)
            judged += bool(verdict)
    assert judged > 800


@pytest.mark.parametrize("name", ["date-time", "time"])
def test_times_with_fractions_of_seconds_and_with_offsets_come_often(name: str) -> None:
    found = searched(values({"type": "string", "format": name}), 200, 0)
    assert sum("." in text for text in found) > 10
    assert sum(text[-1] not in "zZ" for text in found) > 20


def test_a_search_tells_what_is_done_to_large_numbers_and_to_times() -> None:
    schema = {"properties": {"n": {"type": "integer"}, "at": {"type": "string", "format": "date-time"}}}
    told = telling({"n": 1, "at": "2026-03-01T00:00:00Z"}, target.from_any(schema, {}))
    assert {2**64 + 1, -(2**64) - 1} <= {value["n"] for value in told}
    assert "2026-03-01T12:30:45.123456+05:30" in {value["at"] for value in told}
