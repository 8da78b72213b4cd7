"""The feedback of one call stays in the caller's list of messages, and is sent with the next."""

from __future__ import annotations

import json
from typing import Any

from openai import OpenAI
from pydantic import BaseModel, ValidationError
from testing.planted.strict import strictly


class Verdict(BaseModel):
    """Whether a text is spam."""

    spam: bool
    reason: str


FORMAT = {"type": "json_schema", "json_schema": {"name": "Verdict", "schema": Verdict.model_json_schema()}}


def _ask(messages: list[dict[str, Any]], client: OpenAI) -> Verdict:
    for _ in range(2):
        choice = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT).choices[0]
        if choice.finish_reason != "stop" or choice.message.content is None:
            raise RuntimeError(f"no answer: {choice.finish_reason}")
        try:
            return Verdict.model_validate(strictly(choice.message.content))
        except ValidationError as error:
            findings = json.dumps(error.errors(include_url=False, include_context=False), default=str)
            messages.append({"role": "assistant", "content": choice.message.content})
            messages.append({"role": "user", "content": f"Correct these: {findings}"})
    raise RuntimeError("no valid verdict in 2 attempts")


def broken(messages: list[dict[str, Any]], client: OpenAI) -> Verdict:
    """Say whether the conversation is spam."""
    return _ask(messages, client)


def mended(messages: list[dict[str, Any]], client: OpenAI) -> Verdict:
    """Say whether the conversation is spam."""
    return _ask([dict(message) for message in messages], client)
