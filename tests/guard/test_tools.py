"""Tools: a signature as a type, and its value run."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from scripted import Scripted

import guard

ASK = [{"role": "user", "content": "Will it rain in Oslo?"}]


def weather(city: str, days: Annotated[int, Field(ge=1, le=7)] = 1) -> str:
    """Tell the weather."""
    return f"{city} for {days}"


def lamp(*, state: Literal["on", "off"]) -> bool:
    """Switch the lamp."""
    return state == "on"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}', "Oslo for 3"),
        ('{"name": "weather", "arguments": {"city": "Oslo"}}', "Oslo for 1"),
        ('{"name": "lamp", "arguments": {"state": "off"}}', False),
    ],
)
def test_the_model_chooses_a_function_and_its_arguments(text: str, result: object) -> None:
    call = guard.Guard(Scripted(text)).generate(guard.tools.calls(weather, lamp), ASK)
    assert call.run() == result


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ('{"name": "weather", "arguments": {"city": "Oslo", "days": 9}}', "/arguments/days"),
        ('{"name": "lamp", "arguments": {"city": "Oslo"}}', "/arguments/state"),
        ('{"name": "door", "arguments": {}}', ""),
    ],
)
def test_what_a_signature_does_not_allow_is_a_finding(text: str, at: str) -> None:
    with pytest.raises(guard.ValidationFailed) as caught:
        guard.Guard(Scripted(text), retries=0).generate(guard.tools.calls(weather, lamp), ASK)
    assert at in {finding.at for finding in caught.value.findings}


def test_a_signature_that_nothing_can_meet_is_refused_beside_others() -> None:
    def never(n: Annotated[int, Field(ge=5, le=3)]) -> int:
        return n

    with pytest.raises(guard.SchemaError, match="/n: nothing can meet it"):
        guard.tools.calls(weather, never)


def test_the_masks_know_the_signatures() -> None:
    compiled = guard.compile(guard.tools.calls(weather, lamp))
    vocabulary = guard.Vocabulary.from_bytes([bytes([b]) for b in range(256)] + [b"<eos>"], eos=[256])
    matcher = compiled.matcher(vocabulary)
    assert matcher.accept_bytes(b'{"name": "lamp", "arguments": {"state": "o')
    assert not matcher.accept_bytes(b"p")


def test_one_function_is_a_type_of_its_own() -> None:
    call = guard.Guard(Scripted('{"name": "lamp", "arguments": {"state": "on"}}')).generate(
        guard.tools.calls(lamp), ASK
    )
    assert (call.name, call.arguments.state, call.run()) == ("lamp", "on", True)


def _bare(x) -> None:
    """Lack an annotation."""


def _rest(*rest: int) -> None:
    """Take what can't be named."""


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ((), "needs at least one function"),
        ((lamp, lamp), "must name each function once"),
        ((_bare,), "the parameter x has no annotation"),
        ((_rest,), "can't be given by name in JSON"),
        ((functools.partial(lamp, state="on"),), "must be a function, a Pydantic model or JSON"),
        ((3,), "must be a function, a Pydantic model or JSON"),
    ],
)
def test_what_is_no_tool_says_so(functions: Any, words: str) -> None:
    with pytest.raises(TypeError) as caught:
        guard.tools.calls(*functions)
    assert words in str(caught.value)
