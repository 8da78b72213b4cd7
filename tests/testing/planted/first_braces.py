"""The JSON of an answer is taken to end at its first closing brace."""

from __future__ import annotations

import re

from openai import OpenAI
from pydantic import BaseModel, ConfigDict
from testing.planted.strict import strictly


class Place(BaseModel):
    """Where something is sent."""

    model_config = ConfigDict(extra="forbid")
    city: str


class Order(BaseModel):
    """What is sent."""

    model_config = ConfigDict(extra="forbid")
    ship_to: Place
    note: str


FORMAT = {"type": "json_schema", "json_schema": {"name": "Order", "schema": Order.model_json_schema()}}


def _said(prompt: str, client: OpenAI) -> str:
    reply = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}], response_format=FORMAT
    )
    choice = reply.choices[0]
    if choice.message.refusal or choice.finish_reason != "stop":
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    return choice.message.content or ""


def broken(text: str, client: OpenAI) -> Order:
    """Read an order."""
    found = re.search(r"\{.*?\}", _said(text, client), re.DOTALL)
    if found is None:
        raise RuntimeError("no JSON in the answer")
    return Order.model_validate_json(found[0])


def mended(text: str, client: OpenAI) -> Order:
    """Read an order."""
    return Order.model_validate(strictly(_said(text, client)))
