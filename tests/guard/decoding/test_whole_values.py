"""Values that are chosen whole: scores are those of passes of their own, and what is written is what masks allow."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import numpy as np
import pytest
import tiny
import torch
from pydantic import BaseModel, Field
from transformers import MistralConfig, MistralForCausalLM

import guard
from guard.decoding import whole_values
from guard.decoding.confidence import Token, by_value
from guard.decoding.whole_values import Candidates, Endings, Scored, alternatives, posterior, scored, token_logprobs
from guard.errors import Unsupported
from guard.models.base import Request
from guard.models.local.transformers import TransformersModel
from guard.models.local.tree_passes import TreePasses, log_probabilities
from guard.schemas.grounding.sources import Sources

TEXT = "name: Alice Bell\ntotal: 1234.5\nnames: Ann, Bob, Cem\ndue 2026-05-14, not 2026-05-15"


class Note(BaseModel):
    """A note."""

    name: Annotated[str, guard.Quoted()]
    total: Annotated[float | None, guard.Stated()]
    names: Annotated[list[str], Field(min_length=2, max_length=3), guard.Quoted(once=True)]


def model(seed: int = 0) -> TransformersModel:
    """Return a tiny llama that answers requests."""
    return TransformersModel("tiny", tiny.llama(seed), tiny.tokenizer())


def request(compiled: Any, choose: str = "score", max_tokens: int = 200) -> Request:
    """Return a request for a value."""
    return Request(({"role": "user", "content": TEXT},), compiled, max_tokens, choose=choose)


@pytest.mark.parametrize("seed", range(6))
def test_a_value_is_stated_whatever_the_model_would_write(seed: int) -> None:
    compiled = guard.compile(Note).grounded(Sources({"text": TEXT}))
    reply = model(seed).generate(request(compiled))
    value = Note.model_validate_json(reply.text)
    assert value.name in TEXT
    assert value.total in (None, 1234.5)
    assert all(name in TEXT for name in value.names)
    assert len(set(value.names)) == len(value.names)
    assert all(len(found) <= whole_values.MOST_ALTERNATIVES for found in reply.alternatives.values())
    assert set(reply.alternatives) <= {"/name", "/total", "/names/0", "/names/1", "/names/2"}
    assert "/name" in reply.alternatives
    assert all(one.value != value.name for one in reply.alternatives["/name"])
    chances = by_value(reply.tokens, reply.text)
    assert chances.keys() >= {"/name", "/total", "/names/0", "/names/1"}
    assert all(0 <= chance <= 1 for chance in chances.values())
    assert chances["/name"] + sum(one.confidence for one in reply.alternatives["/name"]) <= 1 + 1e-6


def test_a_tight_budget_is_kept() -> None:
    compiled = guard.compile(Note).grounded(Sources({"text": TEXT}))
    least = compiled.matcher(tiny.vocabulary()).distance()
    for more in (0, 1, 2, 5, 9):
        reply = model().generate(request(compiled, max_tokens=least + more))
        assert reply.completion_tokens <= least + more
        Note.model_validate_json(reply.text)


def test_scores_are_those_of_a_pass_for_each_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_values, "WAVES", (7, 30, 1000))
    tested = model()
    prompt = list(range(3, 40))
    texts = [text.encode() for text in ("Alice", "Alice Bell", "Ann", "Bob", "Bo.", "A", "total: 1")]
    forward = tested._prepare(prompt, 100)
    root = log_probabilities(forward(prompt))[0]
    vocabulary = tested.vocabulary
    endings = Endings(vocabulary)
    cache = forward.kwargs[forward.cache_name]

    def encode(text: bytes) -> list[int]:
        return list(tested.tokenizer(text.decode(), add_special_tokens=False).input_ids)

    with TreePasses(tested.passes, forward) as passes:
        found = scored(texts, root, encode, endings, vocabulary, passes, is_text=True).found
    assert cache.get_seq_length() == len(prompt)
    assert {one.text for one in found} <= set(texts)
    missed = set(texts) - {one.text for one in found}
    assert all(_logprob(tested, prompt, encode(text + b'"')) <= found[0].logprob + 1e-3 for text in missed)
    for one in found:
        ids = torch.tensor([prompt + list(one.tokens)])
        with torch.no_grad():
            rows = tested.model(ids).logits[0].float().log_softmax(-1).numpy()
        own = sum(rows[len(prompt) - 1 + i, token] for i, token in enumerate(one.tokens))
        own += np.logaddexp.reduce(rows[-1, endings.of(one.rest, is_text=True)].astype(np.float64))
        assert one.logprob == pytest.approx(own, abs=1e-3)
    assert found == sorted(found, key=lambda one: -one.logprob)


def _logprob(tested: TransformersModel, prompt: list[int], tokens: list[int]) -> float:
    with torch.no_grad():
        rows = tested.model(torch.tensor([prompt + tokens])).logits[0].float().log_softmax(-1)
    return sum(float(rows[len(prompt) - 1 + at, token]) for at, token in enumerate(tokens))


def test_what_is_likely_is_found_in_few_tokens() -> None:
    """Passes are as large as they may be, and the likeliest candidate is in the first."""
    vocabulary = tiny.vocabulary()
    texts = [f"{a}{b}{c}".encode() for a in "abcdefgh" for b in "abcdefgh" for c in "abcdefgh"]
    ids = {letter: tiny.tokenizer()(letter, add_special_tokens=False).input_ids[0] for letter in "abcdefgh"}
    sizes = []

    def row(likely: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        out = np.full(vocabulary.size, -12.0, np.float32)
        out[likely] = -0.01
        return out

    def evaluate(tokens: list[int], parents: list[int]) -> Any:
        sizes.append(len(tokens))
        quote = next(t for t in range(vocabulary.size) if vocabulary.token_bytes(t) == b'"')
        return np.stack([row(ids["b"] if len(sizes) == 1 and token != ids["b"] else quote) for token in tokens])

    def encode(text: bytes) -> list[int]:
        return [*(ids[chr(byte)] for byte in text[:-1]), 0]

    found = scored(texts, row(ids["c"]), encode, Endings(vocabulary), vocabulary, evaluate, is_text=True).found
    assert all(size <= most for size, most in zip(sizes, whole_values.WAVES, strict=False))
    assert found


def test_the_spellings_of_a_number_are_one_candidate() -> None:
    vocabulary = tiny.vocabulary()
    comma = next(t for t in range(vocabulary.size) if vocabulary.token_bytes(t) == b",")
    ids = {one: tiny.tokenizer()(one, add_special_tokens=False).input_ids[0] for one in "0123456789."}
    row = np.full(vocabulary.size, -60.0, np.float32)
    row[[ids["7"], ids["8"]]] = np.log([0.5, 0.3])
    behind = np.full(vocabulary.size, -60.0, np.float32)
    behind[[comma, ids["."], ids["0"]]] = np.log([0.5, 0.4, 0.1])

    def encode(text: bytes) -> list[int]:
        return [*(ids[chr(byte)] for byte in text[:-1]), comma]

    def evaluate(tokens: list[int], _: list[int]) -> Any:
        return np.stack([behind] * len(tokens))

    texts = [b"7", b"7.0", b"8.0", b"8", b"70"]
    choice = scored(texts, row, encode, Endings(vocabulary), vocabulary, evaluate, is_text=False)
    assert [one.text for one in choice.found] == [b"7", b"8", b"70"]
    assert [np.exp(one.logprob) for one in choice.found] == pytest.approx([0.26, 0.156, 0.025])
    told = alternatives(choice, choice.found[0], is_text=False)
    assert [one.value for one in told] == [8, 70]
    assert [one.confidence for one in told] == pytest.approx([0.156 / 0.441, 0.025 / 0.441])


@pytest.mark.parametrize("unreached", [0.0, 0.125])
def test_tokens_tell_the_probability_among_the_candidates(unreached: float) -> None:
    found = [
        Scored(b"ab", (1, 2), b"", -1.0, (9,)),
        Scored(b"ac", (1, 3), b"", -2.0, (9,)),
        Scored(b"d", (4,), b"", -3.0, (9,)),
    ]
    choice = Candidates(found, unreached)
    chances = posterior(choice)
    known = sum(np.exp(one.logprob) for one in found)
    assert sum(chances) == pytest.approx(known / (known + unreached))
    for one, chance in zip(found, chances, strict=True):
        logprobs = token_logprobs(choice, one)
        assert len(logprobs) == len(one.tokens) + 1
        assert np.exp(sum(logprobs)) == pytest.approx(chance)


def test_the_probability_of_a_value_is_that_of_its_tokens() -> None:
    parts = [('{"a": "', 0.0, True), ("An", -1.0, False), ('na"', -0.5, False), (', "b": [', 0.0, True)]
    parts += [("1", -2.0, False), (", 2", -0.25, False), ("]}", 0.0, True)]
    tokens = [Token(text, logprob, 0.0, None, forced) for text, logprob, forced in parts]
    text = "".join(part[0] for part in parts)
    json.loads(text)
    found = by_value(tokens, text)
    assert found == pytest.approx({"/a": np.exp(-1.5), "/b/0": np.exp(-2.0), "/b/1": np.exp(-0.25)})
    assert by_value(tokens, "another text") == {}


def test_no_value_is_more_probable_than_certain() -> None:
    """A log-probability above 0 is none; one of 710 has no number."""
    assert by_value((Token("1", 710.0, 0.0, None),), "1") == {"": 1.0}


def test_a_model_that_can_not_refuses() -> None:
    class Other(TransformersModel):
        can_score = False

    with pytest.raises(Unsupported, match="choose"):
        Other("other", tiny.llama(), tiny.tokenizer()).generate(request(guard.compile(Note)))


def test_grounded_values_are_scored_unless_something_else_is_wished_for() -> None:
    compiled = guard.compile(Note).grounded(Sources({"text": TEXT}))
    scored, greedy, auto = (model().generate(request(compiled, choose)) for choose in ("score", "greedy", "auto"))
    assert auto.text == scored.text
    assert (auto.alternatives, greedy.alternatives) == (scored.alternatives, {})
    assert any(token.margin is not None for token in auto.tokens)
    assert all(token.margin is None or token.margin >= 0 for token in auto.tokens)
    warm = dataclasses.replace(request(compiled, "auto"), temperature=1.0)
    assert model().generate(warm).alternatives == {}


def test_a_model_whose_cache_forgets_is_asked_by_token_unless_scores_were_wished_for() -> None:
    """A cache of a sliding window can't take back the tokens of a tree."""
    compiled = guard.compile(Note).grounded(Sources({"text": TEXT}))
    config = MistralConfig(**tiny.llama().config.to_dict() | {"sliding_window": 16, "model_type": "mistral"})
    forgets = TransformersModel("tiny", MistralForCausalLM(config).eval(), tiny.tokenizer())
    greedy, auto = (forgets.generate(request(compiled, choose)) for choose in ("greedy", "auto"))
    assert (auto.text, auto.alternatives) == (greedy.text, {})
    with pytest.raises(Unsupported, match="choose"):
        forgets.generate(request(compiled, "score"))


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match="choose"):
        guard.Guard(model="smollm2", choose="best")  # type: ignore[arg-type] # that is the point
