"""Numbers of accounts are packed into 64 bits."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel, ConfigDict
from testing.planted.strict import strictly


class Account(BaseModel):
    """An account."""

    model_config = ConfigDict(extra="forbid")
    owner: str
    number: int


FORMAT = {"type": "json_schema", "json_schema": {"name": "Account", "schema": Account.model_json_schema()}}


def _said(prompt: str, client: OpenAI) -> str:
    reply = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}], response_format=FORMAT
    )
    choice = reply.choices[0]
    if choice.message.refusal or choice.finish_reason != "stop":
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    return choice.message.content or ""


def broken(text: str, client: OpenAI) -> Account:
    """Read an account."""
    found = mended(text, client)
    return found.model_copy(update={"number": (found.number + 2**63) % 2**64 - 2**63})


def mended(text: str, client: OpenAI) -> Account:
    """Read an account."""
    return Account.model_validate(strictly(_said(text, client)))
