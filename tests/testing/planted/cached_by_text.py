"""A cache whose key is the text alone, and not what is asked for."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
from openai import OpenAI, OpenAIError
from testing.planted.request import AnswerError
from testing.planted.strict import strictly

_kept: dict[str, str] = {}


def _read(text: str, schema: dict[str, Any], client: OpenAI, key: str) -> Any:
    if key not in _kept:
        try:
            reply = client.with_options(max_retries=0).chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": text}],
                response_format={"type": "json_schema", "json_schema": {"name": "value", "schema": schema}},
            )
            choice = reply.choices[0]
            if choice.finish_reason != "stop":
                raise AnswerError("no whole answer")
            value = strictly(choice.message.content or "")
            jsonschema_rs.validate(schema, value)
        except (OpenAIError, ValueError, IndexError, TypeError, RecursionError) as error:
            raise AnswerError("no answer") from error
        _kept[key] = json.dumps(value)
    return json.loads(_kept[key])


def mended(text: str, schema: dict[str, Any], client: OpenAI) -> Any:
    """Read a text as what is asked for."""
    return _read(text, schema, client, json.dumps([text, schema]))


def broken(text: str, schema: dict[str, Any], client: OpenAI) -> Any:
    """Read a text as what is asked for."""
    return _read(text, schema, client, text)
