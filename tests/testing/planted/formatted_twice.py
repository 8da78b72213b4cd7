"""The text becomes part of a format string, which is then formatted."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel, ConfigDict
from testing.planted.strict import strictly


class Summary(BaseModel):
    """A short text."""

    model_config = ConfigDict(extra="forbid")
    summary: str
    words: int


FORMAT = {"type": "json_schema", "json_schema": {"name": "Summary", "schema": Summary.model_json_schema()}}


def _said(prompt: str, client: OpenAI) -> str:
    reply = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}], response_format=FORMAT
    )
    choice = reply.choices[0]
    if choice.message.refusal or choice.finish_reason != "stop":
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    return choice.message.content or ""


def broken(text: str, client: OpenAI) -> Summary:
    """Sum a text up."""
    prompt = "Sum this up in {language}:\n" + text
    return Summary.model_validate(strictly(_said(prompt.format(language="English"), client)))


def mended(text: str, client: OpenAI) -> Summary:
    """Sum a text up."""
    prompt = "Sum this up in {language}:\n".format(language="English") + text
    return Summary.model_validate(strictly(_said(prompt, client)))
