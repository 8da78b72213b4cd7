"""The examples: honest documents, types that hold the expected values, and what SmolLM2 reads from them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from examples import demo
from guard.trace.records import VALID

TITLES = sorted(demo.EXAMPLES)


@pytest.mark.parametrize("title", TITLES)
def test_a_document_has_150_to_600_words_and_its_expected_values_are_valid(title: str) -> None:
    text = (demo.HERE / f"{title}.txt").read_text()
    assert 150 <= len(text.split()) <= 600
    value, findings = demo.EXAMPLES[title].read.target.check(json.dumps(demo.EXPECTED[title]))
    assert findings == ()
    assert demo.count_right(json.loads(value.model_dump_json()), demo.EXPECTED[title])[0] > 0


@pytest.mark.parametrize("title", TITLES)
def test_the_prompt_holds_no_expected_value_but_in_the_document(title: str) -> None:
    (message,) = demo.EXAMPLES[title].read.messages("")
    assert all(str(value) not in message["content"] for _, value in demo.leaves(demo.EXPECTED[title]))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('Here it is:\n```json\n{"a": {"b": []}}\n```\nThat was it {.', {"a": {"b": []}}),
        ('{"a": 1', None),
        ("none", None),
        ("", None),
    ],
)
def test_lenient_parsing_finds_the_first_object(text: str, value: Any) -> None:
    assert demo.lenient(text) == value


def test_fields_are_compared_by_value_and_texts_but_for_case_and_spacing() -> None:
    expected = {"a": 1, "b": {"c": "Jane  Doe"}, "d": [True, "x"]}
    assert demo.count_right({"a": 1.0, "b": {"c": "jane doe"}, "d": [True, "x"]}, expected) == (4, 4)
    assert demo.count_right({"a": True, "b": "c", "d": [1]}, expected) == (0, 4)
    assert demo.count_right(None, expected) == (0, 4)


@pytest.mark.parametrize("title", TITLES)
def test_smollm2_reads_the_document_into_a_valid_value_with_nearly_all_fields_right(title: str) -> None:
    module = demo.EXAMPLES[title]
    value, call = module.read.traced((demo.HERE / f"{title}.txt").read_text())
    assert (call.outcome, call.served, len(call.attempts)) == (VALID, "smollm2", 1)
    assert call.completion_tokens <= 512
    right, total = demo.count_right(json.loads(value.model_dump_json()), demo.EXPECTED[title])
    assert right >= 0.75 * total
