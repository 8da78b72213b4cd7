"""A model that decodes here calls tools as its own chat template does: choices, several calls, live pieces, loops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import tiny
from sidecars import Reply, Sidecar, serving_here

LAMP = {
    "type": "function",
    "function": {
        "name": "lamp",
        "description": "Turn a lamp on or off.",
        "parameters": {
            "type": "object",
            "properties": {"on": {"type": "boolean"}, "room": {"enum": ["hall", "attic"]}},
            "required": ["on", "room"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "parameters": {"type": "object", "additionalProperties": False}},
}
NAMES = {"lamp", "clock"}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Start a sidecar whose model decodes here, and has a template that knows tools."""
    with serving_here(tmp_path_factory.mktemp("local"), template=tiny.TOOLS) as sidecar:
        yield sidecar


def ask(here: Sidecar, seed: int, **fields: Any) -> Reply:
    reply = here.chat(tools=[LAMP, CLOCK], seed=seed, temperature=1.0, max_tokens=200, **fields)
    assert reply.status == 200, reply.json
    return reply


def called(message: Any) -> list[tuple[str, Any]]:
    calls = message.get("tool_calls") or []
    found = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    for name, arguments in found:
        assert name in NAMES
        assert arguments.keys() == ({"on", "room"} if name == "lamp" else set())
    assert len({call["id"] for call in calls}) == len(calls)
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("choice", ["auto", "required", "none", {"type": "function", "function": {"name": "lamp"}}])
def test_a_choice_holds(here: Sidecar, choice: Any, seed: int) -> None:
    message = ask(here, seed, tool_choice=choice).json["choices"][0]["message"]
    found = called(message)
    assert "<tool_call>" not in (message["content"] or "")
    if choice == "required":
        assert found
    elif choice == "none":
        assert not found
    elif choice != "auto":
        assert [name for name, _ in found] == ["lamp"]


def test_several_calls_may_come_unless_told_not_to(here: Sidecar) -> None:
    counts = {len(called(ask(here, seed, tool_choice="required").json["choices"][0]["message"])) for seed in range(12)}
    assert max(counts) > 1
    alone = {"tool_choice": "required", "parallel_tool_calls": False}
    assert {len(called(ask(here, seed, **alone).json["choices"][0]["message"])) for seed in range(12)} == {1}


def test_allowed_tools_are_those_that_are_called(here: Sidecar) -> None:
    some = {"mode": "required", "tools": [{"type": "function", "function": {"name": "clock"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": some}
    for seed in range(4):
        found = called(ask(here, seed, tool_choice=choice).json["choices"][0]["message"])
        assert {name for name, _ in found} == {"clock"}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_pieces_make_the_whole(here: Sidecar, choice: str, seed: int) -> None:
    whole = ask(here, seed, tool_choice=choice).json["choices"][0]
    events = ask(here, seed, tool_choice=choice, stream=True).events
    assert events[-1] == "[DONE]"
    deltas = [event["choices"][0]["delta"] for event in events[:-1] if event["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == (whole["message"]["content"] or "")
    calls: dict[int, list[str]] = {}
    pieces = 0
    for delta in deltas:
        for call in delta.get("tool_calls") or []:
            parts = calls.setdefault(call["index"], ["", ""])
            parts[0] += call["function"].get("name", "")
            parts[1] += call["function"].get("arguments", "")
            pieces += 1
    found = [(name, json.loads(arguments)) for name, arguments in calls.values()]
    assert found == called(whole["message"])
    if any(name == "lamp" for name, _ in found):
        assert pieces > len(found) + 1  # arguments come as they are written
    finish = [event["choices"][0]["finish_reason"] for event in events[:-1] if event["choices"]][-1]
    assert finish == whole["finish_reason"]


def test_results_go_back_in_the_templates_own_form(here: Sidecar) -> None:
    first = ask(here, 1, tool_choice="required").json["choices"][0]["message"]
    answers = [{"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in first["tool_calls"]]
    then = [{"role": "user", "content": "Light!"}, first, *answers]
    reply = here.chat(messages=then, tools=[LAMP, CLOCK], tool_choice="none", max_tokens=20)
    assert reply.status == 200, reply.json
    assert reply.json["choices"][0]["message"]["content"]


@pytest.mark.parametrize("template", [tiny.KIMI, tiny.MISTRAL], ids=["Kimi", "Mistral"])
def test_ids_are_unique_over_a_conversation_whose_template_has_its_own(
    tmp_path_factory: pytest.TempPathFactory, template: str
) -> None:
    with serving_here(tmp_path_factory.mktemp("native"), template=template) as sidecar:
        messages: list[Any] = [{"role": "user", "content": "Light!"}]
        ids: list[str] = []
        for seed in range(3):
            message = ask(sidecar, seed, messages=messages, tool_choice="required").json["choices"][0]["message"]
            ids += [call["id"] for call in message["tool_calls"]]
            answers = [{"role": "tool", "tool_call_id": c["id"], "content": "done"} for c in message["tool_calls"]]
            messages += [message, *reversed(answers)]
        assert len(ids) == len({*ids}) >= 3
        last = ask(sidecar, 9, messages=messages, tool_choice="none").json["choices"][0]["message"]
        assert last["content"]


def test_only_arguments_that_a_tool_names_are_made_up(here: Sidecar, told: Sidecar) -> None:
    parameters = {name: one for name, one in LAMP["function"]["parameters"].items() if name != "additionalProperties"}
    open_ = {"type": "function", "function": {**LAMP["function"], "parameters": parameters}}
    for sidecar in (here, told):
        for seed in range(4):
            reply = sidecar.chat(tools=[open_], tool_choice="required", seed=seed, temperature=1.0, max_tokens=200)
            assert reply.status == 200, reply.json
            assert called(reply.json["choices"][0]["message"])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Start a sidecar whose model decodes here, and is told of tools in words."""
    with serving_here(tmp_path_factory.mktemp("told")) as sidecar:
        yield sidecar


def test_an_answer_has_a_schema_beside_tools(here: Sidecar) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    kinds = set()
    for seed in range(8):
        message = ask(here, seed, response_format=form).json["choices"][0]["message"]
        if found := called(message):
            kinds.add(found[0][0])
        else:
            assert json.loads(message["content"]).keys() == {"ok"}
            kinds.add("answer")
    assert "answer" in kinds


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_by_anthropics_and_responses_protocols(here: Sidecar, stream: bool) -> None:
    tool = {"name": "lamp", "input_schema": LAMP["function"]["parameters"]}
    body = {"model": "m", "max_tokens": 200, "messages": [{"role": "user", "content": "Light!"}], "tools": [tool]}
    reply = here.ask("POST", "/v1/messages", {**body, "tool_choice": {"type": "any"}, "stream": stream})
    assert reply.status == 200
    if stream:
        deltas = [event["delta"] for event in reply.events if event.get("type") == "content_block_delta"]
        said = "".join(delta.get("partial_json", "") for delta in deltas if delta["type"] == "input_json_delta")
        assert '"room"' in said
    else:
        assert reply.json["content"][-1]["input"].keys() == {"on", "room"}
    flat = {"type": "function", **LAMP["function"]}
    asked = {"model": "m", "input": "Light!", "tools": [flat], "tool_choice": "required", "stream": stream}
    reply = here.ask("POST", "/v1/responses", asked)
    assert reply.status == 200
    if not stream:
        calls = [item for item in reply.json["output"] if item["type"] == "function_call"]
        assert json.loads(calls[0]["arguments"]).keys() == {"on", "room"}
