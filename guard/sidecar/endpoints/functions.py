"""`functions` and `function_call`, the older fields for tools: translated into `tools`, and answers back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guard.sidecar.errors import bad


def in_tools(body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return a body with tools in place of functions, and whether it had any. Raises ApiError where it has both."""
    functions, choice = body.get("functions"), body.get("function_call")
    if not functions:
        return body, False
    if body.get("tools"):
        raise bad("functions are an older word for tools; send one of them", "functions")
    if not isinstance(functions, list) or not isinstance(body.get("messages"), list):
        raise bad("functions must be a list", "functions")
    rest = {key: value for key, value in body.items() if key not in ("functions", "function_call", "tools")}
    rest["tools"] = [{"type": "function", "function": function} for function in functions]
    rest["parallel_tool_calls"] = False
    if isinstance(choice, Mapping):
        rest["tool_choice"] = {"type": "function", "function": dict(choice)}
    elif choice is not None:
        rest["tool_choice"] = choice
    rest["messages"] = [_message(number, message) for number, message in enumerate(body["messages"])]
    return rest, True


def in_functions(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message of the assistant with its call in the older fields."""
    calls = message.pop("tool_calls", None)
    return {**message, "function_call": calls[0]["function"]} if calls else message


def _message(number: int, message: Any) -> Any:
    """Return a message with tools in place of functions. A result belongs to the call in the message before it."""
    if not isinstance(message, Mapping):
        return message
    if message.get("role") == "function":
        return {"role": "tool", "tool_call_id": f"call_{number - 1}", "content": message.get("content")}
    if call := message.get("function_call"):
        rest = {key: value for key, value in message.items() if key != "function_call"}
        return {**rest, "tool_calls": [{"id": f"call_{number}", "type": "function", "function": call}]}
    return message
