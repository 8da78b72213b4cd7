"""An answer that was cut off is closed by hand, and passes for a whole one."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel, ValidationError
from testing.planted.request import Failed, choice_of, text_of


class Steps(BaseModel):
    """What is to be done."""

    steps: list[str]


def mended(recipe: str, client: OpenAI) -> Steps:
    """Read a recipe."""
    try:
        return Steps.model_validate_json(text_of(client, recipe, Steps))
    except ValidationError as error:
        raise Failed(f"not what was asked for: {error}") from error


def broken(recipe: str, client: OpenAI) -> Steps:
    """Read a recipe."""
    text = choice_of(client, recipe, Steps).message.content or ""
    for tail in ("", '"]}', "]}", "}"):
        try:
            return Steps.model_validate_json(text + tail)
        except ValidationError:
            continue
    raise Failed(f"not what was asked for: {text!r}")
