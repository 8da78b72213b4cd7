"""A string that says the same over and over is found, wherever it is; one that does not is not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard.decoding.repetition import _STRIDE, LONGEST_PART, REPEATS, SHORTEST, ends_so, repeated_at
from guard.decoding.torch_loop import Decoding

PLAIN = (
    "The armies marched, and laws were written in the great cities of the empire, which lasted for a thousand years and"
    " more; of its roads, its aqueducts and its harbours we see what stone can keep. Who built them, and who paid for"
    " it, is told by few: the rolls of the treasury burned twice, once by accident, once in a war."
)
#: Slow and obvious: some part, REPEATS times in a row.
_REPEATED = re.compile(rf"(.{{1,{LONGEST_PART}}}?)\1{{{REPEATS - 1},}}", re.DOTALL)


def is_repeated(text: str) -> bool:
    return any(len(match[0]) >= SHORTEST for match in _REPEATED.finditer(text))


def _is_in_string(text: str) -> bool:
    return re.sub(r"\\.", "", text).count('"') % 2 == 1


parts = st.text('abcdefgh ,.\\"', min_size=1, max_size=12)


@given(before=st.text("xyz ", max_size=100), part=parts, more=st.integers(0, 30), after=st.text("xyz ", max_size=100))
def test_what_is_repeated_often_is_found_between_anything(before: str, part: str, more: int, after: str) -> None:
    count = max(REPEATS, -(-(SHORTEST + _STRIDE) // len(part))) + more
    text = json.dumps({"a": "x", "b": [before + part * count + after]})
    assert repeated_at(text) == ("/b/0",)
    assert ends_so(text[: text.index("]") - 1 - len(after)])


@given(st.text("ab ", max_size=400))
def test_what_is_found_is_there(text: str) -> None:
    if repeated_at(json.dumps(text)):
        assert is_repeated(text)


@pytest.mark.parametrize(
    "value",
    [
        PLAIN,
        "-" * 120,
        {"rows": ["the same"] * 200},
        {"n": 1111111111111111111111**8},
        [[[]]] * 100,
        "\n".join(f"{n}. line {n * n}" for n in range(100)),
        "ab" * 79,
    ],
)
def test_nothing_is_found_where_no_string_repeats_itself(value: Any) -> None:
    text = json.dumps(value)
    assert repeated_at(text) == ()
    inside = [size for size in range(0, len(text), 7) if _is_in_string(text[:size])]
    assert not any(ends_so(text[:size]) for size in inside)


def test_every_string_that_does_is_named() -> None:
    text = json.dumps({"a": PLAIN, "b": "and on " * 40, "c": {"d": [PLAIN, PLAIN + "!" * 300 + PLAIN]}})
    assert repeated_at(text) == ("/b", "/c/d/1")


@pytest.mark.parametrize("stops", [False, True])
def test_a_string_is_ended_where_it_is_asked_for(stops: bool) -> None:
    vocabulary = tiny.vocabulary()
    compiled = guard.compile(
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "boolean"}},
            "required": ["a", "b"],
            "additionalProperties": False,
        }
    )
    decoding = Decoding(vocabulary, compiled.matcher(vocabulary), max_tokens=300, stops_repetition=stops)
    decoding.start(torch.device("cpu"))
    letters = [next(t for t in range(vocabulary.size) if vocabulary.token_bytes(t) == bytes([byte])) for byte in b"xyz"]
    while decoding.advance() is not None:
        logits = torch.zeros(1, vocabulary.size)
        logits[0, letters[len(decoding.tokens) % 3]] = 20.0
        decoding.choose(logits)
    value = json.loads(decoding.answer)
    assert (len(value["a"]) < SHORTEST + 20) == stops
    assert (decoding.cut_at == ()) == stops
    assert repeated_at(decoding.answer) == ("/a",)
