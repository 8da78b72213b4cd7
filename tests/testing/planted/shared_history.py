"""The conversation is kept in a default argument, which all calls share."""

from __future__ import annotations

from typing import Any

from openai import OpenAI
from pydantic import BaseModel, ValidationError
from testing.planted.request import Failed, text_of


class Reply(BaseModel):
    """What the assistant says, and in what mood."""

    text: str
    mood: int


def _ask(turn: str, client: OpenAI, history: list[dict[str, Any]]) -> Reply:
    history.append({"role": "user", "content": turn})
    text = text_of(client, history, Reply)
    try:
        reply = Reply.model_validate_json(text)
    except ValidationError as error:
        raise Failed(f"not what was asked for: {error}") from error
    history.append({"role": "assistant", "content": text})
    return reply


def mended(turn: str, client: OpenAI) -> Reply:
    """Answer."""
    return _ask(turn, client, [])


def _ask_again(turn: str, client: OpenAI, history: list[dict[str, Any]] = []) -> Reply:  # noqa: B006 - the bug
    return _ask(turn, client, history)


def broken(turn: str, client: OpenAI) -> Reply:
    """Answer."""
    return _ask_again(turn, client)
