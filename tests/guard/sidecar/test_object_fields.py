"""Fields that are objects, given as what is none: 400 with the field's name, whoever would have answered."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from sidecars import HERE, OWN, THERE, Sidecar

CHAT, COMPLETION, RESPONSE, MESSAGE = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
COUNT = "/v1/messages/count_tokens"
NO_OBJECTS = (True, [], "x", 1)
SCHEMAS = ("schema", "structured_outputs.json")  #: Where these places end, true is one.
FORWARDED = ("input", "metadata", "messages", "tools", "tool_choice")  #: What another server reads by itself.

USER = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
FUNCTION = {"name": "act", "parameters": {"type": "object"}}
CALL = {"id": "a", "type": "function", "function": {"name": "act", "arguments": "{}"}}
SCHEMA = {"type": "object"}
CACHE = {"type": "ephemeral"}
CHATS: dict[str, Any] = {
    "messages": [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "a", "content": "x"},
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "act"}},
    "stream_options": {"include_usage": True},
}
TOOL_USE = {"type": "tool_use", "id": "a", "name": "act", "input": {}}
TURNS = [
    {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": CACHE}]},
    {"role": "assistant", "content": [TOOL_USE]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]},
]
MESSAGES: dict[str, Any] = {
    "messages": TURNS,
    "tools": [{"name": "act", "input_schema": SCHEMA, "cache_control": CACHE}],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "disabled"},
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    "cache_control": CACHE,
}
#: For each path bodies that have each of their fields that are objects, as it is right.
BODIES: list[tuple[str, dict[str, Any]]] = [
    (CHAT, CHATS),
    (CHAT, {**CHATS, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}),
    (CHAT, {"messages": [USER], "functions": [FUNCTION], "function_call": {"name": "act"}}),
    (CHAT, {"messages": [USER], "structured_outputs": {"json": SCHEMA}}),
    (COMPLETION, {"prompt": "Hi", "stream_options": {"include_usage": True}}),
    (COMPLETION, {"prompt": "Hi", "response_format": {"type": "json_object"}}),
    (
        RESPONSE,
        {
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
            "tools": [{"type": "function", **FUNCTION}],
            "tool_choice": {"type": "function", "name": "act"},
            "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
            "reasoning": {"effort": "low"},
            "metadata": {"a": "b"},
            "stream_options": {"include_obfuscation": False},
        },
    ),
    (MESSAGE, {**MESSAGES, "max_tokens": 9, "metadata": {"user_id": "x"}}),
    (COUNT, MESSAGES),
]


def objects(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the places of all objects in a value, but for what is in a schema."""
    if isinstance(value, dict) and path:
        yield path
    if isinstance(value, dict | list) and value is not SCHEMA:
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from objects(inner, (*path, name))


def with_it(body: dict[str, Any], path: tuple[str | int, ...], wrong: Any) -> dict[str, Any]:
    """Return a body with something else at a place."""
    body = copy.deepcopy(body)
    at: Any = body
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = wrong
    return body


WRONG = [(path, body, at) for path, body in BODIES for at in objects(body)]


@pytest.mark.parametrize(("path", "body", "at"), WRONG, ids=[f"{p} {'.'.join(map(str, at))}" for p, _, at in WRONG])
def test_what_is_no_object_is_400_and_says_where(
    three_kinds: Sidecar, path: str, body: dict[str, Any], at: tuple[str | int, ...]
) -> None:
    field = ".".join(map(str, at))
    for name, wrong in itertools.product((HERE, OWN, THERE), NO_OBJECTS):
        if wrong is True and field.endswith(SCHEMAS):
            continue  # the schema that anything meets
        reply = three_kinds.ask("POST", path, {"model": name, **with_it(body, at, wrong)})
        if name == THERE and reply.status in (200, 422):  # its provider looks at what only goes on, and wrote prose
            assert at[0] in FORWARDED, (wrong, reply.data)
            continue
        assert reply.status == 400, (name, wrong, reply.data)
        param = reply.json["error"]["param"]
        assert f"{field}.".startswith(f"{param}.") or param.startswith(f"{field}."), (name, wrong, reply.data)
