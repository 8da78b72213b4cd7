"""Turns: what a model may do with tools, whichever model it is; loops of calls and results."""

from __future__ import annotations

import asyncio
import datetime
import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

import guard
from guard.models.scripted import ScriptedModel
from guard.turns import value


def weather(city: str, day: datetime.date = datetime.date(2026, 1, 1)) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city} on {day:%d.%m.%Y}"


class Note(BaseModel):
    """Keep a note."""

    words: str


BALANCE = {
    "name": "balance",
    "description": "Tell a balance.",
    "parameters": {"type": "object", "properties": {"account": {"type": "integer"}}, "required": ["account"]},
}


def asked(model: Any, tmp_path: Path, **settings: Any) -> guard.Guard:
    return guard.Guard(model=model, trace=tmp_path / "trace.db", **settings)


def test_a_tool_may_be_named_in_openais_form(tmp_path: Path) -> None:
    said = '{"content": "", "calls": [{"name": "balance", "arguments": {"account": 7}}]}'
    form = {"type": "function", "function": {"name": "balance"}}
    (call,) = asked(ScriptedModel(said), tmp_path).turn("?", [weather, BALANCE], tool_choice=form).calls
    assert call.arguments == {"account": 7}
    with pytest.raises(ValueError, match=r"tool_choice=.*must be"):
        asked(ScriptedModel(said), tmp_path).turn("?", [BALANCE], tool_choice={"type": "tool"})


@pytest.mark.parametrize("name", ["none", "auto", "required"])
def test_a_tool_that_is_named_as_a_choice_is_never_taken_for_it(name: str, tmp_path: Path) -> None:
    """To demand a tool "none" forbade all calls."""
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}]
    form = {"type": "function", "function": {"name": name}}
    with pytest.raises(ValueError, match="another name"):
        asked(ScriptedModel("Hi"), tmp_path).turn("?", tools, tool_choice=form)
    said = json.dumps({"content": "", "calls": [{"name": name, "arguments": {}}]})
    assert asked(ScriptedModel(said), tmp_path).turn("?", tools).calls[0].name == name


def test_calls_come_checked_and_as_the_functions_own_types(tmp_path: Path) -> None:
    said = '{"content": "I look.", "calls": [{"name": "weather", "arguments": {"city": "Ulm", "day": "2026-02-03"}}]}'
    turn = asked(ScriptedModel(said), tmp_path).turn("Weather in Ulm?", [weather, Note, BALANCE])
    (call,) = turn.calls
    assert (turn.text, call.name, call.arguments) == ("I look.", "weather", {"city": "Ulm", "day": "2026-02-03"})
    assert call.built.day == datetime.date(2026, 2, 3)
    assert call.run() == "sunny in Ulm on 03.02.2026"
    assert turn.message["tool_calls"][0]["function"] == {"name": "weather", "arguments": json.dumps(call.arguments)}
    assert call.result({"a": 1}) == {"role": "tool", "tool_call_id": call.id, "name": "weather", "content": '{"a":1}'}
    assert turn.record.outcome == "valid"


def test_tools_of_each_kind(tmp_path: Path) -> None:
    said = '[{"name": "Note", "arguments": {"words": "x"}}, {"name": "balance", "arguments": {"account": 7}}]'
    note, balance = asked(ScriptedModel(said), tmp_path).turn("?", [weather, Note, BALANCE]).calls
    assert note.built == Note(words="x")
    assert balance.built is None
    with pytest.raises(TypeError, match="was given as JSON"):
        balance.run()
    assert note.id != balance.id


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"city": "Ulm", "day": "2026-02-30"}, "day: expected a valid date"),  # only the type knows
        ({"city": 3}, "city: expected a valid string"),
        ({"city": "Ulm", "more": 1}, "more: expected no such property"),
    ],
)
def test_a_wrong_call_is_shown_back_as_a_call_and_asked_again(tmp_path: Path, arguments: Any, words: str) -> None:
    wrong = json.dumps([{"name": "weather", "arguments": arguments}])
    model = ScriptedModel(wrong, '[{"name": "weather", "arguments": {"city": "Ulm"}}]')
    turn = asked(model, tmp_path).turn("Weather in Ulm?", [weather])
    *_, call, result = turn.record.attempts[1].messages
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == arguments
    assert words in result["content"]
    assert turn.calls[0].arguments == {"city": "Ulm"}


@pytest.mark.parametrize(
    ("said", "settings", "is_let_through"),
    [
        ('{"content": "No."}', {}, True),
        ('{"content": "No."}', {"tool_choice": "required"}, False),
        ('{"content": "No."}', {"tool_choice": "weather"}, False),
        ('[{"name": "balance", "arguments": {"account": 1}}]', {"tool_choice": "weather"}, False),
        ('[{"name": "balance", "arguments": {"account": 1}}]', {"tool_choice": "none"}, False),
        ('[{"name": "balance", "arguments": {"account": 1}}]', {"tool_choice": "required"}, True),
        ('[{"name": "balance", "arguments": {"account": 1.5}}]', {}, False),
        ('[{"name": "other", "arguments": {}}]', {}, False),
    ],
)
def test_what_a_choice_of_tools_allows(
    tmp_path: Path, said: str, settings: dict[str, Any], is_let_through: bool
) -> None:
    ask = asked(ScriptedModel(said), tmp_path, retries=0)
    if is_let_through:
        ask.turn("?", [weather, BALANCE], **settings)
    else:
        with pytest.raises(guard.ValidationFailed):
            ask.turn("?", [weather, BALANCE], **settings)


def test_so_many_calls_as_were_allowed(tmp_path: Path) -> None:
    two = json.dumps([{"name": "balance", "arguments": {"account": n}} for n in range(2)])
    ask = asked(ScriptedModel(two, two, two), tmp_path, retries=0)
    assert len(ask.turn("?", [BALANCE]).calls) == 2
    for settings in ({"parallel": False}, {"max_calls": 1}):
        with pytest.raises(guard.ValidationFailed):
            ask.turn("?", [BALANCE], **settings)


def test_a_named_tool_is_called_exactly_once(tmp_path: Path) -> None:
    one = {"name": "balance", "arguments": {"account": 7}}
    ask = asked(ScriptedModel(json.dumps([one, one]), json.dumps([one])), tmp_path)
    turn = ask.turn("?", [weather, BALANCE], tool_choice="balance", max_calls=3)
    assert [call.arguments for call in turn.calls] == [{"account": 7}]
    assert [finding.expected for finding in turn.record.attempts[0].findings] == ["at most 1 items"]


@pytest.mark.parametrize("settings", [{}, {"repetition": "allow"}])
def test_a_call_that_comes_over_and_over_is_marked(tmp_path: Path, settings: dict[str, Any]) -> None:
    calls = [{"name": "balance", "arguments": {"account": n}} for n in (1, *[2] * 7, 1, *[3] * 8)]
    for said, at in ((calls, ("",)), (calls[:-1], ()), ({"content": "x", "calls": calls}, ("/calls",))):
        turn = asked(ScriptedModel(json.dumps(said)), tmp_path, **settings).turn("?", [BALANCE], tool_choice="required")
        assert len(turn.calls) >= len(calls) - 1
        assert turn.record.repeated_at == (() if settings else at)


def test_a_turn_that_ends_at_the_limit_of_calls_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = json.dumps([{"name": "balance", "arguments": {"account": n}} for n in range(value.MOST_CALLS)])
    assert len(asked(ScriptedModel(said), tmp_path).turn("?", [BALANCE]).calls) == 32
    assert caplog.messages == ["a turn ends at 32 calls, and may have had more to make; max_calls allows more"]


def test_an_answer_without_calls_is_of_the_type(tmp_path: Path) -> None:
    ask = asked(ScriptedModel('{"content": {"words": "x"}}'), tmp_path)
    turn = ask.turn("?", [weather], response=Note)
    assert turn.value == Note(words="x")
    assert not turn.calls
    with pytest.raises(guard.ValidationFailed, match="content"):
        asked(ScriptedModel('{"content": {"words": 3}}'), tmp_path, retries=0).turn("?", [weather], response=Note)


@pytest.mark.parametrize(
    ("tools", "settings", "words"),
    [
        ([weather, weather], {}, "'weather' twice"),
        ([{"description": "x"}], {}, "has no name"),
        ([{"name": "x", "parameters": {"type": "string"}}], {}, "no object's schema"),
        ([{"type": "web_search"}], {}, "no function"),
        ([weather], {"tool_choice": "wether"}, "must be one of"),
        ([], {"tool_choice": "required"}, "needs tools"),
        ([weather], {"max_calls": 0}, "max_calls=0"),
        ([weather], {"max_calls": "3"}, "max_calls='3' must be a whole number"),
        ([weather], {"parallel": "no"}, "parallel='no' must be True or False"),
        ([weather], {"call_bias": "1"}, "call_bias='1' must be a number"),
        ([3], {}, "must be a function, a Pydantic model or JSON"),
        ("weather", {}, "must be a list"),
        ([weather], {"tool_chioce": "auto"}, "tool_choice"),
        ([weather], {"call_bias": float("inf")}, "call_bias=inf"),
    ],
)
def test_wrong_tools_are_named(tmp_path: Path, tools: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        asked(ScriptedModel("{}"), tmp_path).turn("?", tools, **settings)


def never(n: Annotated[int, Field(ge=5, le=3)]) -> int:
    """Return it."""
    return n


@pytest.mark.parametrize(
    ("tools", "choice"),
    [
        *(([never], choice) for choice in ("auto", "required", "never")),
        *(([weather, never], choice) for choice in ("auto", "required", "weather", "never")),
        *(([never, weather], choice) for choice in ("auto", "required", "weather", "never")),
    ],
)
def test_a_tool_whose_arguments_nothing_can_meet_is_refused_before_a_model_is_asked(
    tmp_path: Path, tools: list[Any], choice: str
) -> None:
    model = ScriptedModel("{}")
    words = (
        "/properties/n: nothing can meet it, in the arguments of the tool 'never'; "
        "correct what contradicts itself: type, maximum, minimum"
    )
    with pytest.raises(guard.SchemaError) as raised:
        asked(model, tmp_path).turn("?", tools, tool_choice=choice)
    assert (str(raised.value), raised.value.keyword) == (words, "minimum")
    with pytest.raises(guard.SchemaError, match="the tool 'never'"):
        guard.run_tools("?", tools, tool_choice=choice, model=model, trace=tmp_path / "trace.db")
    assert not model.requests


def test_tools_that_can_not_be_called_are_not_looked_into(tmp_path: Path) -> None:
    turn = asked(ScriptedModel('{"content": "No."}'), tmp_path).turn("?", [never], tool_choice="none")
    assert turn.text == "No."


@pytest.mark.parametrize("turns", [0, "3", 1.5, None])
def test_a_wrong_number_of_turns_is_named(turns: Any) -> None:
    with pytest.raises(ValueError, match=f"max_turns={turns!r} must be"):
        guard.run_tools("?", [weather], model=ScriptedModel("{}"), max_turns=turns)


def test_ids_are_the_same_for_a_conversation_and_others_in_its_next_turn(tmp_path: Path) -> None:
    said = '[{"name": "balance", "arguments": {"account": 1}}]'
    ask = asked(ScriptedModel(said, said, said), tmp_path)
    first, again = ask.turn("?", [BALANCE]), ask.turn("?", [BALANCE])
    assert first.calls[0].id == again.calls[0].id
    then = [{"role": "user", "content": "?"}, first.message, first.calls[0].result("3")]
    assert ask.turn(then, [BALANCE]).calls[0].id != first.calls[0].id


# ---- loops -----------------------------------------------------------------------------------------------------------


def test_tools_run_until_the_model_answers(tmp_path: Path) -> None:
    model = ScriptedModel(
        '[{"name": "weather", "arguments": {"city": "Ulm"}}, {"name": "weather", "arguments": {"city": "Bonn"}}]',
        '{"content": "Sunny in both."}',
    )
    done = guard.run_tools("Weather?", [weather], model=model, trace=tmp_path / "trace.db")
    assert done.text == "Sunny in both."
    assert [message["role"] for message in done.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert done.messages[3]["content"] == "sunny in Bonn on 01.01.2026"
    assert [record.outcome for record in done.records] == ["valid", "valid"]
    assert done.messages[2]["tool_call_id"] == done.turns[0].calls[0].id


def test_async_tools_run_side_by_side(tmp_path: Path) -> None:
    both = asyncio.Event()

    async def one() -> int:
        """Wait for the other."""
        await both.wait()
        return 1

    async def other() -> int:
        """Let it go."""
        both.set()
        return 2

    model = ScriptedModel('[{"name": "one", "arguments": {}}, {"name": "other", "arguments": {}}]', '{"content": "3"}')
    settings: Any = {"model": model, "trace": tmp_path / "trace.db"}
    done = asyncio.run(guard.arun_tools("?", [one, other], **settings))
    assert [message["content"] for message in done.messages[2:4]] == ["1", "2"]
    with pytest.raises(TypeError, match="use arun_tools"):
        guard.run_tools("?", [one], **settings)


def test_no_tool_runs_on_once_another_one_has_raised(tmp_path: Path) -> None:
    ended: list[str] = []

    async def slow() -> str:
        """Take long."""
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("slow")
        return ""

    async def fails() -> str:
        """Fail."""
        raise LookupError

    async def ask() -> set[Any]:
        model = ScriptedModel('[{"name": "slow", "arguments": {}}, {"name": "fails", "arguments": {}}]')
        with pytest.raises(LookupError):
            await guard.arun_tools("?", [slow, fails], model=model, trace=tmp_path / "trace.db", on_error="raise")
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert (asyncio.run(ask()), ended) == (set(), ["slow"])


def test_a_tool_that_raises_stop_iteration_does_not_hang(tmp_path: Path) -> None:
    """Before Python 3.12 no future takes it: the conversation waited forever."""

    def fails() -> str:
        """Fail."""
        return next(iter(()))

    async def ask() -> guard.Conversation:
        model = ScriptedModel('[{"name": "fails", "arguments": {}}]', '{"content": "Sorry."}')
        return await asyncio.wait_for(guard.arun_tools("?", [fails], model=model, trace=tmp_path / "trace.db"), 30)

    assert "StopIteration" in asyncio.run(ask()).messages[2]["content"]


def test_what_a_tool_raises_is_told_or_raised(tmp_path: Path) -> None:
    def fails(city: str) -> str:
        """Fail."""
        raise LookupError(city)

    said = '[{"name": "fails", "arguments": {"city": "Ulm"}}]', '{"content": "Sorry."}'
    settings: Any = {"trace": tmp_path / "trace.db"}
    done = guard.run_tools("?", [fails], model=ScriptedModel(*said), **settings)
    assert done.messages[2]["content"] == "fails failed: LookupError: Ulm"
    with pytest.raises(LookupError, match="Ulm"):
        guard.run_tools("?", [fails], model=ScriptedModel(*said), on_error="raise", **settings)


def test_a_model_that_never_ends_costs_so_many_turns_and_nothing_is_lost(tmp_path: Path) -> None:
    said = '[{"name": "weather", "arguments": {"city": "Ulm"}}]'
    settings: Any = {"model": ScriptedModel(*[said] * 9), "trace": tmp_path / "trace.db"}
    with pytest.raises(guard.BudgetExceeded, match="max_turns=3") as raised:
        guard.run_tools("?", [weather], max_turns=3, **settings)
    assert len(raised.value.conversation.turns) == 3
    assert raised.value.conversation.messages[-1]["content"].startswith("sunny")


def test_one_budget_holds_over_all_turns(tmp_path: Path) -> None:
    said = '[{"name": "weather", "arguments": {"city": "Ulm"}}]'
    settings: Any = {"model": ScriptedModel(*[said] * 9), "trace": tmp_path / "trace.db"}
    with pytest.raises(guard.BudgetExceeded) as raised:
        guard.run_tools("?", [weather], budget=guard.Budget(tokens=200), **settings)
    replies = [record.attempts[0].reply for record in raised.value.conversation.records]
    used = [reply.prompt_tokens + reply.completion_tokens for reply in replies if reply is not None]
    assert sum(used[:-1]) < 200  # what a turn costs is known once it was asked for
    assert len(used) < 9


def test_a_structured_function_may_call_before_it_answers(tmp_path: Path) -> None:
    model = ScriptedModel('[{"name": "weather", "arguments": {"city": "Ulm"}}]', '{"content": {"words": "sunny"}}')

    @guard.structured(model=model, trace=tmp_path / "trace.db", tools=[weather])
    def note(question: str) -> Note:
        """Answer with a note."""

    value, record = note.traced("Weather in Ulm?")
    assert value == Note(words="sunny")
    assert record.function.endswith("note")
    assert any(message["role"] == "tool" for message in record.attempts[0].messages)


def test_a_function_with_tools_is_streamed_and_planned_nowhere(tmp_path: Path) -> None:
    model = ScriptedModel('{"words": "sunny"}')

    @guard.structured(model=model, trace=tmp_path / "trace.db", tools=[weather])
    def note(question: str) -> Note:
        """Answer with a note."""

    @guard.structured(model=model, trace=tmp_path / "trace.db", tools=[weather])
    async def anote(question: str) -> Note:
        """Answer with a note."""

    for refused, name in ((note.stream, "stream"), (anote.stream, "stream"), (note.plan, "plan")):
        with pytest.raises(TypeError, match=rf"^{name}\(\) asks .*note in one turn, and its tools need more; call it"):
            refused("Weather in Ulm?")
    assert model.requests == []


# ---- the value -------------------------------------------------------------------------------------------------------


@given(
    st.text(),
    st.lists(st.tuples(st.text(min_size=1), st.dictionaries(st.text(), st.integers() | st.text())), max_size=4),
)
def test_a_turn_as_text_reads_back(content: str, calls: list[tuple[str, Any]]) -> None:
    text = value.written(content, [(name, json.dumps(arguments)) for name, arguments in calls])
    said, made = value.read(json.loads(text))
    assert (said or "") == content
    assert [(call["name"], call["arguments"]) for call in made] == calls


# ---- in pieces -------------------------------------------------------------------------------------------------------


def test_a_turn_is_streamed_and_said_to_be_void_where_it_is_asked_again(tmp_path: Path) -> None:
    wrong = '{"content": "Yes", "calls": [{"name": "balance", "arguments": {}}]}'
    model = ScriptedModel(wrong, '{"content": "I am well."}', pieces=3)
    with asked(model, tmp_path).stream_turn("How are you?", [BALANCE]) as stream:
        events = list(stream)
    assert stream.turn is not None
    at = [event.kind for event in events].index("again")
    assert "".join(event.text for event in events[:at]) == "Yes"
    assert "".join(event.text for event in events[at:]) == stream.turn.text == "I am well."


def test_a_turn_is_streamed_async(tmp_path: Path) -> None:
    async def told() -> tuple[str, Any]:
        model = ScriptedModel('{"content": "I am well."}', pieces=5)
        async with asked(model, tmp_path).astream_turn("How are you?", [BALANCE]) as stream:
            said = "".join([event.text async for event in stream])
            return said, stream.turn

    said, turn = asyncio.run(told())
    assert said == turn.text == "I am well."
