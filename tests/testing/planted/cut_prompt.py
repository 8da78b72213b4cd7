"""The model that is asked where the first one fails gets the beginning of the text alone."""

from __future__ import annotations

from pydantic import BaseModel

import guard


class Summary(BaseModel):
    """What a text says."""

    summary: str


def _ask(text: str, small: guard.models.Model, large: guard.models.Model, most: int) -> Summary:
    try:
        return guard.Guard(small, retries=0).generate(Summary, [{"role": "user", "content": f"Sum up: {text}"}])
    except guard.CallError:
        question = [{"role": "user", "content": f"Sum up: {text[:most]}"}]
        return guard.Guard(large, retries=0).generate(Summary, question)


def broken(text: str, small: guard.models.Model, large: guard.models.Model) -> Summary:
    """Sum up a text."""
    return _ask(text, small, large, most=8)


def mended(text: str, small: guard.models.Model, large: guard.models.Model) -> Summary:
    """Sum up a text."""
    return _ask(text, small, large, most=100_000)
