"""A stream that was cut off is read as far as it came, and taken for the whole list."""

from __future__ import annotations

import jiter
from openai import OpenAI
from pydantic import BaseModel
from testing.planted.strict import strictly


class Minutes(BaseModel):
    """Minutes of a meeting."""

    topic: str
    decisions: list[str]


FORMAT = {"type": "json_schema", "json_schema": {"name": "Minutes", "schema": Minutes.model_json_schema()}}


def _stream(text: str, client: OpenAI) -> tuple[str, str | None]:
    """Return what came, and how it ended."""
    answer, finish = "", None
    messages = [{"role": "user", "content": f"List the decisions:\n{text}"}]
    with client.chat.completions.create(model="m", messages=messages, response_format=FORMAT, stream=True) as events:
        for event in events:
            if event.choices:
                answer += event.choices[0].delta.content or ""
                finish = event.choices[0].finish_reason or finish
    return answer, finish


def broken(text: str, client: OpenAI) -> Minutes:
    """List the decisions of a meeting."""
    answer, _ = _stream(text, client)
    return Minutes.model_validate(jiter.from_json(answer.encode(), partial_mode="trailing-strings"))


def mended(text: str, client: OpenAI) -> Minutes:
    """List the decisions of a meeting."""
    answer, finish = _stream(text, client)
    if finish != "stop":
        raise RuntimeError(f"the stream was cut off ({finish})")
    return Minutes.model_validate(strictly(answer))
