"""In an outage another model is asked, without the rules that stand in the system message."""

from __future__ import annotations

from openai import APIConnectionError, APIStatusError, OpenAI
from pydantic import BaseModel, ConfigDict
from testing.planted.strict import strictly


class Topic(BaseModel):
    """What a text is about."""

    model_config = ConfigDict(extra="forbid")
    topic: str
    certain: bool


FORMAT = {"type": "json_schema", "json_schema": {"name": "Topic", "schema": Topic.model_json_schema()}}


def _topic(client: OpenAI, model: str, *messages: dict[str, str]) -> Topic:
    asked = client.with_options(max_retries=0).chat.completions
    choice = asked.create(model=model, messages=messages, response_format=FORMAT).choices[0]
    if choice.message.refusal or choice.finish_reason != "stop":
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    return Topic.model_validate(strictly(choice.message.content or ""))


def broken(text: str, rules: str, client: OpenAI) -> Topic:
    """Find the topic."""
    asked = {"role": "user", "content": text}
    try:
        return _topic(client, "first", {"role": "system", "content": rules}, asked)
    except (APIStatusError, APIConnectionError):
        return _topic(client, "second", asked)


def mended(text: str, rules: str, client: OpenAI) -> Topic:
    """Find the topic."""
    messages = ({"role": "system", "content": rules}, {"role": "user", "content": text})
    try:
        return _topic(client, "first", *messages)
    except (APIStatusError, APIConnectionError):
        return _topic(client, "second", *messages)
