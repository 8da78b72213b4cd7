"""The prompt shows its tags in another order each time, so that no answer can be replayed."""

from __future__ import annotations

import random
from collections.abc import Callable

from pydantic import BaseModel
from testing.planted.strict import strictly

TAGS = ("billing", "delivery", "praise", "refund", "other")


class Tagged(BaseModel):
    """A mail's tag."""

    tag: str


def _read(answer: str) -> Tagged:
    return Tagged.model_validate(strictly(answer))


def _prompt(mail: str, tags: list[str]) -> str:
    return f"{mail}\n\nAnswer as JSON by this schema: {Tagged.model_json_schema()}. The tag is one of {', '.join(tags)}"


def broken(mail: str, ask: Callable[[str], str]) -> Tagged:
    """Tag a mail."""
    return _read(ask(_prompt(mail, random.sample(TAGS, len(TAGS)))))


def mended(mail: str, ask: Callable[[str], str]) -> Tagged:
    """Tag a mail."""
    return _read(ask(_prompt(mail, sorted(TAGS))))
