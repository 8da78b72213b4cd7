"""An answer without content ends in a TypeError from somewhere below, which no caller is prepared for."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
from openai import AsyncOpenAI
from testing.planted.strict import strictly

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "celsius": {"type": "number"}},
    "required": ["city", "celsius"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA}}


class NoWeatherError(Exception):
    """There is no valid report."""


async def _answer(text: str, client: AsyncOpenAI) -> str | None:
    messages = [{"role": "user", "content": f"The weather?\n{text}"}]
    reply = await client.chat.completions.create(model="m", messages=messages, response_format=FORMAT)
    if reply.choices[0].finish_reason != "stop":
        raise NoWeatherError(f"no answer: {reply.choices[0].finish_reason}")
    return reply.choices[0].message.content


def _read(answer: str) -> dict[str, Any]:
    try:
        value = strictly(answer)
        jsonschema_rs.validate(SCHEMA, value)
    except (ValueError, RecursionError, jsonschema_rs.ValidationError) as error:
        raise NoWeatherError("no valid report") from error
    return value


async def broken(text: str, client: AsyncOpenAI) -> dict[str, Any]:
    """Read a weather report."""
    return _read((await _answer(text, client)).strip())


async def mended(text: str, client: AsyncOpenAI) -> dict[str, Any]:
    """Read a weather report."""
    answer = await _answer(text, client)
    if answer is None:
        raise NoWeatherError("the model declined")
    return _read(answer.strip())
