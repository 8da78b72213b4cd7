"""A refusal has no content, which is read all the same."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel
from testing.planted.request import AnswerError, choice_of, value_of


class Size(BaseModel):
    """How large something is."""

    width: float
    height: float


def _ask(page: str, client: OpenAI, looks: bool) -> Size:
    choice = choice_of(client, page, Size)
    if choice.finish_reason in ("length", "content_filter") or (looks and not choice.message.content):
        raise AnswerError(f"no answer: {choice.finish_reason}")
    return value_of(choice.message.content, Size)


def mended(page: str, client: OpenAI) -> Size:
    """Measure."""
    return _ask(page, client, looks=True)


def broken(page: str, client: OpenAI) -> Size:
    """Measure."""
    return _ask(page, client, looks=False)
