"""Near misses: each breaks one keyword and nothing else, and every keyword has some."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import Phase, find, given, settings
from pydantic import BaseModel, Field, ValidationError

from guard.errors import Finding, SchemaError
from guard.testing import NearMiss, near_misses
from guard.testing.strategies import near_misses as misses
from guard.testing.strategies.near_misses import KEYWORDS, Misses

#: For each keyword a schema in which it can be broken alone: the place of the keyword, and where it is broken.
BROKEN: dict[str, tuple[Any, str, str]] = {
    "type": ({"type": "string"}, "/type", ""),
    "const": ({"properties": {"a": {"const": 3}}, "type": "object"}, "/properties/a/const", "/a"),
    "enum": ({"enum": ["x", None]}, "/enum", ""),
    "minimum": ({"type": "integer", "minimum": 3}, "/minimum", ""),
    "maximum": ({"items": {"type": "integer", "maximum": 3}, "type": "array"}, "/items/maximum", "/0"),
    "exclusiveMinimum": ({"type": "number", "exclusiveMinimum": 0}, "/exclusiveMinimum", ""),
    "exclusiveMaximum": ({"type": "number", "exclusiveMaximum": 0}, "/exclusiveMaximum", ""),
    "multipleOf": ({"type": "integer", "multipleOf": 5}, "/multipleOf", ""),
    "minLength": ({"type": "string", "minLength": 2}, "/minLength", ""),
    "maxLength": ({"type": "string", "maxLength": 2}, "/maxLength", ""),
    "pattern": ({"type": "string", "pattern": "^a+$"}, "/pattern", ""),
    "format": ({"type": "string", "format": "ipv4"}, "/format", ""),
    "required": ({"type": "object", "required": ["a", "b"]}, "/required", ""),
    "minProperties": ({"type": "object", "minProperties": 1}, "/minProperties", ""),
    "maxProperties": ({"type": "object", "maxProperties": 1}, "/maxProperties", ""),
    "additionalProperties": (
        {"type": "object", "properties": {"a": {}}, "additionalProperties": False},
        "/additionalProperties",
        "",
    ),
    "propertyNames": ({"type": "object", "propertyNames": {"maxLength": 1}}, "/propertyNames", ""),
    "unevaluatedProperties": (
        {"type": "object", "allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False},
        "/unevaluatedProperties",
        "",
    ),
    "dependentRequired": ({"type": "object", "dependentRequired": {"a": ["b"]}}, "/dependentRequired", ""),
    "items": ({"type": "array", "prefixItems": [{"type": "null"}], "items": False}, "/items", "/1"),
    "minItems": ({"type": "array", "minItems": 1}, "/minItems", ""),
    "maxItems": ({"type": "array", "maxItems": 1}, "/maxItems", ""),
    "uniqueItems": ({"type": "array", "uniqueItems": True}, "/uniqueItems", ""),
    "unevaluatedItems": ({"type": "array", "prefixItems": [{}], "unevaluatedItems": False}, "/unevaluatedItems", ""),
    "contains": ({"type": "array", "contains": {"type": "null"}}, "/contains", ""),
    "minContains": ({"type": "array", "contains": {"type": "null"}, "minContains": 2}, "/minContains", ""),
    "maxContains": ({"type": "array", "contains": {"type": "null"}, "maxContains": 2}, "/maxContains", ""),
    "anyOf": ({"anyOf": [{"type": "null"}, {"minimum": 3}]}, "/anyOf", ""),
    "oneOf": ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, "/oneOf", ""),
    "not": ({"type": "string", "not": {"maxLength": 2}}, "/not", ""),
}
#: Of earlier drafts.
OLD: dict[str, tuple[Any, str]] = {
    "dependencies": ({"type": "object", "dependencies": {"a": ["b"]}}, "draft7"),
    "additionalItems": ({"type": "array", "items": [{"type": "null"}], "additionalItems": False}, "draft7"),
    "exclusiveMaximum": ({"type": "integer", "maximum": 5, "exclusiveMaximum": True}, "draft4"),
}


def without(schema: Any, rule: str) -> Any:
    """Return a schema without the keyword that a pointer leads to; plain keys alone."""
    copy = json.loads(json.dumps(schema))
    *path, keyword = rule.split("/")[1:]
    parent = copy
    for step in path:
        parent = parent[int(step)] if isinstance(parent, list) else parent[step]
    del parent[keyword]
    return copy


def check(schema: Any, miss: NearMiss) -> None:
    """Hold a near miss against two validators, with the schema and without the keyword."""
    for validator in (
        lambda s: jsonschema_rs.Draft202012Validator(s, validate_formats=True),
        lambda s: jsonschema.Draft202012Validator(s, format_checker=jsonschema.FormatChecker()),
    ):
        assert not validator(schema).is_valid(miss.value)
        assert validator(without(schema, miss.rule)).is_valid(miss.value)


def test_every_keyword_has_near_misses() -> None:
    assert set(BROKEN) | set(OLD) == set(KEYWORDS)


@pytest.mark.parametrize("keyword", BROKEN)
def test_a_near_miss_breaks_its_keyword_and_nothing_else(keyword: str) -> None:
    schema, rule, at = BROKEN[keyword]

    found: set[tuple[str, str]] = set()

    @settings(max_examples=100, phases=[Phase.generate])
    @given(near_misses(schema))
    def holds(miss: NearMiss) -> None:
        check(schema, miss)
        assert miss.rule.endswith("/" + miss.keyword)
        found.add((miss.rule, miss.at))

    holds()
    assert (rule, at) in found


@pytest.mark.parametrize("keyword", OLD)
def test_keywords_of_earlier_drafts_have_near_misses(keyword: str) -> None:
    schema, draft = OLD[keyword]
    misses = Misses(schema, {"draft": draft})
    at = next(n for n, (_, word, _) in enumerate(misses.places) if word == keyword)
    assert misses.draw(at, [b"\x80" * 8] * 4).keyword == keyword


@settings(max_examples=30)
@given(
    near_misses(
        {
            "$ref": "#/$defs/tree",
            "$defs": {
                "tree": {
                    "type": "object",
                    "properties": {
                        "n": {"type": "integer", "minimum": 0},
                        "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2},
                    },
                    "required": ["n"],
                    "additionalProperties": False,
                }
            },
        }
    )
)
def test_a_near_miss_in_a_recursive_schema_names_one_keyword_wherever_it_is_broken(miss: NearMiss) -> None:
    assert miss.rule.startswith("/$defs/tree/")


def test_near_misses_shrink_to_the_smallest() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 9}, "b": {}}, "required": ["a"]}
    miss = find(near_misses(schema), lambda m: m.keyword == "maximum", settings=settings(database=None))
    assert miss == NearMiss({"a": 10}, "maximum", "/a", "/properties/a/maximum")


def test_what_is_refused_by_two_keywords_is_no_near_miss() -> None:
    misses = Misses({"type": "integer", "minimum": 3, "enum": [3, 4]}, {})
    assert {miss.keyword for at in range(len(misses.places)) if (miss := misses.draw(at, []))} == {"enum"}


def test_a_schema_that_takes_everything_has_none() -> None:
    with pytest.raises(ValueError, match="has no near miss"):
        near_misses({"title": "anything"})


class Person(BaseModel):
    """A person."""

    name: str = Field(min_length=1)
    age: int = Field(ge=0, le=130)


@settings(max_examples=40)
@given(near_misses(Person))
def test_a_near_miss_of_a_type_is_refused_by_it(miss: NearMiss) -> None:
    with pytest.raises(ValidationError):
        Person.model_validate_json(json.dumps(miss.value))


def test_near_misses_of_real_schemas(data: Path) -> None:
    r = random.Random(17)
    with gzip.open(data / "maskbench.jsonl.gz") as lines:
        cases = [json.loads(line) for line in r.sample(lines.readlines(), 25)]
    places = found = 0
    for case in cases:
        misses = Misses(case["schema"], {})
        for at in r.sample(range(len(misses.places)), min(2, len(misses.places))):
            places += 1
            found += misses.place(at) is not None
    assert found > 0.8 * places


def test_a_place_on_which_the_engine_runs_out_of_time_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    class Slow:
        def __init__(self, engine: Any) -> None:
            del engine

        def sample(self, choices: list[bytes]) -> None:
            tried.append(choices)
            raise SchemaError(Finding("", None, "a search took too long"), limit="seconds")

    monkeypatch.setattr(misses, "Sampler", Slow)
    assert misses.Misses({"type": "integer"}, {}).first is None
    assert len(tried) == 1
