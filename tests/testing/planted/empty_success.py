"""No answer at all is read as an answer that says nothing."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel, ConfigDict
from testing.planted.strict import strictly


class Allergies(BaseModel):
    """What a guest must not eat."""

    model_config = ConfigDict(extra="forbid")
    allergies: list[str] = []


FORMAT = {"type": "json_schema", "json_schema": {"name": "Allergies", "schema": Allergies.model_json_schema()}}


def _answer(note: str, client: OpenAI) -> str:
    messages = [{"role": "user", "content": f"Allergies?\n{note}"}]
    choice = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT).choices[0]
    if choice.finish_reason != "stop" or choice.message.refusal:
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    return choice.message.content or ""


def broken(note: str, client: OpenAI) -> Allergies:
    """Read what a guest must not eat."""
    return Allergies.model_validate(strictly(_answer(note, client).strip() or "{}"))


def mended(note: str, client: OpenAI) -> Allergies:
    """Read what a guest must not eat."""
    return Allergies.model_validate(strictly(_answer(note, client)))
