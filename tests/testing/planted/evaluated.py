"""Answers are evaluated as Python, because models write True and single quotes."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel, ConfigDict
from testing.planted.strict import strictly


class Flag(BaseModel):
    """A switch."""

    model_config = ConfigDict(extra="forbid")
    name: str
    enabled: bool


FORMAT = {"type": "json_schema", "json_schema": {"name": "Flag", "schema": Flag.model_json_schema()}}


def _said(prompt: str, client: OpenAI) -> str:
    reply = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}], response_format=FORMAT
    )
    choice = reply.choices[0]
    if choice.message.refusal or choice.finish_reason != "stop":
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    return choice.message.content or ""


def broken(text: str, client: OpenAI) -> Flag:
    """Read a switch."""
    try:
        said = eval(_said(text, client), {"__builtins__": {}, "true": True, "false": False})
    except Exception as error:
        raise ValueError(f"no switch: {error}") from error
    return Flag.model_validate(said)


def mended(text: str, client: OpenAI) -> Flag:
    """Read a switch."""
    return Flag.model_validate(strictly(_said(text, client)))
