"""Models for tests, asked in every way, and the faults that they inject through the whole pipeline."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

import guard
from guard.errors import CallError, Refused, Unavailable
from guard.models.base import Model, Reply, Request
from guard.models.scripted import ERRORS, FAULTS, REPLIES, FaultyModel, ScriptedModel, reply, split

REQUEST = Request(({"role": "user", "content": "?"},), None)
TEXT = '{"name": "Ann", "age": 44}'


class Person(BaseModel):
    name: str
    age: int


def streamed(model: Any) -> tuple[list[str], Reply]:
    *pieces, last = model.stream(REQUEST)
    return pieces, last


def async_streamed(model: Any) -> tuple[list[str], Reply]:
    async def collected() -> list[Any]:
        return [part async for part in model.astream(REQUEST)]

    *pieces, last = asyncio.run(collected())
    return pieces, last


@pytest.mark.parametrize("way", [streamed, async_streamed])
@pytest.mark.parametrize(
    ("options", "pieces"),
    [
        ({}, [TEXT]),
        ({"pieces": 10}, [TEXT[:10], TEXT[10:20], TEXT[20:]]),
        ({"pieces": [1, 9]}, [TEXT[0], TEXT[1:9], TEXT[9:]]),
    ],
)
def test_a_text_is_streamed_in_the_pieces_asked_for(way: Any, options: dict[str, Any], pieces: list[str]) -> None:
    assert way(ScriptedModel(TEXT, **options)) == (pieces, reply(TEXT))


def test_random_pieces_are_the_seed_s() -> None:
    several = [streamed(ScriptedModel(TEXT, seed=seed))[0] for seed in range(20)]
    assert several == [streamed(ScriptedModel(TEXT, seed=seed))[0] for seed in range(20)]
    assert all("".join(pieces) == TEXT and all(pieces) for pieces in several)
    assert len({len(pieces) for pieces in several}) > 3
    assert split("", 3) == []


def test_every_kind_of_answer_is_given_in_turn() -> None:
    whole = reply("whole", finish="length")
    model = ScriptedModel("a", whole, Unavailable("gone"), lambda request: request.messages[0]["content"], name="m")
    assert isinstance(model, Model)
    assert model.generate(REQUEST) == reply("a", model="m")
    assert asyncio.run(model.agenerate(REQUEST)) is whole
    with pytest.raises(Unavailable):
        model.generate(REQUEST)
    assert model.generate(REQUEST).text == "?"
    assert model.requests == [REQUEST] * 4
    with pytest.raises(AssertionError, match="once more than it has answers"):
        model.generate(REQUEST)


def test_a_closed_stream_is_counted() -> None:
    model = ScriptedModel(TEXT, pieces=3)
    stream = model.stream(REQUEST)
    next(stream)
    stream.close()
    assert model.closed == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_what_it_says(fault: str) -> None:
    model = FaultyModel(ScriptedModel(*[TEXT] * 4), [fault], rate=1)
    if fault in ERRORS:
        for ask in (model.generate, lambda r: asyncio.run(model.agenerate(r)), lambda r: list(model.stream(r))):
            with pytest.raises(CallError) as caught:
                ask(REQUEST)
            assert type(caught.value) is type(ERRORS[fault]("m"))
        return
    spoiled = model.generate(REQUEST)
    assert spoiled != reply(TEXT)
    assert asyncio.run(model.agenerate(REQUEST)) == spoiled
    for pieces, last in (streamed(model), async_streamed(model)):
        assert ("".join(pieces), last) == (spoiled.text, spoiled)
    assert model.injected == [fault] * 4


def test_faults_are_the_seed_s() -> None:
    def injected(seed: int) -> list[str]:
        model = FaultyModel(ScriptedModel(*[TEXT] * 50), list(REPLIES), seed=seed)
        for _ in range(50):
            model.generate(REQUEST)
        return model.injected

    assert injected(1) == injected(1) != injected(2)
    assert 10 < injected(1).count("") < 40
    with pytest.raises(ValueError, match="must be among"):
        FaultyModel(ScriptedModel(), ["nonesuch"])


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_ends_in_the_value_or_a_typed_error(fault: str) -> None:
    """With a good second tier the value comes in spite of any fault, unless the model declined."""
    faulty = FaultyModel(ScriptedModel(*[TEXT] * 9, name="faulty"), [fault], rate=1)
    tiers = guard.Guard(model=faulty, escalate_to=ScriptedModel(TEXT, name="good"), retries=1)
    alone = guard.Guard(model=FaultyModel(ScriptedModel(*[TEXT] * 9), [fault], rate=1), retries=1)
    messages = [{"role": "user", "content": "Who?"}]
    if fault in ("refusal", "filtered"):
        with pytest.raises(Refused):
            tiers.generate(Person, messages)
        return
    expected = Person(name="Ann", age=44)
    assert tiers.generate(Person, messages) == expected
    if fault in ("prose", "fences", "extra key"):  # what the text holds is not lost
        assert alone.generate(Person, messages) == expected
        return
    with pytest.raises(CallError) as caught:
        alone.generate(Person, messages)
    assert caught.value.attempts


def test_a_fault_that_comes_and_goes_is_asked_away() -> None:
    faulty = FaultyModel(ScriptedModel(*[TEXT] * 9), ["wrong type"], seed=3, rate=0.5)
    for _ in range(3):
        assert guard.Guard(model=faulty, retries=5).generate(Person, [{"role": "user", "content": "Who?"}]).age == 44
    assert "wrong type" in faulty.injected
