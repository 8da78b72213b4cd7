"""The provider does not know every keyword, so a weaker schema is sent, and what comes back is checked against that."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
from openai import OpenAI
from testing.planted.strict import strictly

SCHEMA = {
    "type": "object",
    "properties": {
        "sku": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
        "count": {"type": "integer", "minimum": 1, "maximum": 99},
    },
    "required": ["sku", "count"],
    "additionalProperties": False,
}
UNKNOWN = ("pattern", "minimum", "maximum")  # to the provider


def _weaker(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    return {key: _weaker(value) for key, value in schema.items() if key not in UNKNOWN}


def _ask(text: str, client: OpenAI, checked: Any) -> dict[str, Any]:
    response_format = {"type": "json_schema", "json_schema": {"name": "item", "schema": _weaker(SCHEMA)}}
    messages = [{"role": "user", "content": f"Which item?\n{text}"}]
    choice = client.chat.completions.create(model="m", messages=messages, response_format=response_format).choices[0]
    if choice.finish_reason != "stop" or not choice.message.content:
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    value = strictly(choice.message.content)
    jsonschema_rs.validate(checked, value)
    return value


def broken(text: str, client: OpenAI) -> dict[str, Any]:
    """Find an item; SCHEMA says what one is."""
    return _ask(text, client, _weaker(SCHEMA))


def mended(text: str, client: OpenAI) -> dict[str, Any]:
    """Find an item; SCHEMA says what one is."""
    return _ask(text, client, SCHEMA)
