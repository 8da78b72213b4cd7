"""Custom tools: tools whose input is one text, free or of a language, in place of arguments.

Inside, a custom tool is a function with one argument, `input`, whose schema is that of the texts, so that masks, checks
and records treat both alike. Clients see its calls as custom calls. OpenAI's chats and responses have such tools;
Anthropic's protocol calls a tool `custom` that is a function here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from guard.kernels.unicode_text import json_text
from guard.output.text_target import matching
from guard.schemas import regex
from guard.schemas.structural import grammar
from guard.sidecar.errors import bad
from guard.turns.pieces import Spoken

INPUT = "input"  #: The one argument.
_SYNTAXES = ("lark", "regex")


def parameters(form: Mapping[str, Any] | None, at: str) -> dict[str, Any]:
    """Return the schema of a custom tool's arguments; ApiError names the field of its format that is wrong.

    `at` is the place of the format in the request.
    """
    return {
        "type": "object",
        "properties": {INPUT: _texts(form or {"type": "text"}, at)},
        "required": [INPUT],
        "additionalProperties": False,
    }


def as_function(call: Any) -> Any:
    """Return a custom call of an earlier turn as a call of a function; anything else unchanged."""
    custom = call.get("custom") if isinstance(call, Mapping) and call.get("type") == "custom" else None
    if not isinstance(custom, Mapping):
        return call
    rest = {key: value for key, value in call.items() if key != "custom"}
    arguments = json_text({INPUT: custom.get("input")})
    return {**rest, "type": "function", "function": {"name": custom.get("name"), "arguments": arguments}}


def as_custom(call: Mapping[str, Any], names: frozenset[str]) -> Mapping[str, Any]:
    """Return a call of a function as a custom call, where it is one of these custom tools."""
    function = call.get("function")
    if not isinstance(function, Mapping):
        return call
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or name not in names or not isinstance(arguments, str):
        return call
    custom = {"name": name, "input": input_of(arguments)}
    return {**{key: value for key, value in call.items() if key != "function"}, "type": "custom", "custom": custom}


def input_of(arguments: str) -> str:
    """Return the text of a call from its arguments, which were checked; text that is no such JSON is returned as is."""
    try:
        given = json.loads(arguments)[INPUT]
    except (ValueError, KeyError, TypeError):
        return arguments
    return given if isinstance(given, str) else arguments


def in_functions(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message of a chat with its custom calls as calls of functions."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not any(isinstance(call, Mapping) and "custom" in call for call in calls):
        return message
    return {**message, "tool_calls": [as_function(call) for call in calls]}


def in_customs(message: Mapping[str, Any], names: frozenset[str]) -> Mapping[str, Any]:
    """Return a message of a chat with its calls of these custom tools as custom calls."""
    calls = message.get("tool_calls")
    if not names or not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [as_custom(call, names) if isinstance(call, Mapping) else call for call in calls]}


class InputReader(Spoken):
    """Reads a custom tool's text out of its arguments while they are written."""

    def __init__(self) -> None:
        super().__init__(INPUT)


def _texts(form: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Return the schema of the texts of a format."""
    if form.get("type") == "text":
        return {"type": "string"}
    inner = form.get("grammar") if isinstance(form.get("grammar"), Mapping) else form  # chats have it one deeper
    at = at if inner is form else f"{at}.grammar"
    if form.get("type") != "grammar" or not isinstance(inner, Mapping):
        raise bad(f"{at}.type must be text or grammar", f"{at}.type")
    syntax, told = inner.get("syntax"), inner.get("definition")
    if syntax not in _SYNTAXES:
        raise bad(f"{at}.syntax must be one of {', '.join(_SYNTAXES)}", f"{at}.syntax")
    if not isinstance(told, str) or not told:
        raise bad(f"{at}.definition must be the text of a {syntax} grammar", f"{at}.definition")
    try:
        if syntax == "regex":
            regex.exact_tree(told)
            return matching(told)
        return {"type": "string", "pattern": grammar.as_pattern(told)}
    except (grammar.GrammarError, regex.RegexError) as error:
        raise bad(f"{at}.definition: {error}", f"{at}.definition", "invalid_schema") from None
