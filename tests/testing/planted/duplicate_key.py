"""An object that holds a key twice is taken for one that holds it once: the last one wins, in silence."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
from openai import OpenAI
from testing.planted.strict import strictly

SCHEMA = {
    "type": "object",
    "properties": {"account": {"type": "string"}, "amount": {"type": "integer", "minimum": 1}},
    "required": ["account", "amount"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "transfer", "schema": SCHEMA}}


def _answer(text: str, client: OpenAI) -> str:
    messages = [{"role": "user", "content": f"Read the transfer:\n{text}"}]
    choice = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT).choices[0]
    if choice.finish_reason != "stop" or not choice.message.content:
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    return choice.message.content


def broken(text: str, client: OpenAI) -> dict[str, Any]:
    """Read a transfer."""
    value = json.loads(_answer(text, client))
    jsonschema_rs.validate(SCHEMA, value)
    return value


def mended(text: str, client: OpenAI) -> dict[str, Any]:
    """Read a transfer."""
    value = strictly(_answer(text, client))
    jsonschema_rs.validate(SCHEMA, value)
    return value
