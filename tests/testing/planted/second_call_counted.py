"""Of two questions to the model, one after the other, only the second one's tokens are reported."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

import guard


class Summary(BaseModel):
    """A summary."""

    text: str


class Label(BaseModel):
    """What an article is about."""

    label: str
    reason: str


def _both(article: str, model: guard.models.Model) -> tuple[Label, int, int]:
    asked = guard.Guard(model, retries=0)
    summary, first = asked.traced(Summary, [{"role": "user", "content": article}])
    label, second = asked.traced(Label, [{"role": "user", "content": f"{article}\n{summary.text}"}])
    return label, first.prompt_tokens, second.prompt_tokens


def mended(article: str, model: guard.models.Model) -> dict[str, Any]:
    """Summarise an article, then label it."""
    label, first, second = _both(article, model)
    return {"value": label, "prompt_tokens": first + second}


def broken(article: str, model: guard.models.Model) -> dict[str, Any]:
    """Summarise an article, then label it."""
    label, _, second = _both(article, model)
    return {"value": label, "prompt_tokens": second}
