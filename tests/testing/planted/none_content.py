"""A refusal has no content, which is read all the same."""

from __future__ import annotations

import json

from openai import OpenAI
from pydantic import BaseModel, ValidationError
from testing.planted.request import Failed, choice_of


class Size(BaseModel):
    """How large something is."""

    width: float
    height: float


def _ask(page: str, client: OpenAI, looks: bool) -> Size:
    choice = choice_of(client, page, Size)
    if choice.finish_reason in ("length", "content_filter") or (looks and not choice.message.content):
        raise Failed(f"no answer: {choice.finish_reason}")
    try:
        return Size.model_validate(json.loads(choice.message.content))
    except (json.JSONDecodeError, ValidationError, RecursionError) as error:
        raise Failed("not what was asked for") from error


def mended(page: str, client: OpenAI) -> Size:
    """Measure."""
    return _ask(page, client, looks=True)


def broken(page: str, client: OpenAI) -> Size:
    """Measure."""
    return _ask(page, client, looks=False)
