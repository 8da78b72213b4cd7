"""Times are kept to the second."""

from __future__ import annotations

from datetime import datetime

from openai import OpenAI
from pydantic import BaseModel, ConfigDict
from testing.planted.strict import strictly


class Sample(BaseModel):
    """What was measured when."""

    model_config = ConfigDict(extra="forbid")
    sensor: str
    at: datetime


FORMAT = {"type": "json_schema", "json_schema": {"name": "Sample", "schema": Sample.model_json_schema()}}


def _said(prompt: str, client: OpenAI) -> str:
    reply = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}], response_format=FORMAT
    )
    choice = reply.choices[0]
    if choice.message.refusal or choice.finish_reason != "stop":
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    return choice.message.content or ""


def broken(text: str, client: OpenAI) -> Sample:
    """Read a sample."""
    found = mended(text, client)
    return found.model_copy(update={"at": found.at.replace(microsecond=0)})


def mended(text: str, client: OpenAI) -> Sample:
    """Read a sample."""
    return Sample.model_validate(strictly(_said(text, client)))
