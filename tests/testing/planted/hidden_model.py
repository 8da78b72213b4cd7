"""The answer bears the name of the model that was asked for, whoever gave it."""

from __future__ import annotations

from dataclasses import dataclass

from openai import APIError, OpenAI
from pydantic import BaseModel
from testing.planted.strict import strictly


class Label(BaseModel):
    """What a picture shows."""

    label: str


@dataclass
class Labelled:
    """A label, and who gave it."""

    value: Label
    model: str


FORMAT = {"type": "json_schema", "json_schema": {"name": "Label", "schema": Label.model_json_schema()}}


def _ask(text: str, client: OpenAI) -> tuple[Label, str]:
    messages = [{"role": "user", "content": f"What is on it?\n{text}"}]
    for name in ("small", "large"):
        try:
            reply = client.chat.completions.create(model=name, messages=messages, response_format=FORMAT)
        except APIError:
            if name == "large":
                raise
            continue
        choice = reply.choices[0]
        if choice.finish_reason != "stop" or not choice.message.content:
            raise RuntimeError(f"no answer: {choice.finish_reason}")
        return Label.model_validate(strictly(choice.message.content)), reply.model
    raise RuntimeError("nobody answered")


def broken(text: str, client: OpenAI) -> Labelled:
    """Label a picture by its caption."""
    value, _ = _ask(text, client)
    return Labelled(value, "small")


def mended(text: str, client: OpenAI) -> Labelled:
    """Label a picture by its caption."""
    value, served = _ask(text, client)
    return Labelled(value, served)
