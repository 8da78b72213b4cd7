"""Answers as examples: the tokens that decoding would write, the spelling that the masks have, parts without leaks."""

from __future__ import annotations

import dataclasses
import functools
import json
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import guard
from guard.decoding.forced_tokens import Forcing
from guard.decoding.teacher import AnswerPath
from guard.decoding.torch_loop import Decoding
from guard.models.base import Request
from guard.models.local.transformers import TransformersModel
from guard.schemas.grounding.sources import Sources
from guard.tuning.examples import LONGEST, Pair, cut, deduplicated, spellings, split

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "total": {"type": "integer"},
        "kind": {"enum": ["new", "used"]},
    },
    "required": ["name", "total", "kind"],
    "additionalProperties": False,
}


@functools.cache
def model() -> TransformersModel:
    return TransformersModel("tiny", tiny.llama(), tiny.tokenizer())


def pair(answer: Any, schema: Any = SCHEMA, asked: str = "Read.", **more: Any) -> Pair:
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    return Pair(({"role": "user", "content": asked},), guard.compile(schema), text, **more)


@pytest.mark.parametrize("seed", range(6))
def test_tokens_that_are_trained_are_those_that_decoding_writes(seed: int) -> None:
    """What a model decodes, followed as an answer, gives its own tokens back, and its own choices."""
    writer = TransformersModel("tiny", tiny.llama(seed), tiny.tokenizer())
    total = {"type": "integer", "minimum": 0, "maximum": 999}
    compiled = guard.compile({**SCHEMA, "properties": {**SCHEMA["properties"], "total": total}})
    messages = ({"role": "user", "content": "Read."},)
    reply = writer.generate(Request(messages, compiled, max_tokens=200))
    path = writer.follow(compiled, reply.text, 400)
    assert path is not None
    spelled = [writer.vocabulary.token_bytes(token) for token in path.tokens[:-1]]
    assert b"".join(spelled).decode() == reply.text
    assert len(path.tokens) - len(path.chosen) == pytest.approx(reply.forced_tokens, abs=2)


def written(model: TransformersModel, prompt: tuple[int, ...], pair: Pair, path: AnswerPath) -> Decoding:
    """Decode with a model that always wants the path's next token, and ends where it ends."""
    matcher = pair.compiled.matcher(model.vocabulary)
    forcing = Forcing(model.tokenizer, model.vocabulary)
    decoding = Decoding(model.vocabulary, matcher, max_tokens=LONGEST - len(prompt), forcing=forcing)
    decoding.start(torch.device("cpu"))
    allowed = []
    while decoding.advance() is not None:
        mask = decoding.mask
        assert mask is not None
        allowed.append((len(decoding.written), mask.words[0].tolist()))
        logits = torch.zeros(1, model.vocabulary.size)
        logits[0, path.tokens[len(decoding.written)]] = 9.0
        decoding.choose(logits)
    assert allowed == [(at, words.tolist()) for at, words in zip(path.chosen, path.masks, strict=True)]
    return decoding


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_every_example_is_cut_as_decoding_cuts_it(data: st.DataObject) -> None:
    """All tokens, the places of choice and the masks there are those of the loop, whatever the answer."""
    answer = {
        "name": data.draw(st.text(max_size=12).filter(lambda t: t.isprintable())),
        "total": data.draw(st.integers(-999, 999)),
        "kind": data.draw(st.sampled_from(["new", "used"])),
    }
    dropped: Counter[str] = Counter()
    (example,) = cut(model(), [pair(answer)], dropped)
    assert not dropped
    decoding = written(model(), example.prompt, example.pair, example.path)
    assert tuple(decoding.written) == example.path.tokens
    assert decoding.forced_tokens == len(example.path.tokens) - len(example.path.chosen)


@given(
    name=st.text(max_size=12).filter(lambda t: t.isprintable()),
    total=st.integers(-999, 999),
    kind=st.sampled_from(["new", "used"]),
)
@settings(deadline=None, max_examples=60)
def test_every_valid_answer_is_followed_in_whatever_order_its_keys_came(name: str, total: int, kind: str) -> None:
    members = [("name", name), ("total", total), ("kind", kind)]
    random.Random(total).shuffle(members)
    (example,) = cut(model(), [pair(dict(members))], Counter())
    spelled = b"".join(model().vocabulary.token_bytes(token) for token in example.path.tokens[:-1])
    assert json.loads(spelled) == dict(members)
    assert list(json.loads(spelled)) == ["name", "total", "kind"]
    for place, mask in zip(example.path.chosen, example.path.masks, strict=True):
        token = example.path.tokens[place]
        assert mask[token // 32] >> (token % 32) & 1
        assert sum(int(word).bit_count() for word in mask.view("uint32")) > 1


def test_what_is_no_example_is_counted_under_its_reason() -> None:
    dropped: Counter[str] = Counter()
    wrong = pair({"name": "a", "total": 1, "kind": "lost"})
    fixed = pair({}, {"type": "object", "additionalProperties": False})
    assert list(cut(model(), [wrong, fixed], dropped)) == []
    assert dropped == {"no path of the masks": 1, "nothing to choose": 1}


QUOTED = {"type": "object", "properties": {"name": {"type": "string", "x-guard-from": "input"}}, "required": ["name"]}


def test_a_grounded_answer_is_cut_under_the_masks_of_its_inputs_as_decoding_is() -> None:
    """It was cut under masks that allow any text, so that training learned choices that decoding never has."""
    asked = pair({"name": "Anna"}, QUOTED, "Anna, Berta")
    reply = model().generate(Request(asked.messages, asked.asked_for(), max_tokens=50))
    assert json.loads(reply.text)["name"] in ("Anna", "Berta", "Anna, Berta")
    named = dataclasses.replace(asked, sources=Sources({"who": "Carla"}))
    dropped: Counter[str] = Counter()
    (example,) = cut(model(), [asked, dataclasses.replace(asked, answer='{"name": "Carla"}'), named], dropped)
    assert (example.pair, dropped) == (asked, {"no path of the masks": 2})
    allowed = np.bitwise_or.reduce(example.path.masks)
    bits = np.unpackbits(allowed.view(np.uint8), bitorder="little")
    begun = {model().vocabulary.token_bytes(int(token))[:1] for token in np.flatnonzero(bits)}
    assert begun <= {char.encode() for char in ' "{}:name,AnBert\n'}
    assert not list(cut(model(), [pair({"name": "Anna"}, QUOTED, "!")], dropped))
    assert dropped["its inputs state no answer"] == 1


def test_numbers_and_keys_are_respelled_inside_of_references_and_lists() -> None:
    schema = {
        "type": "object",
        "properties": {"b": {"type": "array", "items": {"$ref": "#/$defs/p"}}, "a": {"type": "integer"}},
        "$defs": {"p": {"type": "object", "properties": {"y": {"type": "integer"}, "x": {"type": "integer"}}}},
    }
    found = list(spellings(pair('{"a": 2.0, "b": [{"x": 1, "y": 2}]}', schema)))
    assert '{"b": [{"y": 2, "x": 1}], "a": 2}' in found


def test_a_question_asked_twice_is_kept_once_and_a_persons_answer_goes_first() -> None:
    dropped: Counter[str] = Counter()
    first = pair({"name": "a", "total": 1, "kind": "new"}, by="person", started=1.0)
    later = pair({"name": "b", "total": 1, "kind": "new"}, by="openai:gpt", started=2.0)
    newest = pair({"name": "c", "total": 1, "kind": "new"}, by="openai:gpt", started=3.0)
    assert deduplicated([later, first, newest], dropped) == [first]
    assert deduplicated([later, newest], Counter()) == [newest]
    approved = dataclasses.replace(later, is_approved=True)
    assert deduplicated([approved, newest], Counter()) == [approved]
    assert deduplicated([newest, approved, first], Counter()) == [first]
    assert dropped == {"asked twice": 2}


def test_a_question_that_versions_of_a_schema_ask_is_in_one_part() -> None:
    compiled = [guard.compile({"type": "integer", "maximum": most}) for most in range(5)]
    pairs = [
        Pair(({"role": "user", "content": f"Read {n}."},), one, "0", started=float(n))
        for n in range(100)
        for one in compiled
    ]
    train, held = split(pairs, 0.1)
    assert len(held) >= 50
    assert not {p.messages[0]["content"] for p in train} & {p.messages[0]["content"] for p in held}


def test_no_input_is_in_two_parts_and_the_newest_are_held_out() -> None:
    pairs = [pair({}, {"type": "object"}, f"Read {n}.", started=float(n)) for n in range(200)]
    train, held = split(pairs, 0.1)
    assert not {p.input_hash for p in train} & {p.input_hash for p in held}
    assert all(p in held for p in pairs[-20:])
    assert 20 <= len(held) <= 60
    assert split(pairs, 0.1) == (train, held)


def test_what_is_no_text_is_left_out_and_the_others_are_learned() -> None:
    good = pair({"name": "a", "total": 1, "kind": "new"})
    half = dataclasses.replace(good, messages=({"role": "user", "content": "\ud800"},))
    answer = dataclasses.replace(good, answer='{"name": "\\ud800", "total": 1, "kind": "new"}')
    no_prompt = dataclasses.replace(good, messages=({"role": "user", "content": 5},))
    dropped: Counter[str] = Counter()
    assert [one.pair for one in cut(model(), deduplicated([half, answer, no_prompt, good], dropped), dropped)] == [good]
    assert dropped == {"half of a character": 2, "its messages make no prompt": 1}
