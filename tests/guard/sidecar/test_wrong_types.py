"""Values of every wrong type, at every place of a request: no request makes the sidecar fail."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from sidecars import HERE, OWN, THERE, Sidecar

CHAT, COMPLETION, RESPONSE, MESSAGE = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
COUNT, PLAYGROUND = "/v1/messages/count_tokens", "/guard/playground"
ODD: tuple[Any, ...] = ([], {}, ["message"], 0, True)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
USER = {"role": "user", "content": "Hi"}
FUNCTION = {"name": "act", "description": "Act.", "parameters": SCHEMA, "strict": True}
CUSTOM = {"name": "say", "format": {"type": "text"}}
LISTED = {"type": "text", "text": "x"}
TOOLS = [{"type": "function", "function": FUNCTION}, {"type": "custom", "custom": CUSTOM}]
TURNS = [
    {"role": "user", "content": [LISTED], "name": "Ann"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "act", "arguments": '{"a": ""}'}},
            {"id": "b", "type": "custom", "custom": {"name": "say", "input": "x"}},
            {"id": "c", "type": "function", "function": {"name": "say", "arguments": '{"input": "x"}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": [LISTED]},
    {"role": "tool", "tool_call_id": "b", "content": "x"},
    {"role": "tool", "tool_call_id": "c", "content": "x"},
]
ITEMS = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
    {"type": "function_call", "call_id": "a", "name": "act", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "x"}]},
    {"type": "custom_tool_call", "call_id": "b", "name": "say", "input": "x"},
    {"type": "custom_tool_call_output", "call_id": "b", "output": "x"},
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "x"}]},
    {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "x"}]},
    {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
]
BLOCKS = [
    {"role": "user", "content": [LISTED, {"type": "document", "title": "x", "source": {"type": "text", "data": "x"}}]},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "x", "signature": "guard"},
            LISTED,
            {"type": "tool_use", "id": "a", "name": "act", "input": {"a": "x"}},
        ],
    },
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": False, "content": [LISTED]}],
    },
]
PROMPT: dict[str, Any] = {
    "messages": BLOCKS,
    "system": [LISTED],
    "tools": [{"name": "act", "input_schema": SCHEMA, "strict": True, "input_examples": [{"a": "x"}]}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "disabled"},
}
NAMED = {"type": "json_schema", "json_schema": {"name": "x", "description": "x", "schema": SCHEMA, "strict": True}}
ASKED = {"type": "json_schema", "schema": SCHEMA}
OPTIONS: dict[str, Any] = {"stop": ["x"], "seed": 1, "max_tokens": 3, "temperature": 1, "n": 1, "stream": False}
#: For each path bodies that are right.
BODIES: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": TURNS, "tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": True}),
    (CHAT, {"messages": TURNS, "tools": TOOLS[:1], "tool_choice": "none"}),
    (CHAT, {"messages": [USER], **OPTIONS, "top_p": 1, "logprobs": False, "reasoning_effort": "none", "store": True}),
    (CHAT, {"messages": [USER], "response_format": NAMED}),
    (CHAT, {"messages": [USER], "functions": [FUNCTION], "function_call": {"name": "act"}}),
    (CHAT, {"messages": [USER], "structured_outputs": {"json": SCHEMA, "backend": "x"}}),
    (CHAT, {"messages": [USER], "guided_choice": ["a"]}),
    (CHAT, {"messages": [USER], "grammar": {"type": "regex", "value": "a"}}),
    (CHAT, {"messages": [USER], "response_format": {"type": "json_object", "schema": SCHEMA}}),
    (COMPLETION, {"prompt": ["Hi"], **OPTIONS, "echo": False, "suffix": "", "best_of": 1}),
    (COMPLETION, {"prompt": "Hi", "guided_regex": "a"}),
    (RESPONSE, {"input": ITEMS, "instructions": "x", "store": False, "background": False, "max_tool_calls": 3}),
    (RESPONSE, {"input": [*ITEMS[:1], {"type": "item_reference", "id": "msg_1"}]}),
    (RESPONSE, {"input": "Hi", "previous_response_id": "resp_1", "reasoning": {"effort": "none", "summary": "auto"}}),
    (
        RESPONSE,
        {
            "input": "Hi",
            "tools": [{"type": "function", **FUNCTION}, {"type": "custom", **CUSTOM}],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "act"}]},
            "parallel_tool_calls": True,
            "include": ["x"],
        },
    ),
    (RESPONSE, {"input": "Hi", "text": {"format": {"type": "json_schema", **NAMED["json_schema"]}, "verbosity": None}}),
    (MESSAGE, {**PROMPT, **{name: OPTIONS[name] for name in ("max_tokens", "temperature", "stream")}}),
    (MESSAGE, {"messages": [USER], "max_tokens": 3, "stop_sequences": ["x"], "metadata": {"user_id": "x"}}),
    (MESSAGE, {"messages": [USER], "max_tokens": 3, "output_config": {"format": ASKED}}),
    (COUNT, PROMPT),
    (PLAYGROUND, {"prompt": "Hi", "schema": SCHEMA, "max_tokens": 3, "temperature": 1, "seed": 1}),
]  # fmt: skip


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the places of all values in a value."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, name))


def with_it(body: dict[str, Any], path: tuple[str | int, ...], odd: Any) -> dict[str, Any]:
    """Return a body with something else at a place."""
    body = copy.deepcopy(body)
    at: Any = body
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = odd
    return body


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_no_value_of_a_wrong_type_makes_the_sidecar_fail(three_kinds: Sidecar, path: str, body: dict[str, Any]) -> None:
    asked = itertools.product(places(body), ODD)
    for (at, odd), model in zip(asked, itertools.cycle([HERE, OWN, THERE]), strict=False):
        reply = three_kinds.ask("POST", path, {"model": model, **with_it(body, at, odd)})
        assert reply.status != 500, (model, at, odd, reply.data)
        if reply.status == 400:
            assert reply.json["error"]["param"], (model, at, odd, reply.data)
