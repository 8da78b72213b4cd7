"""The bill shows what the last attempt cost, not what all of them did."""

from __future__ import annotations

from typing import Any

from openai import OpenAI
from pydantic import BaseModel, ConfigDict, ValidationError
from testing.planted.strict import strictly


class Genre(BaseModel):
    """A book's genre."""

    model_config = ConfigDict(extra="forbid")
    genre: str


FORMAT = {"type": "json_schema", "json_schema": {"name": "Genre", "schema": Genre.model_json_schema()}}


def _ask(blurb: str, client: OpenAI, all_attempts: bool) -> dict[str, Any]:
    tokens = 0
    messages = [{"role": "user", "content": f"Which genre?\n{blurb}"}]
    for _ in range(3):
        reply = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT)
        used = reply.usage.total_tokens if reply.usage else 0
        tokens = tokens + used if all_attempts else used
        choice = reply.choices[0]
        if choice.finish_reason != "stop" or choice.message.content is None:
            raise RuntimeError(f"no answer: {choice.finish_reason}")
        try:
            return {"value": Genre.model_validate(strictly(choice.message.content)), "tokens": tokens}
        except ValidationError as error:
            messages += [
                {"role": "assistant", "content": choice.message.content},
                {"role": "user", "content": f"Not valid: {error}"},
            ]
    raise RuntimeError("no valid genre in 3 attempts")


def broken(blurb: str, client: OpenAI) -> dict[str, Any]:
    """Find a book's genre; `value` is a Genre."""
    return _ask(blurb, client, all_attempts=False)


def mended(blurb: str, client: OpenAI) -> dict[str, Any]:
    """Find a book's genre; `value` is a Genre."""
    return _ask(blurb, client, all_attempts=True)
