"""Tools: a signature as a type, and its value run."""

from __future__ import annotations

import functools
import inspect
import json
import math
import typing
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from scripted import Scripted

import guard
from guard.models.scripted import ScriptedModel

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


#: Names that Pydantic has its own use for, and some that look like those that Guard gives their fields.
# fmt: off
NAMES = [
    "_id", "__b", "__class__", "__init__", "__len__", "model_config", "model_dump", "model_validate",
    "model_post_init", "model_x", "schema", "json", "copy", "dict", "register", "parameter_x", "parameter__id",
    "name", "arguments", "run", "built", "self", "cls", "values", "city",
]
# fmt: on


@pytest.mark.filterwarnings("error")
@given(names=st.lists(st.sampled_from(NAMES), unique=True, max_size=6))
def test_every_parameter_is_in_the_schema_and_is_passed_on(names: list[str]) -> None:
    def tool(**given: int) -> object:
        return given

    given: Any = tool
    given.__annotations__ = dict.fromkeys([*names, "last"], int)
    given.__signature__ = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in tool.__annotations__]
    )
    arguments = {name: number for number, name in enumerate([*names, "last"])}
    schema = guard.tools.schema(tool)
    assert [*schema["properties"]] == schema["required"] == [*arguments]
    text = json.dumps({"name": "tool", "arguments": arguments})
    call = guard.Guard(Scripted(text), retries=0).generate(guard.tools.calls(tool), ASK)
    turn = guard.Guard(Scripted(f"[{text}]"), retries=0).turn(ASK, [tool])
    assert call.run() == turn.calls[0].run() == turn.calls[0].arguments == arguments


def test_a_parameter_that_pydantic_has_its_own_use_for_is_a_finding_by_its_name() -> None:
    def find(_id: int, schema: str = "public") -> str:
        """Find a row."""
        return f"{schema}.{_id}"

    assert guard.tools.schema(find) == {
        "type": "object",
        "title": "find_arguments",
        "properties": {
            "_id": {"type": "integer", "title": "Id"},
            "schema": {"type": "string", "title": "Schema", "default": "public"},
        },
        "required": ["_id"],
        "additionalProperties": False,
    }
    call = guard.Guard(Scripted('{"name": "find", "arguments": {"_id": 7, "schema": "own"}}')).generate(
        guard.tools.calls(find), ASK
    )
    assert (call.run(), call.arguments.schema) == ("own.7", "own")
    with pytest.raises(guard.ValidationFailed) as caught:
        guard.Guard(Scripted('[{"name": "find", "arguments": {"_id": "x"}}]'), retries=0).turn(ASK, [find])
    assert [finding.at for finding in caught.value.findings] == ["/0/arguments/_id"]


class Place(typing.TypedDict, total=False):
    lat: float


def test_a_parameter_may_be_of_any_typed_dict_and_have_any_default() -> None:
    """Before Python 3.12, Pydantic takes those of typing_extensions only."""

    def find(place: Place, others: list[Place] = [], within: float = math.inf) -> str:  # noqa: B006 (as users write it)
        """Find it."""
        return f"{place} {others} {within}"

    reply = '[{"name": "find", "arguments": {"place": {"lat": 1}, "others": [{}]}}]'
    turn = guard.Guard(ScriptedModel(reply)).turn("?", [find], tool_choice="required")
    assert turn.calls[0].run() == "{'lat': 1.0} [{}] inf"


def test_a_type_that_cannot_be_found_is_said_with_a_way_out() -> None:
    class Local(BaseModel):
        n: int

    def tool(one: Local) -> str:
        """Take it."""
        return str(one.n)

    with pytest.raises(TypeError) as caught:
        guard.tools.calls(tool)
    assert str(caught.value) == (
        "tool's annotations can't be read: name 'Local' is not defined; define the type in the module, or leave out "
        "`from __future__ import annotations`"
    )
