"""Exploration: what decoding may ask for is expanded ahead of need, and a limit is met there, with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from properties import check_masks
from strategies import Case, byte_vocabulary, cases

import guard
from guard.schemas.exploration import MOST_STATES


def test_an_exploration_counts_what_it_expanded() -> None:
    """Goals, shapes and languages of a small schema, each once."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "maxLength": 3}, "b": {"items": {"type": "integer"}, "type": "array"}},
        "additionalProperties": False,
    }
    found = guard.compile(schema).explore()
    assert (found.complete, found.limits, found.advice, found.waiting) == (True, (), (), 0)
    assert (found.goals, found.objects, found.arrays) == (4, 1, 1)
    assert found.seconds < 5


@given(cases())
def test_what_was_explored_in_full_meets_no_limit_in_decoding(case: Case) -> None:
    """A random schema: its random texts under the masks need no more than was expanded."""
    compiled = case.compile()
    if compiled.explore(2.0).complete:
        check_masks(case, byte_vocabulary(), steps=8)


def test_a_limit_is_met_where_it_lies_and_named() -> None:
    """Of one property among others; the rest is expanded all the same."""
    many = {"enum": [[n, n] for n in range(40)]}
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "deep": {"properties": {"x": many}}}}
    found = guard.compile(schema, limits=guard.Limits(alternatives=5)).explore()
    assert not found.complete
    assert [(f.pointer, f.keyword) for f in found.limits] == [("/properties/deep/properties/x/enum", "enum")]
    assert "above the limit alternatives=5" in found.limits[0].message
    assert found.limits[0].fix == "raise it with limits=guard.Limits(alternatives=...)"


def test_a_limit_in_decoding_names_the_place_and_leaves_the_matcher_as_it_was() -> None:
    """The innermost schema, and its keyword."""
    many = {"enum": [[n, n] for n in range(40)]}
    schema = {"type": "object", "properties": {"a": {"items": {"properties": {"x": many}}}}}
    matcher = guard.compile(schema, limits=guard.Limits(alternatives=5)).matcher(byte_vocabulary())
    assert matcher.accept_bytes(b'{"a": ')
    with pytest.raises(guard.SchemaError) as error:
        matcher.accept_bytes(b'[{"x": [1, ')
    assert (error.value.limit, error.value.pointer) == ("alternatives", "/properties/a/items/properties/x/enum")
    assert matcher.accept_bytes(b"1}")
    assert matcher.can_stop()


def test_an_exploration_ends_with_its_time_and_says_what_waits() -> None:
    """Three to the power of twenty shapes."""
    schema = {"type": "object", "dependentRequired": {f"a{i}": [f"b{i}"] for i in range(20)}}
    calls: list[tuple[int, int]] = []
    found = guard.compile(schema).explore(0.5, lambda *counts: calls.append(counts))
    assert not found.complete
    assert (found.limits, found.waiting > 0) == ((), True)
    assert found.seconds < 5
    assert calls
    assert all(done <= known for done, known in calls)


def test_what_no_value_meets_is_told_with_its_place() -> None:
    """A property and an item that contradict themselves; a closed property is no contradiction."""
    never = {"type": "string", "minLength": 2, "maxLength": 1}
    schema = {"properties": {"a": never, "b": False, "c": {"items": {"properties": {"d": never}}}}}
    found = guard.compile(schema).explore()
    assert [f.pointer for f in found.advice] == ["/properties/a", "/properties/c/items/properties/d"]


def test_an_automaton_that_texts_make_large_is_told() -> None:
    """2**17 states for one pattern."""
    found = guard.compile({"properties": {"p": {"type": "string", "pattern": "^([ab]*a[ab]{17})?$"}}}).explore()
    assert [f.pointer for f in found.advice] == ["/properties/p"]
    assert found.states >= MOST_STATES
