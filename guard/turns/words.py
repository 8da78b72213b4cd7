"""Tools described in words, and earlier calls as text, for a model whose chat template has no tools."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from guard.errors import Unsupported
from guard.output import provider_schema


class NotTextError(Unsupported):
    """A message holds more than text; `number` is its index."""

    number = 0

    @classmethod
    def of(cls, number: int) -> Self:
        """Return the error about a message."""
        error = cls(f"message {number} holds more than text, which this model can't read")
        error.number = number
        return error


def instruction(tools: Iterable[tuple[str, str, Any]], *, must_call: bool) -> str:
    """Return the instruction that describes the tools, each a name, a description, and the schema of its arguments."""
    lines = [
        json.dumps({"name": name, "description": about, "parameters": parameters or {}})
        for name, about, parameters in tools
    ]
    words = ["You can call these functions:", *lines, 'To call one, answer [{"name": …, "arguments": {…}}].']
    if not must_call:
        words.append('To answer without a call, write {"content": …}.')
    return "\n".join(words)


def worded(messages: Sequence[Mapping[str, Any]], told: str) -> tuple[dict[str, Any], ...]:
    """Return messages as plain roles and text, with the instruction `told` in the system message.

    Raises NotTextError for a message with a picture or anything else that is not text.
    """
    plain = [_plain(number, message) for number, message in enumerate(messages)]
    if not told:
        return tuple(plain)
    if plain[0]["role"] == "system":
        return ({**plain[0], "content": f"{plain[0]['content']}\n\n{told}"}, *plain[1:])
    return ({"role": "system", "content": told}, *plain)


def written(call: Any) -> str:
    """Return a call in OpenAI's form as JSON text of a turn's value, with its numbers as they are written."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return json.dumps(call)
    given = function.get("arguments")
    arguments = json.dumps(given)
    if isinstance(given, str):
        # Text that is no JSON, or has a key twice, stays a string.
        with contextlib.suppress(ValueError, RecursionError):
            arguments = provider_schema.written(provider_schema.exact(given or "{}"))
    return f'{{"name": {json.dumps(function.get("name"))}, "arguments": {arguments}}}'


def _plain(number: int, message: Mapping[str, Any]) -> dict[str, Any]:
    role, content = message["role"], message.get("content")
    if isinstance(content, list):
        texts = [part.get("text", part.get("refusal")) for part in content]
        if not all(isinstance(text, str) for text in texts):
            raise NotTextError.of(number)
        content = "\n".join(texts)
    content = content or ""
    if calls := message.get("tool_calls"):
        content += f"[{', '.join(map(written, calls))}]"
    if role == "tool":
        return {"role": "user", "content": f"The call {message.get('tool_call_id', '')} returned: {content}"}
    return {"role": {"developer": "system", "function": "user"}.get(role, role), "content": content}
