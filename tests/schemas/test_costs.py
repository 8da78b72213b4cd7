"""The bound of what judging costs: above what a plain validator counts, and near enough to let real schemas through."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard.output.checking import NEAR_MAKING, NEAR_STEPS

DATA = Path(__file__).parents[3] / "shared" / "data" / "maskbench.jsonl.gz"
NAMES = ("a", "b", "c")


class Counter:
    """A validator that knows nothing of sharing: it counts the schemas that it looks at, and tries every branch."""

    def __init__(self, root: Any) -> None:
        self.root, self.steps = root, 0

    def visit(self, schema: Any, value: Any) -> None:
        self.steps += 1
        if isinstance(schema, bool):
            return
        if "$ref" in schema:
            self.visit(self.root["$defs"][schema["$ref"].rpartition("/")[2]], value)
        for word in ("allOf", "anyOf", "oneOf"):
            for part in schema.get(word, ()):
                self.visit(part, value)
        for word in ("not", "if", "then", "else"):
            if word in schema:
                self.visit(schema[word], value)
        if isinstance(value, dict):
            for key, part in value.items():
                if key in schema.get("properties", {}):
                    self.visit(schema["properties"][key], part)
                elif "additionalProperties" in schema:
                    self.visit(schema["additionalProperties"], part)
        if isinstance(value, list):
            for part in value:
                for word in ("items", "contains"):
                    if word in schema:
                        self.visit(schema[word], part)


def drawn(r: Random, depth: int) -> Any:
    """Draw a schema whose references lead anywhere below a value, and forward in place."""
    if depth == 0 or r.random() < 0.1:
        return r.choice([True, {"type": "integer"}, {"minimum": 2}])
    schema: dict[str, Any] = {}
    for _ in range(r.randint(1, 3)):
        word = r.choice(["allOf", "anyOf", "oneOf", "not", "properties", "additionalProperties", "items", "contains"])
        if word in ("allOf", "anyOf", "oneOf"):
            schema[word] = [drawn(r, depth - 1) for _ in range(r.randint(1, 3))]
        elif word == "properties":
            schema[word] = {name: below(r, depth - 1) for name in r.sample(NAMES, r.randint(1, 3))}
        elif word == "not":
            schema[word] = drawn(r, depth - 1)
        else:
            schema[word] = below(r, depth - 1)
    return schema


def below(r: Random, depth: int) -> Any:
    return {"$ref": f"#/$defs/d{r.randrange(3)}"} if r.random() < 0.5 else drawn(r, depth)


def value(r: Random, depth: int) -> Any:
    if depth == 0 or r.random() < 0.3:
        return r.choice([1, 3, "x", None])
    if r.random() < 0.5:
        return [value(r, depth - 1) for _ in range(r.randint(0, 3))]
    return {name: value(r, depth - 1) for name in r.sample(NAMES, r.randint(0, 3))}


@given(st.integers(0, 2**32))
def test_no_validator_looks_at_more_than_the_bound(seed: int) -> None:
    r = Random(seed)
    schema = {"$defs": {f"d{at}": drawn(r, 2) for at in range(3)}, "allOf": [drawn(r, 3)]}
    counter, text = Counter(schema), value(r, 5)
    counter.visit(schema, text)
    bound = guard.compile(schema, inexact="residual").costs.steps(json.dumps(text))
    assert counter.steps <= bound


@pytest.mark.parametrize("word", ["anyOf", "allOf", "oneOf"])
def test_references_that_double_are_counted_as_often_as_they_are_followed(word: str) -> None:
    levels = {f"d{at}": {word: [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(40)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**levels, "d40": {"type": "integer"}}}
    assert guard.compile(schema).costs.steps("1") > 2**40


def test_what_doubles_at_each_level_of_the_value_is_counted_by_the_levels() -> None:
    items = {"items": {"$ref": "#/$defs/n"}}
    schema = {"$ref": "#/$defs/n", "$defs": {"n": {"allOf": [items, {**items, "maxItems": 9}]}}}
    costs = guard.compile(schema).costs
    assert costs.steps("[[]]") < 1_000
    assert costs.steps("[" * 40 + "]" * 40) > 2**40
    assert costs.steps("[" * 1000 + "]" * 1000) == math.inf


def test_a_schema_that_calls_itself_once_costs_the_same_at_any_depth() -> None:
    schema = {
        "$ref": "#/$defs/n",
        "$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}, "v": {"type": "null"}}}},
    }
    costs = guard.compile(schema).costs
    assert costs.rate(1000) == costs.rate(1) < 20


@pytest.mark.parametrize(
    ("pattern", "is_bounded"),
    [("^[a-z]+$", True), ("^(a+)+$", True), ("(?=a)(a+)+$", False), (r"^(a*)*\1$", False), ("(?<!a)b", False)],
)
def test_a_pattern_that_must_be_tried_way_after_way_has_no_bound(pattern: str, is_bounded: bool) -> None:
    costs = guard.compile({"pattern": pattern}, inexact="residual").costs
    assert (costs.steps('"ab"') < NEAR_STEPS) is is_bounded


def test_a_pattern_costs_as_many_states_as_its_counts_say() -> None:
    short, long = ({"pattern": f"^[ab]*a[ab]{{{count}}}$"} for count in (3, 3000))
    assert guard.compile(long).costs.rate(0) > 100 * guard.compile(short).costs.rate(0)


def test_nearly_all_real_schemas_are_judged_near() -> None:
    with gzip.open(DATA) as lines:
        rows = [json.loads(line) for line in list(lines)[::25]]
    found = []
    for row in rows:
        try:
            costs = guard.compile(row["schema"], inexact="residual").costs
        except guard.SchemaError:
            continue
        found += [costs.steps(json.dumps(case["data"])) <= NEAR_STEPS for case in row["tests"][:2]]
    assert len(found) > 200
    assert sum(found) / len(found) > 0.97


@pytest.mark.parametrize(("height", "is_near"), [(1, True), (8, True), (22, False), (200, False)])
def test_ways_from_an_unevaluated_keyword_are_counted(height: int, is_near: bool) -> None:
    """The validator takes each of them as it is made: 2^22 took eight seconds, and nobody else had the GIL."""
    table: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(height)}
    table[f"d{height}"] = {"properties": {"b": {"type": "integer"}}}
    schema = {"$ref": "#/$defs/d0", "$defs": table, "type": "object", "unevaluatedProperties": False}
    costs = guard.compile(schema).costs
    assert (costs.building <= NEAR_MAKING) == is_near
    assert costs.building >= 2.0 ** min(height, 40)
