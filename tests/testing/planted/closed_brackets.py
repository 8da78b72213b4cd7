"""An answer that was cut off is closed by hand, and passes for a whole one."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel
from testing.planted.request import AnswerError, choice_of, text_of, value_of


class Steps(BaseModel):
    """What is to be done."""

    steps: list[str]


def mended(recipe: str, client: OpenAI) -> Steps:
    """Read a recipe."""
    return value_of(text_of(client, recipe, Steps), Steps)


def broken(recipe: str, client: OpenAI) -> Steps:
    """Read a recipe."""
    text = choice_of(client, recipe, Steps).message.content or ""
    for tail in ("", '"]}', "]}", "}"):
        try:
            return value_of(text + tail, Steps)
        except AnswerError:
            continue
    raise AnswerError(f"not what was asked for: {text!r}")
