"""Chat messages for templates that can't take them as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def without_system(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The messages with what the system says at the beginning of the first other message."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    if not system or not others:
        return list(messages)
    return [{**others[0], "content": "\n\n".join([*system, others[0]["content"]])}, *others[1:]]
