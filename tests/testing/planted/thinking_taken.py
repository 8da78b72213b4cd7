"""What the model only considered while it thought is taken for its answer."""

from __future__ import annotations

import re

from openai import OpenAI
from pydantic import BaseModel, ConfigDict
from testing.planted.strict import strictly


class Move(BaseModel):
    """A move in chess."""

    model_config = ConfigDict(extra="forbid")
    piece: str
    to: str


FORMAT = {"type": "json_schema", "json_schema": {"name": "Move", "schema": Move.model_json_schema()}}


def _answer(board: str, client: OpenAI) -> str:
    messages = [{"role": "user", "content": f"Your move:\n{board}"}]
    choice = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT).choices[0]
    if choice.finish_reason != "stop" or not choice.message.content:
        raise ValueError(f"no answer: {choice.finish_reason}")
    return choice.message.content


def broken(board: str, client: OpenAI) -> Move:
    """Choose a move."""
    answer = _answer(board, client)
    found = re.search(r"\{[^{}]*\}", answer)  # the first object
    return Move.model_validate(strictly(found[0] if answer.lstrip().startswith("<think>") and found else answer))


def mended(board: str, client: OpenAI) -> Move:
    """Choose a move."""
    answer = _answer(board, client)
    return Move.model_validate(strictly(re.sub(r"\A\s*<think>.*?</think>", "", answer, flags=re.DOTALL)))
