"""What a prompt states: what an answer says without it, and what it leaves out of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.decoding.prompt_values import PromptValues

PROMPT = "Rent  a Flat in\nNew York for 1,200 dollars, 2.5 rooms, from 7 May. Sort by price, cheap ones only."


@pytest.mark.parametrize(
    ("value", "characters"),
    [
        ("New York", 0),
        ("new york", 0),
        ("flat in new", 0),
        ("", 0),
        ("Boston", 6),
        (1200, 0),
        (1200.0, 0),
        (2.5, 0),
        (12, 2),
        (-3.5, 4),
        (True, 0),
        (None, 0),
        ({"city": "Boston", "rooms": [2.5, 12]}, 8),
    ],
)
def test_what_the_prompt_does_not_state_is_counted_in_characters(value: object, characters: int) -> None:
    assert PromptValues(PROMPT).unstated(value) == characters


@given(words=st.lists(st.text("abc", min_size=1, max_size=3)), wanted=st.text("abc ", max_size=8))
def test_a_text_is_stated_where_it_stands_in_the_prompt(words: list[str], wanted: str) -> None:
    prompt = "  ".join(words)
    is_there = re.sub(r"\s+", " ", wanted) in re.sub(r"\s+", " ", prompt)
    assert (PromptValues(prompt).unstated(wanted) == 0) == is_there


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


PRICE = {"enum": ["cheap", "dear"]}


@pytest.mark.parametrize(
    ("value", "schema", "missed"),
    [
        ({}, _object(price=PRICE), 1),
        ({"price": "cheap"}, _object(price=PRICE), 0),
        ({}, _object(price={"enum": ["che", "heap"]}), 0),  # no words of their own
        ({}, _object(rent={"type": "number"}), 1),
        ({}, _object(rent={"type": ["integer", "null"]}, price=PRICE), 2),
        ({"rent": 1200, "rooms": 2.5, "day": "7 May"}, _object(floor={"type": "integer"}), 0),  # dates are no numbers
        ({"rent": 1200}, _object(floor={"type": "integer"}), 1),  # 2.5 is not used
        ({}, _object(city={"type": "string"}), 0),
        ({}, _object(filter=_object(price=PRICE)), 1),
        ({"flats": [{}, {"price": "dear"}]}, _object(flats={"items": _object(price=PRICE)}), 1),
        ([], _object(price=PRICE), 0),
        ("cheap", {"enum": ["cheap"]}, 0),
        ({}, True, 0),
    ],
)
def test_members_are_missed_where_the_prompt_states_something_for_them(value: Any, schema: Any, missed: int) -> None:
    assert PromptValues(PROMPT).missed(value, schema, schema) == missed


def test_references_are_followed_to_a_depth() -> None:
    node = _object(price={"$ref": "#/$defs/price"}, inner={"$ref": "#"})
    schema = {**node, "$defs": {"price": PRICE}}
    assert PromptValues(PROMPT).missed({"inner": {"inner": {}}}, schema, schema) == 3 + 3
    assert PromptValues(PROMPT).missed({}, {"anyOf": [node, {"type": "null"}]}, schema) == 4
