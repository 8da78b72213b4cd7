"""Calls of tools as one JSON value, so that the pipeline checks, re-asks and masks them like any other.

The value is a list of calls, `[{"name": …, "arguments": {…}}]`, or, where the model may answer without one,
`{"content": …}`. A model with tools of its own (an upstream) is asked for them as the client did, and what it did is
written down so; where it says something beside its calls, as `{"content": …, "calls": […]}`. Any other writes the value
itself, told how in words.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guard.errors import Violation
from guard.kernels import json_pointer
from guard.models import chat_messages
from guard.output import provider_schema
from guard.sidecar.endpoints.chat_request import ChatRequest, Function
from guard.sidecar.errors import bad

MOST_CALLS = 32  #: In one answer.
NO_CALL = "[]"  #: What is written down where a call was asked for again, and words came: no value.


def schema(chat_request: ChatRequest, *, is_native: bool) -> dict[str, Any]:
    """Return the schema of the value; `is_native` where the first model may make several calls unless told not to."""
    parallel = chat_request.chat.parallel_tool_calls
    several = is_native if parallel is None else parallel
    calls = {
        "type": "array",
        "items": {"anyOf": [_call(number, function) for number, function in enumerate(chat_request.functions)]},
        "minItems": 1,
        "maxItems": MOST_CALLS if several else 1,
    }
    if chat_request.choice != "auto" and not is_native:
        return calls
    wanted = chat_request.schema
    kinds = [calls]
    if chat_request.choice == "auto":
        text = {"type": "string", "minLength": 1} if wanted is None else _own(wanted, "content")
        kinds.append(_object(content=text))
    if is_native:
        kinds.append(_object(content={"type": "string"}, calls=calls))
    return {"anyOf": kinds}


def instruction(chat_request: ChatRequest) -> str:
    """Return how a model without tools of its own is told of them."""
    lines = [
        json.dumps({"name": f.name, "description": f.description or "", "parameters": f.parameters or {}})
        for f in chat_request.functions
    ]
    words = ["You can call these functions:", *lines, 'To call one, answer [{"name": …, "arguments": {…}}].']
    if chat_request.choice == "auto":
        words.append('To answer without a call, write {"content": …}.')
    return "\n".join(words)


def check_messages(messages: Sequence[Mapping[str, Any]]) -> None:
    """Refuse messages of a role that nobody knows, those without what they must have, and calls that are none."""
    for number, message in enumerate(messages):
        at, role = f"messages.{number}", message["role"]
        if role not in _ROLES:
            raise bad(f"message {number} has the role {str(role)[:60]!r}; one of {', '.join(_ROLES)}", f"{at}.role")
        if message.get("content") is None and role in ("system", "developer", "user"):
            raise bad(f"message {number} has no content", f"{at}.content", "missing_required_parameter")
        if role == "tool" and not isinstance(message.get("tool_call_id"), str):
            words = f"message {number} does not say which call it is about"
            raise bad(words, f"{at}.tool_call_id", "missing_required_parameter")
        _check_calls(message.get("tool_calls"), f"{at}.tool_calls")


def _check_calls(calls: Any, at: str) -> None:
    if calls is None:
        return
    if not isinstance(calls, list):
        raise bad(f"{at} must be a list", at)
    for number, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise bad(f"{at}.{number}: a call has a function", f"{at}.{number}.function")
        for name in ("name", "arguments"):
            if not isinstance(function.get(name), str):
                place = f"{at}.{number}.function.{name}"
                raise bad(f"{place} must be text", place)


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
    calls, content = message.get("tool_calls"), message.get("content")
    if calls:
        made = f"[{', '.join(map(_written, calls))}]"
        has_text = isinstance(content, str) and content
        return f'{{"content": {json.dumps(content)}, "calls": {made}}}' if has_text else made
    if has_schema and isinstance(content, str):
        return f'{{"content": {content}}}'  # as it stands: what is no JSON is found out by the check
    return json.dumps({"content": content}, ensure_ascii=False)


def read(value: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Return what a value says, None for nothing, and the calls in it."""
    if isinstance(value, list):
        return None, value
    return value.get("content"), value.get("calls", [])


# -- Asking again ------------------------------------------------------------------------------------------------------


def re_ask(
    messages: Sequence[Mapping[str, Any]], text: str, findings: Sequence[Violation], *, names: Sequence[str]
) -> chat_messages.Messages:
    """Return the messages of the next attempt: the calls as the model made them, and what is wrong with each.

    `names` are the functions that may be called. What made no call is shown back as words.
    """
    content: Any = None
    calls: list[Any] = []
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        content, calls = read(json.loads(text))
    if not calls or not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls):
        shown = content if isinstance(content, str) else "" if text == NO_CALL else text
        said = [f"- {finding}" for finding in findings]
        if text == NO_CALL:
            said = [f"- expected a call of {' or '.join(names)}, got words"]
        question = "\n".join(["That answer is not valid:", *said, "Answer again with every one of these corrected."])
        return (
            *chat_messages.copied(messages),
            {"role": "assistant", "content": shown},
            {"role": "user", "content": question},
        )
    wrong = {at: list(_wrong(at, call, findings, names)) for at, call in enumerate(calls)}
    if not any(wrong.values()):
        wrong = {at: [f"- {finding}" for finding in findings] for at in wrong}
    ids = [f"call_{len(messages)}_{at}" for at in range(len(calls))]
    made = [
        {"id": id_, "type": "function", "function": {"name": call["name"], "arguments": _text(call.get("arguments"))}}
        for id_, call in zip(ids, calls, strict=True)
    ]
    answers = [
        {"role": "tool", "tool_call_id": id_, "content": _verdict(calls[at]["name"], wrong[at])}
        for at, id_ in enumerate(ids)
    ]
    return (*chat_messages.copied(messages), {"role": "assistant", "content": content, "tool_calls": made}, *answers)


def is_asked_again(messages: Sequence[Mapping[str, Any]], chat_request: ChatRequest) -> bool:
    """Whether a call was made that was not valid, so that another must follow."""
    return any(message.get("tool_calls") for message in messages[len(chat_request.chat.messages) :])


def still_calls(text: str, messages: Sequence[Mapping[str, Any]], chat_request: ChatRequest) -> str:
    """Return a value as it is, but NO_CALL where a call was asked for again and there is none."""
    if not is_asked_again(messages, chat_request):
        return text
    try:
        return text if read(json.loads(text))[1] else NO_CALL
    except (ValueError, AttributeError, RecursionError):
        return text


def _wrong(at: int, call: Mapping[str, Any], findings: Sequence[Violation], names: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with a call, each with the property that it is about."""
    if call["name"] not in names:
        yield f"- there is no function {call['name']}; there is {', '.join(names)}"
        return
    for finding in findings:
        path = finding.at.removeprefix("/calls")
        for prefix in (f"/{at}/arguments/", f"/{at}/arguments"):
            if path == prefix or (path.startswith(prefix) and prefix.endswith("/")):
                place = ".".join(map(json_pointer.unescaped, path[len(prefix) :].split("/")))
                yield f"- {place or 'the arguments'}: expected {finding.expected}, got {finding.got}"
                break


def _verdict(name: str, wrong: Sequence[str]) -> str:
    if not wrong:
        return f"{name} was not called, because another call was not valid. Call it again."
    return "\n".join([f"{name} was not called, because the call is not valid:", *wrong, "Call it again, corrected."])


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


# -- The value ---------------------------------------------------------------------------------------------------------


class Spoken:
    """Reads what is said out of the value's text while it is written: the content, as far as it is there."""

    HEAD = '{"content": "'  #: How such a value begins, as masks write it.

    def __init__(self) -> None:
        self._head = ""
        self._is_text: bool | None = None  # None: not known yet
        self._held = ""  # an escape that is not whole

    def feed(self, piece: str) -> str:
        """Take a piece of the value's text; returns what of it is said."""
        if self._is_text is None:
            self._head += piece
            if len(self._head) < len(self.HEAD) and self.HEAD.startswith(self._head):
                return ""
            self._is_text = self._head.startswith(self.HEAD)
            piece = self._head[len(self.HEAD) :]
        if not self._is_text:
            return ""
        text, self._held = self._held + piece, ""
        end = _whole(text)
        if end < len(text) and text[end] == '"':
            self._is_text = False
        else:
            self._held = text[end:]
        said: str = json.loads(f'"{text[:end]}"')
        return said


def _whole(text: str) -> int:
    """Return up to where the beginning of a JSON string's inside is whole: to its end, or before an open escape."""
    at = 0
    while at < len(text) and text[at] != '"':
        width = 1
        if text[at] == "\\":
            width = 6 if text[at + 1 : at + 2] == "u" else 2
            if width == 6 and text[at + 2 : at + 4].lower() in ("d8", "d9", "da", "db"):
                width = 12  # half of a pair, and the other
        if at + width > len(text):
            return at
        at += width
    return at


def _written(call: Any) -> str:
    """Return a call as the text of a value, the numbers in it as they are written."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return json.dumps(call)
    given = function.get("arguments")
    arguments = json.dumps(given)
    if isinstance(given, str):
        # It stays a text, where the schema wants an object, if it is no JSON, or says a key twice.
        with contextlib.suppress(ValueError, RecursionError):
            arguments = provider_schema.written(provider_schema.exact(given or "{}"))
    return f'{{"name": {json.dumps(function.get("name"))}, "arguments": {arguments}}}'


def _call(number: int, function: Function) -> dict[str, Any]:
    arguments = _own(function.parameters or {"type": "object"}, f"{number}")
    return _object(name={"const": function.name}, arguments=arguments)


def _object(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


def _own(inner: Any, name: str) -> Any:
    """Return a schema that stands inside another with its references still leading into itself."""
    if not isinstance(inner, Mapping) or "$id" in inner or not ("$schema" in inner or "$ref" in json.dumps(inner)):
        return inner
    return {"$id": f"urn:guard:{name}", **inner}


_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def _plain(number: int, message: Mapping[str, Any]) -> dict[str, Any]:
    role, content = message["role"], message.get("content")
    if isinstance(content, list):
        texts = [part.get("text", part.get("refusal")) for part in content]
        if not all(isinstance(text, str) for text in texts):
            raise bad(f"message {number} holds more than text, which this model can't read", f"messages.{number}")
        content = "".join(texts)
    content = content or ""
    if calls := message.get("tool_calls"):
        content += f"[{', '.join(map(_written, calls))}]"
    if role == "tool":
        return {"role": "user", "content": f"The call {message.get('tool_call_id', '')} returned: {content}"}
    return {"role": {"developer": "system", "function": "user"}.get(role, role), "content": content}
