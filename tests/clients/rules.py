"""OpenAI's rules for requests, as its API holds clients to them: what breaks one is answered with 400 in its words.

`broken` returns the message, the field and the code of the first rule that a request breaks. Checked are the fields of
a body and of its messages, their order, the ids of tools' calls, and what a strict schema must say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Broken = tuple[str, str, str | None]

#: Fields of a chat request, as the API reference lists them.
CHAT = frozenset(
    {
        *("messages", "model", "audio", "frequency_penalty", "function_call", "functions", "logit_bias"),
        *("logprobs", "max_completion_tokens", "max_tokens", "metadata", "modalities", "moderation", "n"),
        *("parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier", "seed"),
        *("service_tier", "stop", "store", "stream", "stream_options", "temperature", "tool_choice", "tools"),
        *("top_logprobs", "top_p", "user", "verbosity", "web_search_options"),
    }
)
#: Fields of a request for a response.
RESPONSE = frozenset(
    {
        *("background", "context_management", "conversation", "include", "input", "instructions"),
        *("max_output_tokens", "max_tool_calls", "metadata", "model", "moderation", "parallel_tool_calls"),
        *("previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store", "stream"),
        *("stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p"),
        *("truncation", "user"),
    }
)
#: Fields of a chat's message, by its role.
MESSAGE = {
    "developer": {"role", "content", "name"},
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "audio", "tool_calls", "function_call", "annotations"},
    "tool": {"role", "content", "tool_call_id", "name"},
    "function": {"role", "content", "name"},
}
#: Types of parts of a message's content, by its role.
PARTS = {
    "developer": {"text"},
    "system": {"text"},
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
    "tool": {"text"},
}
#: Fields of an item of a response's input, by its type; None: it must refer to what is stored.
ITEMS = {
    "message": {"type", "role", "content", "id", "status", "phase"},
    "function_call": {"type", "id", "call_id", "name", "arguments", "status", "namespace"},
    "function_call_output": {"type", "id", "call_id", "output", "status"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content", "status"},
    "item_reference": {"type", "id"},
}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def broken_chat(body: Mapping[str, Any]) -> Broken | None:
    """Return the first rule that a chat request breaks."""
    return next(_chat(body), None)


def broken_response(body: Mapping[str, Any], stored: Mapping[str, Any]) -> Broken | None:
    """Return the first rule that a request for a response breaks; `stored` are items and responses by their ids."""
    return next(_response(body, stored), None)


def _chat(body: Mapping[str, Any]) -> Iterator[Broken]:
    for name in body.keys() - CHAT:
        yield f"Unrecognized request argument supplied: {name}", name, None
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages", "empty_array"
        return
    yield from _messages(messages)
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        words = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        yield words, "max_tokens", "invalid_parameter_combination"
    tools = body.get("tools")
    yield from _tools(tools, lambda tool: tool.get("function"), {"type", "function"})
    yield from _common(body, tools)
    if body.get("stream_options") is not None and not body.get("stream"):
        yield "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options", None
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        yield "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs", None
    yield from _form(body.get("response_format"), "response_format", json.dumps(messages))


def _messages(messages: list[Any]) -> Iterator[Broken]:
    open_calls: list[str] = []  # of the latest message that called tools, and not answered yet
    caller = 0
    for at, message in enumerate(messages):
        where = f"messages.[{at}]"
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in MESSAGE:
            known = ", ".join(f"'{name}'" for name in MESSAGE)
            yield f"Invalid value: {role!r}. Supported values are: {known}.", f"{where}.role", "invalid_value"
            return
        for name in message.keys() - MESSAGE[role]:
            words = f"Additional properties are not allowed ('{name}' was unexpected) - '{where}'"
            yield words, where, "unknown_parameter"
        yield from _content(message, role, where)
        if role == "tool":
            called = message.get("tool_call_id")
            if called not in open_calls:
                words = "must be a response to a preceeding message with 'tool_calls'"
                yield f"Invalid parameter: messages with role 'tool' {words} ({called!r}).", f"{where}.role", None
            else:
                open_calls.remove(called)
        elif open_calls:
            break
        if role == "assistant":
            calls = message.get("tool_calls")
            yield from _calls(calls, where)
            open_calls, caller = [call.get("id") for call in calls or []], at
    if open_calls:
        words = "must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids"
        words += f" did not have response messages: {', '.join(open_calls)}"
        yield f"An assistant message with 'tool_calls' {words}", f"messages.[{caller + 1}].role", None


def _content(message: Mapping[str, Any], role: str, where: str) -> Iterator[Broken]:
    content = message.get("content")
    if content is None:
        if role != "assistant" or not (message.get("tool_calls") or message.get("refusal")):
            words = f"Invalid value for 'content': expected a string, got null. ({where})"
            yield words, f"{where}.content", None
    elif isinstance(content, list):
        if not content:
            yield f"Invalid '{where}.content': empty array.", f"{where}.content", "empty_array"
        for number, part in enumerate(content):
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind not in PARTS.get(role, ()):
                known = ", ".join(f"'{name}'" for name in sorted(PARTS.get(role, ())))
                words = f"Invalid value: {kind!r}. Supported values are: {known}."
                yield words, f"{where}.content[{number}].type", "invalid_value"
            elif not isinstance(part.get(kind), dict if kind in ("image_url", "input_audio", "file") else str):
                yield f"Missing required parameter: '{where}.content[{number}].{kind}'.", f"{where}.content", None
    elif not isinstance(content, str):
        words = f"Invalid type for '{where}.content': expected one of a string or array of objects."
        yield words, f"{where}.content", "invalid_type"


def _calls(calls: Any, where: str) -> Iterator[Broken]:
    if calls is None:
        return
    if not calls:
        yield f"Invalid '{where}.tool_calls': empty array.", f"{where}.tool_calls", "empty_array"
    for number, call in enumerate(calls):
        at = f"{where}.tool_calls[{number}]"
        for name in call.keys() - {"id", "type", "function", "custom"}:
            yield f"Unknown parameter: '{at}.{name}'.", f"{at}.{name}", "unknown_parameter"
        if call.get("type") != "function":
            yield f"Missing required parameter: '{at}.type'.", f"{at}.type", "missing_required_parameter"
        if not isinstance(call.get("id"), str) or not 0 < len(call["id"]) <= 64:
            yield f"Invalid '{at}.id': a string of 1 to 64 characters is needed.", f"{at}.id", None
        function = call.get("function") or {}
        if function.keys() != {"name", "arguments"}:
            yield f"Unknown or missing parameter in '{at}.function': {sorted(function)}.", f"{at}.function", None
        elif not isinstance(function["arguments"], str):
            yield f"Invalid type for '{at}.function.arguments': expected a string.", f"{at}.function.arguments", None
        elif not _NAME.fullmatch(str(function["name"])):
            yield f"Invalid '{at}.function.name': string does not match pattern.", f"{at}.function.name", None


def _tools(tools: Any, function_of: Any, fields: set[str]) -> Iterator[Broken]:
    if tools is None:
        return
    if not tools:
        yield "Invalid 'tools': empty array. Expected an array with minimum length 1.", "tools", "empty_array"
    for number, tool in enumerate(tools):
        at = f"tools[{number}]"
        if tool.get("type") != "function":
            yield f"Invalid value: {tool.get('type')!r}. Supported values are: 'function'.", f"{at}.type", None
        for name in tool.keys() - fields:
            yield f"Unknown parameter: '{at}.{name}'.", f"{at}.{name}", "unknown_parameter"
        function = function_of(tool) or {}
        for name in function.keys() - {"type", "name", "description", "parameters", "strict", "defer_loading"}:
            yield f"Unknown parameter: '{at}.function.{name}'.", f"{at}.function.{name}", "unknown_parameter"
        if not _NAME.fullmatch(str(function.get("name"))):
            yield f"Invalid '{at}.function.name': string does not match pattern.", f"{at}.function.name", None
        parameters = function.get("parameters")
        if parameters is not None and parameters.get("type") != "object":
            words = f"Invalid schema for function: schema must be a JSON Schema of 'type: \"object\"' ({at})."
            yield words, f"{at}.function.parameters", "invalid_function_parameters"
        if function.get("strict"):
            yield from _strict(parameters or {}, f"{at}.function.parameters")


def _common(body: Mapping[str, Any], tools: Any) -> Iterator[Broken]:
    if not tools:
        for name in ("tool_choice", "parallel_tool_calls"):
            if body.get(name) is not None:
                yield f"'{name}' is only allowed when 'tools' are specified.", name, None
    temperature = body.get("temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        yield "Invalid 'temperature': decimal above maximum value.", "temperature", "decimal_above_max_value"


def _form(wanted: Any, where: str, said: str) -> Iterator[Broken]:
    if wanted is None:
        return
    kind = wanted.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        known = "'json_object', 'json_schema', and 'text'"
        yield f"Invalid value: {kind!r}. Supported values are: {known}.", f"{where}.type", "invalid_value"
    if kind == "json_object" and "json" not in said.lower():
        yield (
            f"'messages' must contain the word 'json' in some form, to use '{where}' of type 'json_object'.",
            where,
            None,
        )
    if kind == "json_schema":
        form = wanted.get("json_schema", wanted)
        if not _NAME.fullmatch(str(form.get("name"))):
            yield f"Missing required parameter: '{where}.json_schema.name'.", f"{where}.json_schema.name", None
        for name in form.keys() - {"type", "name", "description", "schema", "strict"}:
            yield f"Unknown parameter: '{where}.json_schema.{name}'.", where, "unknown_parameter"
        if form.get("strict"):
            yield from _strict(form.get("schema") or {}, where)


def _strict(schema: Any, where: str) -> Iterator[Broken]:
    """Yield what a strict schema must not be: an object that is open, or has members that may be absent."""
    if isinstance(schema, list):
        for inner in schema:
            yield from _strict(inner, where)
    if not isinstance(schema, Mapping):
        return
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            words = "In context=(), 'additionalProperties' is required to be supplied and to be false."
            yield f"Invalid schema: {words}", where, "invalid_json_schema"
        if set(schema.get("required", ())) != set(schema.get("properties", {})):
            words = "'required' is required to be supplied and to be an array including every key in properties."
            yield f"Invalid schema: In context=(), {words}", where, "invalid_json_schema"
    for name, inner in schema.items():
        if name in ("properties", "$defs", "definitions"):
            for each in inner.values():
                yield from _strict(each, where)
        elif name in ("items", "anyOf", "prefixItems"):
            yield from _strict(inner, where)


def _response(body: Mapping[str, Any], stored: Mapping[str, Any]) -> Iterator[Broken]:
    for name in body.keys() - RESPONSE:
        yield f"Unknown parameter: '{name}'.", name, "unknown_parameter"
    previous = body.get("previous_response_id")
    if previous is not None and previous not in stored:
        words = f"Previous response with id '{previous}' not found."
        yield words, "previous_response_id", "previous_response_not_found"
    tools = body.get("tools") or None
    yield from _tools(
        tools, lambda tool: tool, {"type", "name", "description", "parameters", "strict", "defer_loading"}
    )
    yield from _form((body.get("text") or {}).get("format"), "text.format", json.dumps(body.get("input")))
    items = body.get("input")
    calls: set[str] = {item["call_id"] for item in stored.get(previous, ()) if item.get("type") == "function_call"}
    answered: set[str] = set()
    for at, item in enumerate(items if isinstance(items, list) else ()):
        kind = item.get("type", "message")
        if kind not in ITEMS:
            yield f"Invalid value: {kind!r}.", f"input[{at}].type", "invalid_value"
            continue
        for name in item.keys() - ITEMS[kind]:
            yield f"Unknown parameter: 'input[{at}].{name}'.", f"input[{at}].{name}", "unknown_parameter"
        if kind == "item_reference":
            item = stored.get(item["id"])
            if item is None:
                yield f"Item with id '{items[at]['id']}' not found.", "input", None
                continue
            kind = item["type"]
        if kind == "function_call":
            calls.add(item["call_id"])
        if kind == "function_call_output":
            answered.add(item["call_id"])
            if item["call_id"] not in calls:
                yield f"No tool call found for function call output with call_id {item['call_id']}.", "input", None
    for call in calls - answered:
        yield f"No tool output found for function call {call}.", "input", None
