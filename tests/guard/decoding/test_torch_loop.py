"""Guard's own loop ends every value inside its budget, keeps the cache right, and asks the model for nothing forced."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
import shapes
import tiny
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

import guard
from guard.decoding.forced_tokens import Forcing
from guard.decoding.torch_loop import Decoding
from guard.errors import ModelError, SchemaError, Truncated

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "total": {"type": "integer", "minimum": 0, "maximum": 999},
        "ok": {"type": "boolean"},
    },
    "required": ["name", "total", "ok"],
    "additionalProperties": False,
}
PROMPT = [1, 40, 41, 42, 43]
WIDTH = 384  #: Logits wider than the vocabulary.


@pytest.fixture(scope="module")
def forcing() -> Forcing:
    """Give the tiny tokenizer's."""
    return Forcing(tiny.tokenizer(), tiny.vocabulary())


def _run(model: Any, decoding: Decoding, prompt: list[int] = PROMPT) -> list[int]:
    """Run the loop without what generate does around it."""
    ids = decoding(model, torch.tensor([prompt]))
    assert ids[0].tolist() == [*prompt, *decoding.tokens]
    return decoding.tokens


def _generate(model: Any, decoding: Decoding, prompt: list[int] = PROMPT) -> list[int]:
    """Run the loop as a user does."""
    ids = torch.tensor([prompt])
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        custom_generate=decoding,
        max_new_tokens=200,
        do_sample=False,
    )
    assert out[0].tolist() == [*prompt, *decoding.tokens]
    return decoding.tokens


def _check(schema: Any, text: str) -> None:
    """Judge a text by two validators; it must be JSON without duplicate keys."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), f"duplicate keys in {text}"
        return dict(pairs)

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} in {text}")

    value = json.loads(text, object_pairs_hook=unique, parse_float=Decimal, parse_constant=refuse)
    jsonschema.Draft202012Validator(schema).validate(value)
    assert jsonschema_rs.validator_for(schema).is_valid(json.loads(text))


@settings(max_examples=500)
@given(
    schema=shapes.schemas(),
    seed=st.integers(0, 2**32),
    slack=st.sampled_from([0, 1, 2, 5, 20, 60]),
    temperature=st.sampled_from([0.0, 1.0]),
    forces=st.booleans(),
)
def test_an_adversary_s_every_output_ends_inside_its_budget_and_is_valid(
    forcing: Forcing, schema: Any, seed: int, slack: int, temperature: float, forces: bool
) -> None:
    """The model is noise, the budget anything from the least on."""
    vocabulary = tiny.vocabulary()
    matcher = guard.compile(schema).matcher(vocabulary)
    least = matcher.distance()
    assume(least >= 0)  # a schema that no value satisfies is another test's
    budget = least + slack
    decoding = Decoding(
        vocabulary,
        matcher,
        max_tokens=budget,
        forcing=forcing if forces else None,
        temperature=temperature,
        seed=seed,
    )
    tokens = _run(tiny.Noise(seed, WIDTH), decoding)
    assert len(tokens) <= budget
    assert tokens[-1] in vocabulary.eos
    assert not set(tokens[:-1]) & set(vocabulary.eos)
    _check(schema, decoding.text.decode())


def test_a_budget_below_the_least_is_an_error_before_the_first_token() -> None:
    """The error names both numbers; the model is not asked."""
    matcher = guard.compile(PERSON).matcher(tiny.vocabulary())
    least = matcher.distance()
    with pytest.raises(Truncated, match=rf"max_tokens={least - 1} can't hold the shortest answer; it may need {least}"):
        Decoding(tiny.vocabulary(), matcher, max_tokens=least - 1)


def test_a_schema_without_a_value_is_an_error_before_the_first_token() -> None:
    """No budget would help."""
    matcher = guard.compile({"type": "string", "minLength": 3, "maxLength": 2}).matcher(tiny.vocabulary())
    with pytest.raises(SchemaError, match="nothing can meet it"):
        Decoding(tiny.vocabulary(), matcher, max_tokens=100)


def test_forced_text_is_fed_with_the_prompt_and_counted(forcing: Forcing) -> None:
    """Tokens that the schema determines cost no pass of their own, and the end is never fed."""
    decoding = Decoding(
        tiny.vocabulary(), guard.compile(PERSON).matcher(tiny.vocabulary()), max_tokens=200, forcing=forcing
    )
    model = _Counting(tiny.llama())
    tokens = _generate(model.inner, decoding)
    assert decoding.forced_tokens > len(tokens) / 3
    assert len(model.passes) == len(tokens) - decoding.forced_tokens
    assert model.passes[0] > len(PROMPT)
    assert sum(model.passes) < len(PROMPT) + len(tokens)


@pytest.mark.parametrize("seed", range(5))
def test_the_cache_holds_what_was_written(forcing: Forcing, seed: int) -> None:
    """Every choice is the one that the model makes when it reads everything from the beginning."""
    model = tiny.llama(seed)
    vocabulary = tiny.vocabulary()
    decoding = Decoding(vocabulary, guard.compile(PERSON).matcher(vocabulary), max_tokens=200, forcing=forcing)
    counting = _Counting(model)
    tokens = _generate(model, decoding)
    with torch.no_grad():
        whole = model(torch.tensor([[*PROMPT, *tokens]])).logits[0]
    for position, logits in counting.logits:
        torch.testing.assert_close(logits, whole[position], rtol=1e-3, atol=1e-3)


def test_without_a_matcher_the_loop_is_transformers_own(forcing: Forcing) -> None:
    """Greedy decoding of plain text is what generate itself gives."""
    model = tiny.llama(3, padded_to=350)
    decoding = Decoding(tiny.vocabulary(), None, max_tokens=30, forcing=forcing)
    ids = torch.tensor([PROMPT])
    expected = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=30, do_sample=False, eos_token_id=[2, 0]
    )
    assert _generate(model, decoding) == expected[0, len(PROMPT) :].tolist()
    assert decoding.forced_tokens == 0


def test_sampling_is_seeded() -> None:
    """The same seed gives the same text, another seed another one."""
    model = tiny.llama(scale=1.0)

    def sample(seed: int) -> list[int]:
        matcher = guard.compile(PERSON).matcher(tiny.vocabulary())
        return _generate(model, Decoding(tiny.vocabulary(), matcher, max_tokens=100, temperature=1.0, seed=seed))

    assert sample(1) == sample(1)
    assert len({tuple(sample(seed)) for seed in range(5)}) > 1


def test_a_processor_of_the_user_s_can_not_undo_a_mask(forcing: Forcing) -> None:
    """One that raises a single token above all, and one that rules everything out, leave valid values."""
    vocabulary = tiny.vocabulary()

    def insist(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:] = float("-inf")
        scores[:, 50] = 0.0
        return scores

    def refuse(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.full_like(scores, float("-inf"))

    for processor in (insist, refuse):
        decoding = Decoding(vocabulary, guard.compile(PERSON).matcher(vocabulary), max_tokens=100, forcing=forcing)
        decoding(tiny.Noise(0, WIDTH), torch.tensor([PROMPT]), logits_processor=processor)
        _check(PERSON, decoding.text.decode())


def test_logits_that_are_no_numbers_are_an_error() -> None:
    """A model that overflows is told so, not followed."""

    class Broken(tiny.Noise):
        def forward(self, input_ids: torch.Tensor, cache: Any = None, **kwargs: Any) -> Any:
            outputs = super().forward(input_ids, cache, **kwargs)
            outputs.logits[:] = float("nan")
            return outputs

        __call__ = forward

    decoding = Decoding(tiny.vocabulary(), guard.compile(PERSON).matcher(tiny.vocabulary()), max_tokens=100)
    with pytest.raises(ModelError, match="not finite numbers"):
        _run(Broken(0, WIDTH), decoding)


@pytest.mark.parametrize(
    ("ids", "attention", "message"),
    [([[1, 2], [3, 4]], None, "2 rows must be one"), ([[1, 2]], [[0, 1]], "must not hide tokens")],
)
def test_batches_and_padding_are_refused(ids: list[list[int]], attention: Any, message: str) -> None:
    """They are LogitsProcessor's."""
    decoding = Decoding(tiny.vocabulary(), None, max_tokens=5)
    mask = None if attention is None else torch.tensor(attention)
    with pytest.raises(ValueError, match=message):
        decoding(tiny.Noise(0, WIDTH), torch.tensor(ids), attention_mask=mask)


class _Counting:
    """Watches a model's forward passes: how many tokens each was fed, and the logits after the last."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.passes: list[int] = []
        self.logits: list[tuple[int, torch.Tensor]] = []  # (position, logits)
        inner.register_forward_hook(self._watch, with_kwargs=True)

    def _watch(self, _module: Any, _arguments: Any, kwargs: dict[str, Any], outputs: Any) -> None:
        if not isinstance(kwargs.get("cache", kwargs.get("past_key_values")), DynamicCache):
            return  # the test's own pass
        self.passes.append(kwargs["input_ids"].shape[1])
        self.logits.append((sum(self.passes) - 1, outputs.logits[0, -1]))
