"""Calls of tools as one JSON value, so that the pipeline checks, re-asks and masks them like any other.

The value is a list of calls, `[{"name": …, "arguments": {…}}]`, or, where the model may answer without one,
`{"content": …}`. A model with tools of its own (an upstream) is asked for them as the client did, and what it did is
written down so; any other writes the value itself, told how in words.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from guard.sidecar.asked import Asked, Function
from guard.sidecar.errors import bad

MOST_CALLS = 32  #: In one answer.


def schema(asked: Asked, *, is_native: bool) -> dict[str, Any]:
    """Return the schema of the value; `is_native` where the first model may make several calls unless told not to."""
    parallel = asked.chat.parallel_tool_calls
    several = is_native if parallel is None else parallel
    calls = {
        "type": "array",
        "items": {"anyOf": [_call(function) for function in asked.functions]},
        "minItems": 1,
        "maxItems": MOST_CALLS if several else 1,
    }
    if asked.choice != "auto":
        return calls
    wanted = asked.schema
    text = {"type": "string", "minLength": 1} if wanted is None else _own(wanted, "content")
    content = {
        "type": "object",
        "properties": {"content": text},
        "required": ["content"],
        "additionalProperties": False,
    }
    return {"anyOf": [calls, content]}


def instruction(asked: Asked) -> str:
    """Return how a model without tools of its own is told of them."""
    lines = [
        json.dumps({"name": f.name, "description": f.description or "", "parameters": f.parameters or {}})
        for f in asked.functions
    ]
    words = ["You can call these functions:", *lines, 'To call one, answer [{"name": …, "arguments": {…}}].']
    if asked.choice == "auto":
        words.append('To answer without a call, write {"content": …}.')
    return "\n".join(words)


def worded(messages: Sequence[Mapping[str, Any]], told: str) -> tuple[dict[str, Any], ...]:
    """Return messages as a model takes them that knows nothing but text: roles, and text; ApiError for pictures."""
    plain = [_plain(number, message) for number, message in enumerate(messages)]
    if not told:
        return tuple(plain)
    if plain[0]["role"] == "system":
        return ({**plain[0], "content": f"{plain[0]['content']}\n\n{told}"}, *plain[1:])
    return ({"role": "system", "content": told}, *plain)


def value_of(message: Mapping[str, Any], *, has_schema: bool) -> str:
    """Return what a model with tools of its own has answered, as the value."""
    calls = message.get("tool_calls")
    if calls:
        return json.dumps([_written(call) for call in calls], ensure_ascii=False)
    content = message.get("content")
    if has_schema and isinstance(content, str):
        return f'{{"content": {content}}}'  # as it stands: what is no JSON is found out by the check
    return json.dumps({"content": content}, ensure_ascii=False)


def _written(call: Any) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return call
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError):  # the text stays, where the schema wants an object
            arguments = json.loads(arguments or "{}")
    return {"name": function.get("name"), "arguments": arguments}


def _call(function: Function) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "name": {"const": function.name},
            "arguments": _own(function.parameters or {"type": "object"}, function.name),
        },
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _own(inner: Any, name: str) -> Any:
    """Return a schema that stands inside another with its references still leading into itself."""
    if not isinstance(inner, Mapping) or "$id" in inner or "$ref" not in json.dumps(inner):
        return inner
    return {"$id": f"urn:guard:{name}", **inner}


def _plain(number: int, message: Mapping[str, Any]) -> dict[str, Any]:
    role, content = message["role"], message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content]
        if not all(isinstance(text, str) for text in texts):
            raise bad(f"message {number} holds more than text, which this model can't read", f"messages.{number}")
        content = "".join(texts)
    content = content or ""
    if calls := message.get("tool_calls"):
        content += json.dumps([_written(call) for call in calls], ensure_ascii=False)
    if role == "tool":
        return {"role": "user", "content": f"The call {message.get('tool_call_id', '')} returned: {content}"}
    return {"role": {"developer": "system", "function": "user"}.get(role, role), "content": content}
