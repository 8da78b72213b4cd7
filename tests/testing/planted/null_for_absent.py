"""A key that the model left out comes back as null, which the schema does not allow and the database takes for unset."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
from openai import OpenAI

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
    value = json.loads(choice.message.content, object_pairs_hook=_once)
    jsonschema_rs.validate(SCHEMA, value)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def broken(text: str, client: OpenAI) -> dict[str, Any]:
    """Read a contact."""
    value = _ask(text, client)
    return {key: value.get(key) for key in SCHEMA["properties"]}


def mended(text: str, client: OpenAI) -> dict[str, Any]:
    """Read a contact."""
    return _ask(text, client)
