"""Asks until the answer is valid, however often that is."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel, ConfigDict, ValidationError
from testing.planted.strict import strictly


class Ticket(BaseModel):
    """A support ticket."""

    model_config = ConfigDict(extra="forbid")
    title: str
    severity: int


FORMAT = {"type": "json_schema", "json_schema": {"name": "Ticket", "schema": Ticket.model_json_schema()}}


def broken(text: str, client: OpenAI) -> Ticket:
    """Read a ticket."""
    messages = [{"role": "user", "content": f"Read the ticket:\n{text}"}]
    while True:
        reply = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT)
        choice = reply.choices[0]
        if choice.message.refusal or choice.finish_reason != "stop":
            raise RuntimeError(f"no answer: {choice.finish_reason}")
        answer = choice.message.content or ""
        try:
            return Ticket.model_validate(strictly(answer))
        except ValidationError as error:
            messages = [
                *messages,
                {"role": "assistant", "content": answer},
                {"role": "user", "content": f"That is not valid: {error}"},
            ]


def mended(text: str, client: OpenAI) -> Ticket:
    """Read a ticket."""
    messages = [{"role": "user", "content": f"Read the ticket:\n{text}"}]
    for _ in range(3):
        reply = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT)
        choice = reply.choices[0]
        if choice.message.refusal or choice.finish_reason != "stop":
            raise RuntimeError(f"no answer: {choice.finish_reason}")
        answer = choice.message.content or ""
        try:
            return Ticket.model_validate(strictly(answer))
        except ValidationError as error:
            messages = [
                *messages,
                {"role": "assistant", "content": answer},
                {"role": "user", "content": f"That is not valid: {error}"},
            ]
    raise RuntimeError("no valid ticket after 3 attempts")
