"""Tools in words, and earlier calls as text, for a model whose chat template knows nothing of tools."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guard.errors import Unsupported
from guard.output import provider_schema


class NotTextError(Unsupported):
    """A message holds more than text; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(f"message {number} holds more than text, which this model can't read")
        self.number = number


def instruction(tools: Iterable[tuple[str, str, Any]], *, must_call: bool) -> str:
    """Return how a model without tools of its own is told of them; each is a name, what it does, and a schema."""
    lines = [
        json.dumps({"name": name, "description": about, "parameters": parameters or {}})
        for name, about, parameters in tools
    ]
    words = ["You can call these functions:", *lines, 'To call one, answer [{"name": …, "arguments": {…}}].']
    if not must_call:
        words.append('To answer without a call, write {"content": …}.')
    return "\n".join(words)


def worded(messages: Sequence[Mapping[str, Any]], told: str) -> tuple[dict[str, Any], ...]:
    """Return messages as a model takes them that knows nothing but text: roles, and text; NotTextError for pictures."""
    plain = [_plain(number, message) for number, message in enumerate(messages)]
    if not told:
        return tuple(plain)
    if plain[0]["role"] == "system":
        return ({**plain[0], "content": f"{plain[0]['content']}\n\n{told}"}, *plain[1:])
    return ({"role": "system", "content": told}, *plain)


def written(call: Any) -> str:
    """Return a call, in OpenAI's form, as the text of a value, the numbers in it as they are written."""
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


def _plain(number: int, message: Mapping[str, Any]) -> dict[str, Any]:
    role, content = message["role"], message.get("content")
    if isinstance(content, list):
        texts = [part.get("text", part.get("refusal")) for part in content]
        if not all(isinstance(text, str) for text in texts):
            raise NotTextError(number)
        content = "".join(texts)
    content = content or ""
    if calls := message.get("tool_calls"):
        content += f"[{', '.join(map(written, calls))}]"
    if role == "tool":
        return {"role": "user", "content": f"The call {message.get('tool_call_id', '')} returned: {content}"}
    return {"role": {"developer": "system", "function": "user"}.get(role, role), "content": content}
