"""Tools that nothing can meet are refused before a model is asked, whatever the choice among tools but "none"."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sidecars import HERE, OWN, THERE, Reply, Sidecar

from guard.testing import fake_server

UNMET: dict[str, Any] = {
    "type": "object",
    "properties": {"x": {"type": "string", "maxLength": 1, "minLength": 3}},
    "required": ["x"],
}
#: The same behind a reference, which is relative to the tool's own schema.
REFERRED: dict[str, Any] = {
    "type": "object",
    "properties": {"x": {"$ref": "#/$defs/n"}},
    "required": ["x"],
    "$defs": {"n": UNMET["properties"]["x"]},
}
MET: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
CHOICES = ("none", "auto", "required", "named", "other")
PROTOCOLS = ("chat", "responses", "messages")


def ask(sidecar: Sidecar, model: str, protocol: str, choice: str, tools: dict[str, Any], **more: Any) -> Reply:
    """Ask with tools, of which the first is `bad`."""
    name = "bad" if choice == "named" else "good"
    chosen: Any = choice
    if protocol == "chat":
        told = [{"type": "function", "function": {"name": n, "parameters": p}} for n, p in tools.items()]
        if choice in ("named", "other"):
            chosen = {"type": "function", "function": {"name": name}}
        return sidecar.chat(model=model, tools=told, tool_choice=chosen, max_tokens=5, **more)
    if protocol == "responses":
        if choice in ("named", "other"):
            chosen = {"type": "function", "name": name}
        told = [{"type": "function", "name": n, "parameters": p, "strict": False} for n, p in tools.items()]
        asked = {"model": model, "input": "Hello.", "max_output_tokens": 20}
        return sidecar.ask("POST", "/v1/responses", {**asked, "tools": told, "tool_choice": chosen, **more})
    names = {"required": "any", "named": "tool", "other": "tool"}
    chosen = {"type": names.get(choice, choice)} | ({"name": name} if choice in ("named", "other") else {})
    told = [{"name": n, "input_schema": p} for n, p in tools.items()]
    asked = {"model": model, "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 5}
    return sidecar.ask("POST", "/v1/messages", {**asked, "tools": told, "tool_choice": chosen, **more})


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("model", [HERE, OWN, THERE])
def test_arguments_that_nothing_can_meet_are_refused_where_the_tool_may_be_called(
    three_kinds: Sidecar, prose: fake_server.Server, model: str, protocol: str, choice: str
) -> None:
    for bad, place in ((UNMET, "/properties/x"), (REFERRED, "/$defs/n")):
        tools = {"good": MET, "bad": bad} if choice != "named" else {"bad": bad}
        reply = ask(three_kinds, model, protocol, choice, tools)
        words = json.dumps(reply.json)
        if choice == "none":
            assert "nothing can meet it" not in words
            continue
        assert reply.status == 400, words
        assert f"{place}: nothing can meet it; correct what contradicts itself: type, maxLength, minLength" in words
        assert f"tools.{len(tools) - 1}" in words
    assert choice == "none" or not prose.requests


def test_an_answer_beside_tools_that_nothing_can_meet_is_refused(three_kinds: Sidecar) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": UNMET}}
    for model in (HERE, THERE):
        error = ask(three_kinds, model, "chat", "auto", {"good": MET}, response_format=wanted).json["error"]
        assert error["param"] == "response_format.json_schema.schema"
        assert "/properties/x: nothing can meet it" in error["message"]


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_a_custom_tool_without_any_text_is_refused(three_kinds: Sidecar, choice: str) -> None:
    form = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a[^\\s\\S]"}}
    tool = {"type": "custom", "custom": {"name": "do", "format": form}}
    error = three_kinds.chat(model=HERE, tools=[tool], tool_choice=choice).json["error"]
    assert (error["param"], error["code"]) == ("tools.0.custom.format", "invalid_schema")
    assert "nothing can meet it" in error["message"]


def test_a_tool_of_an_older_function_call_is_refused(three_kinds: Sidecar) -> None:
    functions = [{"name": "good", "parameters": MET}, {"name": "bad", "parameters": UNMET}]
    reply = three_kinds.chat(model=HERE, functions=functions, function_call="auto")
    assert reply.status == 400
    assert "/properties/x: nothing can meet it" in reply.json["error"]["message"]
