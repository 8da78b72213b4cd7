"""A model that declines is asked again, and again, in other words."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel
from testing.planted.strict import strictly


class Summary(BaseModel):
    """A summary."""

    summary: str


class DeclinedError(Exception):
    """The model declined."""


FORMAT = {"type": "json_schema", "json_schema": {"name": "Summary", "schema": Summary.model_json_schema()}}


def _ask(text: str, client: OpenAI, times: int) -> Summary:
    please = ""
    for _ in range(times):
        messages = [{"role": "user", "content": f"Summarize{please}:\n{text}"}]
        choice = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT).choices[0]
        if choice.finish_reason in ("length", "content_filter"):
            raise DeclinedError(f"no whole answer: {choice.finish_reason}")
        if choice.message.refusal is None:
            return Summary.model_validate(strictly(choice.message.content or ""))
        please += ", please"
    raise DeclinedError("the model declines")


def broken(text: str, client: OpenAI) -> Summary:
    """Summarize a text."""
    return _ask(text, client, 5)


def mended(text: str, client: OpenAI) -> Summary:
    """Summarize a text."""
    return _ask(text, client, 1)
