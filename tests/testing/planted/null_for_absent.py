"""A key that the model left out comes back as null, which the schema does not allow."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
from openai import OpenAI
from testing.planted.strict import strictly

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "email": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "contact", "schema": SCHEMA}}


def _ask(text: str, client: OpenAI) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"Who is it?\n{text}"}]
    choice = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT).choices[0]
    if choice.finish_reason != "stop" or not choice.message.content:
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    value = strictly(choice.message.content)
    jsonschema_rs.validate(SCHEMA, value)
    return value


def broken(text: str, client: OpenAI) -> dict[str, Any]:
    """Read a contact."""
    value = _ask(text, client)
    return {key: value.get(key) for key in SCHEMA["properties"]}


def mended(text: str, client: OpenAI) -> dict[str, Any]:
    """Read a contact."""
    return _ask(text, client)
