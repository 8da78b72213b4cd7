"""Asked again, the model is told what was wrong with its answer, and not what it was asked."""

from __future__ import annotations

from typing import Any

from openai import OpenAI
from pydantic import BaseModel, ConfigDict, ValidationError
from testing.planted.strict import strictly


class Bill(BaseModel):
    """What a bill comes to."""

    model_config = ConfigDict(extra="forbid")
    total: int
    currency: str


FORMAT = {"type": "json_schema", "json_schema": {"name": "Bill", "schema": Bill.model_json_schema()}}


def _ask(bill: str, client: OpenAI, keeps: bool) -> Bill:
    messages: list[Any] = [{"role": "user", "content": f"Add up.\n{bill}"}]
    for _ in range(3):
        choice = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT).choices[0]
        if choice.finish_reason != "stop" or choice.message.content is None:
            raise RuntimeError(f"no answer: {choice.finish_reason}")
        try:
            return Bill.model_validate(strictly(choice.message.content))
        except ValidationError as error:
            messages = [
                *(messages if keeps else []),
                {"role": "assistant", "content": choice.message.content},
                {"role": "user", "content": f"Not valid: {error}"},
            ]
    raise RuntimeError("no valid sum in 3 attempts")


def broken(bill: str, client: OpenAI) -> Bill:
    """Add up a bill."""
    return _ask(bill, client, keeps=False)


def mended(bill: str, client: OpenAI) -> Bill:
    """Add up a bill."""
    return _ask(bill, client, keeps=True)
