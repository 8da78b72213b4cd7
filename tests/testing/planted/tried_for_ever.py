"""Whatever happens, the model is asked again."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel, ConfigDict
from testing.planted.strict import strictly


class Item(BaseModel):
    """An item."""

    model_config = ConfigDict(extra="forbid")
    name: str
    count: int


FORMAT = {"type": "json_schema", "json_schema": {"name": "Item", "schema": Item.model_json_schema()}}


def _said(prompt: str, client: OpenAI) -> str:
    reply = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}], response_format=FORMAT
    )
    choice = reply.choices[0]
    if choice.message.refusal or choice.finish_reason != "stop":
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    return choice.message.content or ""


def broken(text: str, client: OpenAI) -> Item:
    """Read an item."""
    while True:
        try:
            return Item.model_validate(strictly(_said(text, client)))
        except Exception:
            continue


def mended(text: str, client: OpenAI) -> Item:
    """Read an item."""
    return Item.model_validate(strictly(_said(text, client)))
