"""Errors and records that another process, or a copy, is handed: with all that they carry."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from scripted import Scripted

import guard
from guard import errors, formats
from guard.models.scripted import ScriptedModel

WAYS: list[Callable[[Any], Any]] = [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy]
VIOLATION = errors.Violation("/a", "minimum", "an integer >= 1", "-4")
FINDING = errors.Finding("/maximum", "maximum", "is no number", "correct it")
ERRORS = [one for name in errors.__all__ if issubclass(one := getattr(errors, name), guard.GuardError)]
CARRIED = st.dictionaries(
    st.sampled_from(["retry_after", "needed", "conversation", "call", "findings", "a_subclass_may_have_more"]),
    st.none() | st.integers() | st.tuples(st.just(VIOLATION)) | st.lists(st.text(max_size=3), max_size=2),
)


@given(kind=st.sampled_from(ERRORS), carried=CARRIED, notes=st.lists(st.text(max_size=5), max_size=2))
def test_an_error_keeps_all_that_it_carries(
    kind: type[guard.GuardError], carried: dict[str, Any], notes: list[str]
) -> None:
    error: Any = guard.SchemaError(FINDING, limit="depth") if kind is guard.SchemaError else kind("said", *())
    for name, value in carried.items():
        if not (kind is guard.SchemaError and name == "findings"):
            setattr(error, name, value)
    for note in notes:
        error.add_note(note)
    for way in WAYS:
        again = way(error)
        assert (type(again), str(again), again.args, vars(again)) == (kind, str(error), error.args, vars(error))


def test_what_an_error_carries_is_there_in_another_process() -> None:
    error = guard.RateLimited("slow down", findings=[VIOLATION], call=3)
    error.retry_after, error.conversation = 3.5, {"messages": [1]}
    error.add_note("seen by the worker")
    again = pickle.loads(pickle.dumps(error))
    assert (again.retry_after, again.conversation, again.findings) == (3.5, {"messages": [1]}, (VIOLATION,))
    assert again.__notes__ == ["seen by the worker"]


class Weather(BaseModel):
    """A day's weather."""

    rain: bool


def weather(city: str, days: int = 1, _id: int = 0) -> str:
    """Say what the weather will be."""
    return f"{city}, {days}, {_id}"


@guard.structured(model="smollm2")
def ask(text: str) -> Weather:
    """Read it."""


CALL = '{"name": "weather", "arguments": {"city": "Bristol", "days": 3, "_id": 4}}'
RAIN = '{"rain": true}'


def told() -> dict[str, Any]:
    """Return what calls return, and what they are made of, by name."""
    turn = guard.Guard(Scripted(f"[{CALL}]")).turn("q", [weather, ask])
    value, record = guard.Guard(Scripted(RAIN)).traced(Weather, "q")
    return {
        "turn": turn,
        "call of a turn": turn.calls[0],
        "call as a type": guard.Guard(Scripted(CALL)).generate(guard.tools.calls(weather, ask), "q"),
        "value": value,
        "record": record,
        "result": next(iter(guard.map(ask.using(model=Scripted(RAIN)), ["q"]))),
        "conversation": guard.run_tools("q", [weather], model=ScriptedModel(f"[{CALL}]", '{"content": "umbrella"}')),
        "format": guard.compile(formats.choice(["a", "b"])),
        "policy": guard.Policy(on={"error": "fail"}),
        "budget": guard.Budget(seconds=3),
        "confidence": guard.Confidence(value=0.5),
    }


@pytest.mark.parametrize("way", WAYS)
def test_what_a_call_returns_is_equal_in_another_process(way: Callable[[Any], Any]) -> None:
    for name, one in told().items():
        again = way(one)
        assert (again, repr(again)) == (one, repr(one)), name


@pytest.mark.parametrize("way", WAYS)
def test_what_is_equal_has_one_hash(way: Callable[[Any], Any]) -> None:
    for name in ("turn", "call of a turn", "record", "result", "format", "policy", "budget"):
        one = told()[name]
        assert hash(way(one)) == hash(one), name


@pytest.mark.parametrize("way", WAYS)
def test_a_call_of_a_tool_runs_where_it_was_sent(way: Callable[[Any], Any]) -> None:
    found = told()
    assert way(found["turn"]).calls[0].run() == way(found["call as a type"]).run() == "Bristol, 3, 4"


def test_a_tool_without_a_name_stays_where_it_is() -> None:
    def local(city: str) -> str:
        """Say it."""
        return city

    call = guard.Guard(Scripted('[{"name": "local", "arguments": {"city": "Ulm"}}]')).turn("q", [local]).calls[0]
    assert copy.deepcopy(call).run() == copy.copy(call).run() == "Ulm"
    again = pickle.loads(pickle.dumps(call))
    assert again == call
    with pytest.raises(TypeError, match=r"local was given as JSON, or in another process"):
        again.run()


@pytest.mark.parametrize("way", [WAYS[0], WAYS[2]])
def test_a_scripted_model_is_sent_with_the_answers_that_are_left(way: Callable[[Any], Any]) -> None:
    model = ScriptedModel('{"rain": false}', RAIN, figures={"cost": 1.0})
    assert guard.Guard(model).generate(Weather, "q") == Weather(rain=False)
    again = way(model)
    value, call = guard.Guard(again).traced(Weather, "q")
    assert (value, call.cost, len(again.requests), len(model.requests)) == (Weather(rain=True), 1.0, 1, 1)
