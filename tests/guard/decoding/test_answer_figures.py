"""What speaks for an answer: figures of the whole and of its fields, and where members stand."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.decoding import answer_figures
from guard.decoding.answer_figures import figures
from guard.decoding.confidence import Token

PROMPT = "Rent  a Flat in\nNew York for 1,200 dollars, 2.5 rooms, from 7 May."

members = st.dictionaries(st.text(max_size=5), st.recursive(st.none() | st.text(max_size=5) | st.integers(), st.lists))


@given(value=members, indent=st.sampled_from([None, 1]))
def test_members_stand_where_they_are_said_to(value: dict[str, object], indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    found = answer_figures.members(text)
    assert list(found) == list(value)
    assert [json.loads(text[begin:end]) for begin, end in found.values()] == list(value.values())


@pytest.mark.parametrize("text", ["[1]", "", "{", '{"a"', '{"a": 1', '{"a" 1}', "1"])
def test_a_text_that_is_no_object_has_no_members(text: str) -> None:
    assert answer_figures.members(text) in ({}, {"a": (6, 7)})


def test_a_field_has_the_figures_of_its_own_choices_and_values() -> None:
    spelled = [
        ('{"a": ', 0.0, True),
        ("1", -1.0, False),
        ('2, "b": ', -0.5, False),
        ("true", -0.25, False),
        ("}", -0.125, False),
    ]
    tokens = [Token(text, logprob, 0.0, None, is_forced) for text, logprob, is_forced in spelled]
    schema = {"type": "object", "properties": {"a": {}, "b": {}, "c": {"enum": ["new", "used"]}}}
    found = figures('{"a": 12, "b": true}', tokens, PROMPT, schema)
    assert list(found) == ["", "/a", "/b"]
    assert found[""] == pytest.approx((math.sqrt(1.75), math.sqrt(0.125), math.log(3), math.log(2)))
    assert found["/a"] == pytest.approx((math.sqrt(1.5), 0.0, math.log(3), 0.0))
    assert found["/b"] == pytest.approx((0.5, 0.0, 0.0, 0.0))


def test_the_end_of_an_object_is_no_brace_in_a_text() -> None:
    tokens = [Token(text, logprob, 0.0, None) for text, logprob in (('{"a":', -1.0), ('"}\\"}', -4.0), ('"}', -9.0))]
    found = figures('{"a":"}\\"}"}', tokens, PROMPT, True)
    assert [(one.said, one.ended) for one in found.values()] == [(pytest.approx(math.sqrt(5)), 3.0), (2.0, 3.0)]


@pytest.mark.parametrize("text", ["", "no JSON", "[" * 100_000])
def test_of_what_is_no_json_nothing_is_known(text: str) -> None:
    assert figures(text, [Token(text, -1.0, 0.0, None)], PROMPT, {}) == {}


def test_of_forced_answers_and_of_too_much_nothing_is_known() -> None:
    assert figures("1", [Token("1", 0.0, 0.0, None, True)], PROMPT, {}) == {}
    text = json.dumps(["x"] * 1_001)
    assert figures(text, [Token(text, -1.0, 0.0, None)], "x" * 100_000, {}) == {}
