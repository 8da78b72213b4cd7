"""Chat messages for templates that can't take them as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guard.errors import Unsupported
from guard.output.violations import clipped


def as_texts(messages: Sequence[Mapping[str, Any]], model: str) -> list[Mapping[str, Any]]:
    """The messages with parts of content as one text each, a line for each part; Unsupported names one of no text."""
    return [
        {**message, "content": _text(message.get("content"), number, model)}
        if not isinstance(message.get("content"), str | None)
        else message
        for number, message in enumerate(messages)
    ]


def _text(content: Any, number: int, model: str) -> str:
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise Unsupported(f"messages[{number}].content={clipped(content)} must be a text or a list of parts")
    texts: list[str] = []
    for at, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get("text") if kind in ("text", "input_text", "output_text") else None
        if not isinstance(text, str):
            raise Unsupported(
                f"{model} reads text alone, and messages[{number}].content[{at}] is {clipped(kind or part)}; send its"
                " text, or ask a model that takes it"
            )
        texts.append(text)
    return "\n".join(texts)


def without_system(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The messages with what the system says at the beginning of the first other message."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    if not system or not others:
        return list(messages)
    return [{**others[0], "content": "\n\n".join([*system, others[0]["content"]])}, *others[1:]]
