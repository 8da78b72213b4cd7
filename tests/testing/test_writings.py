"""Texts: what each is labelled is what becomes of it in repair and in the check behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings

from guard.output import target as targets
from guard.output.repair import repair
from guard.testing import Text, texts
from guard.testing.strategies.texts import FAILURES, SLIPS, STYLES, WRAPPERS


def became(target: targets.Target, text: str) -> tuple[str, Any]:
    """Return what Guard makes of a whole answer: an outcome, and the value where there is one."""
    value, findings = target.check(text)
    if not findings:
        return "valid", value
    value, findings = target.check(repair(text).text)
    return ("invalid", None) if findings else ("repairable", value)


SCHEMAS: dict[str, Any] = {
    "an object": {
        "type": "object",
        "properties": {
            "id": {"type": "integer", "minimum": 1},
            "note": {"type": "string"},
            "tags": {"type": "array", "items": {"type": ["string", "boolean", "null"]}, "maxItems": 3},
        },
        "required": ["id"],
        "additionalProperties": False,
    },
    "anything": {},
    "a string": {"type": "string"},
    "a number": {"type": "number"},
    "a list": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_text_becomes_what_it_is_labelled(name: str) -> None:
    schema = SCHEMAS[name]
    target = targets.from_any(schema, {})

    @settings(max_examples=80)
    @given(texts(schema))
    def check(text: Text) -> None:
        outcome, value = became(target, text.text)
        if text.outcome == "truncated":
            assert outcome != "valid"  # what is cut off is not to be repaired
            assert text.finish == "length"
        else:
            assert (outcome, json.dumps(value, sort_keys=True)) == (
                text.outcome,
                json.dumps(text.value, sort_keys=True),
            )
            assert text.finish == "stop"

    check()


def test_every_way_of_writing_comes() -> None:
    met: set[str] = set()
    mixed = {"type": "array", "items": {"enum": ["a\nb", 0.5, None]}, "minItems": 1}
    for schema, times in ((SCHEMAS["an object"], 400), (mixed, 300), ({"type": "string"}, 400)):

        @settings(max_examples=times, database=None, derandomize=True, phases=[Phase.generate])
        @given(texts(schema))
        def draw(text: Text) -> None:
            met.update(text.how)

        draw()
    wanted = {*STYLES, *SLIPS, *WRAPPERS, *FAILURES, "missing bracket", "cut off", "near miss"}
    assert wanted - met == set()


QUIET = settings(max_examples=1000, database=None, derandomize=True)


def test_valid_texts_shrink_to_what_json_writes_of_the_smallest_value() -> None:
    found = find(texts(SCHEMAS["an object"]), lambda text: text.outcome == "valid", settings=QUIET)
    assert found == Text('{"id": 1}', "valid", {"id": 1}, ())


def test_a_text_in_two_ways_names_both() -> None:
    found = find(texts(SCHEMAS["an object"]), lambda text: {"compact", "fence"} <= set(text.how), settings=QUIET)
    assert found.text == f"```json\n{json.dumps(found.value, separators=(',', ':'))}\n```"
    assert (found.outcome, found.how) == ("repairable", ("compact", "fence"))
