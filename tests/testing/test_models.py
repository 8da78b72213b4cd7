"""Models that misbehave: a seed decides everything, however they are asked; and masks hold the worst of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema_rs
import openai
import pytest
from pydantic import BaseModel

import guard
from guard.models import load
from guard.models.base import Reply, Request
from guard.testing import FAULTS, AdversarialModel, FlakyModel, serving
from guard.testing.adversarial import TASTES

ASK = [{"role": "user", "content": "?"}]


class Tree(BaseModel):
    """Something that nests."""

    name: str
    tags: list[str]
    size: int
    child: Tree | None = None


def outcomes(model: Any, count: int = 12) -> list[str]:
    """Return what calls come to."""
    found = []
    for _ in range(count):
        try:
            found.append(repr(guard.Guard(model, retries=1).generate(Tree, ASK)))
        except guard.GuardError as error:
            found.append(type(error).__name__)
    return found


def test_a_flaky_model_s_answers_follow_from_its_seed() -> None:
    first, again, other = FlakyModel(7), FlakyModel(7), FlakyModel(8)
    assert outcomes(first) == outcomes(again)
    assert first.injected == again.injected
    outcomes(other)
    assert other.injected != first.injected


def test_a_flaky_model_without_faults_is_always_valid() -> None:
    model = FlakyModel(1, rate=0.0)
    assert all(text.startswith("Tree(") for text in outcomes(model))
    assert set(model.injected) == {""}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_chosen_fault_happens_every_time(fault: str) -> None:
    model = FlakyModel(3, [fault], rate=1.0)
    outcomes(model, 2)
    assert len({how.partition(" of ")[0] for how in model.injected}) == 1  # near misses are each of a keyword
    assert model.injected[0]


def test_a_flaky_model_says_the_same_in_pieces_and_async() -> None:
    compiled = guard.compile(Tree.model_json_schema())
    request = Request(({"role": "user", "content": "?"},), compiled)

    async def asynchronous(model: FlakyModel) -> Reply:
        return await model.agenerate(request)

    whole = FlakyModel(5, rate=0.0).generate(request)
    *pieces, reply = FlakyModel(5, rate=0.0).stream(request)
    assert reply == whole == asyncio.run(asynchronous(FlakyModel(5, rate=0.0)))
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == whole.text
    assert len(pieces) > 1


@pytest.mark.parametrize(("words", "fault", "rate"), [("faults='nonsense'", "nonsense", 0.5), ("rate=2", "empty", 2)])
def test_what_a_flaky_model_can_t_do_is_said(words: str, fault: str, rate: float) -> None:
    with pytest.raises(ValueError, match=words):
        FlakyModel(0, [fault], rate=rate)


def test_a_flaky_model_behind_an_address_answers_the_schema_of_each_request() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    told: list[str] = []
    with (
        serving(2, rate=0.0, told=lambda ask: told.append(ask.model)) as server,
        openai.OpenAI(base_url=server.url, api_key="none") as client,
    ):
        for _ in range(5):
            asked: Any = {"model": "any", "messages": ASK, "response_format": form}
            reply = client.chat.completions.create(**asked)
            jsonschema_rs.validate(schema, json.loads(reply.choices[0].message.content or ""))
    assert told == ["any"] * 5


@pytest.mark.parametrize("taste", TASTES)
@pytest.mark.parametrize("budget", [40, 300])
def test_masks_hold_a_model_of_the_worst_will_to_a_valid_value_inside_its_budget(taste: str, budget: int) -> None:
    for seed in range(3):
        model = AdversarialModel(seed, taste=taste)
        value, call = guard.Guard(model, max_tokens=budget, repetition="allow").traced(Tree, ASK)
        assert isinstance(value, Tree)
        (attempt,) = call.attempts
        assert attempt.reply is not None
        assert attempt.reply.finish == ("length" if attempt.reply.cut_at else "stop")
        assert attempt.reply.completion_tokens <= budget


@pytest.mark.parametrize("taste", ["far", "deep", "long", "escapes"])
def test_a_model_of_the_worst_will_spends_all_that_it_may(taste: str) -> None:
    _, call = guard.Guard(AdversarialModel(0, taste=taste), max_tokens=300).traced(Tree, ASK)
    assert call.completion_tokens == 300


def test_without_masks_a_model_of_the_worst_will_never_ends() -> None:
    reply = AdversarialModel(0).generate(Request(({"role": "user", "content": "?"},), None, max_tokens=50))
    assert (reply.finish, reply.completion_tokens, reply.mode) == ("length", 50, "prompt")


def test_models_that_misbehave_have_names() -> None:
    flaky, adversarial = load("flaky:7"), load("adversarial:3")
    assert isinstance(flaky, FlakyModel)
    assert (flaky.name, flaky.seed) == ("flaky:7", 7)
    assert isinstance(adversarial, AdversarialModel)
    assert (adversarial.name, adversarial.seed) == ("adversarial:3", 3)
    with pytest.raises(guard.ModelError, match="unknown model 'flaky:x'"):
        load("flaky:x")
