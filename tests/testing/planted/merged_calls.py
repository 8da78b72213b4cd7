"""The arguments of several calls of tools are taken together, whatever tools they are of."""

from __future__ import annotations

import json
from typing import Any

from openai import OpenAI, OpenAIError
from pydantic import BaseModel
from testing.planted.request import AnswerError, value_of


class Weather(BaseModel):
    """Where the weather is asked for."""

    city: str
    unit: str


TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather.", "parameters": Weather.model_json_schema()},
}


def _calls(question: str, client: OpenAI) -> list[Any]:
    try:
        reply = client.with_options(max_retries=0).chat.completions.create(
            model="m", messages=[{"role": "user", "content": question}], tools=[TOOL], tool_choice="required"
        )
        choice = reply.choices[0]
    except (OpenAIError, ValueError, IndexError, TypeError) as error:
        raise AnswerError("no answer") from error
    if choice.finish_reason not in ("stop", "tool_calls") or not choice.message.tool_calls:
        raise AnswerError("no call")
    return choice.message.tool_calls


def mended(question: str, client: OpenAI) -> Weather:
    """Return the arguments of the call."""
    calls = _calls(question, client)
    if len(calls) != 1 or calls[0].function.name != "weather":
        raise AnswerError("not one call of the tool")
    return value_of(calls[0].function.arguments, Weather)


def broken(question: str, client: OpenAI) -> Weather:
    """Return the arguments of the call."""
    arguments: dict[str, Any] = {}
    for call in _calls(question, client):
        try:
            arguments |= json.loads(call.function.arguments)
        except (ValueError, TypeError, RecursionError) as error:
            raise AnswerError("no arguments") from error
    return value_of(json.dumps(arguments), Weather)
