"""Calls of tools as one JSON value: guard/turns/value.py.

A model with tools of its own (an upstream) gets the client's tools, and its calls are translated into the value. Any
other model is told in words how to write the value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from guard.sidecar.endpoints import custom_tools
from guard.sidecar.endpoints.chat_request import ChatRequest
from guard.sidecar.errors import bad
from guard.tools import ToolSpec
from guard.turns import asking_again, value, words
from guard.turns.turn import CHOICES, Wanted


def schema(chat_request: ChatRequest, is_native: bool, is_masked: bool) -> dict[str, Any]:
    """Return the schema of the value.

    `is_native`: the first model has tools of its own, and may make several calls. `is_masked`: it decodes here.
    """
    parallel = chat_request.chat.parallel_tool_calls
    several = is_native if parallel is None else parallel
    if is_masked and chat_request.choice not in CHOICES:
        several = False  # the name of a tool demands one call of it; a provider may make more
    return value.schema(
        ((one.name, _named(one.parameters) if is_masked else one.parameters) for one in chat_request.functions),
        must_call=chat_request.choice != "auto",
        may_talk=is_native,
        most=value.MOST_CALLS if several else 1,
        wanted=chat_request.schema if chat_request.choice == "auto" else None,
    )


def wanted(chat_request: ChatRequest) -> Wanted:
    """Return the constraint on a turn of a model that has tools of its own."""
    parallel = chat_request.chat.parallel_tool_calls
    callable_ = chat_request.functions
    return Wanted(
        tuple(
            ToolSpec(one.name, one.description or "", _named(one.parameters) or {"type": "object"})
            for one in chat_request.told
        ),
        chat_request.choice,
        1 if parallel is False else value.MOST_CALLS,
        chat_request.schema if chat_request.choice == "auto" else None,
        frozenset(one.name for one in callable_),
    )


def _named(parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a schema of arguments in which the masks let through only those that it names, unless it says otherwise.

    Many clients' schemas leave unsaid that no others are allowed, and a small model makes some up.
    """
    named, required = (parameters or {}).get("properties"), (parameters or {}).get("required", [])
    if parameters is None or not isinstance(named, dict) or _OPEN & parameters.keys():
        return parameters
    is_whole = isinstance(required, list) and all(isinstance(one, str) and one in named for one in required)
    return {**parameters, "additionalProperties": False} if is_whole else parameters


def instruction(chat_request: ChatRequest) -> str:
    """Return the prompt that tells a model without tools of its own about them."""
    told = ((f.name, f.description or "", f.parameters) for f in chat_request.functions)
    return words.instruction(told, must_call=chat_request.choice != "auto")


def check_messages(messages: Sequence[Mapping[str, Any]]) -> None:
    """Raise ApiError for messages with an unknown role, missing members, or malformed calls."""
    for number, message in enumerate(messages):
        at, role = f"messages.{number}", message["role"]
        if role not in _ROLES:
            raise bad(f"message {number} has the role {str(role)[:60]!r}; one of {', '.join(_ROLES)}", f"{at}.role")
        if message.get("content") is None and role in ("system", "developer", "user"):
            raise bad(f"message {number} has no content", f"{at}.content", "missing_required_parameter")
        if role == "tool" and not isinstance(message.get("tool_call_id"), str):
            told = f"message {number} does not say which call it is about"
            raise bad(told, f"{at}.tool_call_id", "missing_required_parameter")
        _check_calls(message.get("tool_calls"), f"{at}.tool_calls")


def _check_calls(calls: Any, at: str) -> None:
    if calls is None:
        return
    if not isinstance(calls, list):
        raise bad(f"{at} must be a list", at)
    for number, call in enumerate(calls):
        is_custom = isinstance(call, Mapping) and call.get("type") == "custom"
        kind, text = ("custom", "input") if is_custom else ("function", "arguments")
        function = call.get(kind) if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise bad(f"{at}.{number}: a call has a function", f"{at}.{number}.{kind}")
        for name in ("name", text):
            if not isinstance(function.get(name), str):
                place = f"{at}.{number}.{kind}.{name}"
                raise bad(f"{place} must be text", place)


def worded(messages: Sequence[Mapping[str, Any]], told: str = "") -> tuple[dict[str, Any], ...]:
    """Return messages for a model that takes text only: roles and texts. Raises NotTextError for pictures."""
    return words.worded([custom_tools.in_functions(message) for message in messages], told)


def texts(messages: Sequence[Mapping[str, Any]], told: str = "") -> tuple[dict[str, Any], ...]:
    """Return the same of a client's own messages. Raises ApiError for pictures, which names the message."""
    try:
        return worded(messages, told)
    except words.NotTextError as error:
        raise bad(error.message, f"messages.{error.number}", "unsupported_value") from None


def value_of(message: Mapping[str, Any], *, has_schema: bool) -> str:
    """Return the value that the answer of a model with tools of its own makes."""
    message = custom_tools.in_functions(message)
    calls, content = message.get("tool_calls"), message.get("content")
    if calls:
        made = f"[{', '.join(map(words.written, calls))}]"
        has_text = isinstance(content, str) and content
        return f'{{"content": {json.dumps(content)}, "calls": {made}}}' if has_text else made
    if has_schema and isinstance(content, str):
        return f'{{"content": {content}}}'  # unchanged: validation finds out where it is not JSON
    return json.dumps({"content": content}, ensure_ascii=False)


# -- Asking again ------------------------------------------------------------------------------------------------------


def is_asked_again(messages: Sequence[Mapping[str, Any]], chat_request: ChatRequest) -> bool:
    """Whether an earlier attempt made an invalid call, so that a call must follow."""
    return any(message.get("tool_calls") for message in messages[len(chat_request.chat.messages) :])


def still_calls(text: str, messages: Sequence[Mapping[str, Any]], chat_request: ChatRequest) -> str:
    """Return a value unchanged, or NO_CALL where a call was asked for again and the value has none."""
    if not is_asked_again(messages, chat_request):
        return text
    try:
        return text if value.read(json.loads(text))[1] else asking_again.NO_CALL
    except (ValueError, AttributeError, RecursionError):
        return text


#: Keywords by which a schema says which other members it has.
_OPEN = frozenset(
    {"additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames", "minProperties", "$ref"}
    | {"$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "dependentSchemas", "dependentRequired", "dependencies"}
)
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
