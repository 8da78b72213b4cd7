"""The conversation is kept in a default argument, which all calls share."""

from __future__ import annotations

from typing import Any

from openai import OpenAI
from pydantic import BaseModel
from testing.planted.request import text_of, value_of


class Reply(BaseModel):
    """What the assistant says, and in what mood."""

    text: str
    mood: int


def _ask(turn: str, client: OpenAI, history: list[dict[str, Any]]) -> Reply:
    history.append({"role": "user", "content": turn})
    text = text_of(client, history, Reply)
    reply = value_of(text, Reply)
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
