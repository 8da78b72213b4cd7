"""Who leaves a stream before its end is not charged: what was asked and paid for is not in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

import guard


class Story(BaseModel):
    """A story."""

    title: str
    text: str


@guard.structured(retries=0)
def tell(theme: str) -> Iterator[Story]:
    """Tell a story."""


def broken(theme: str, model: guard.models.Model, ledger: list[dict[str, Any]]) -> Iterator[Story]:
    """Tell a story, piece by piece."""
    parts = 0
    for part in tell.using(model=model)(theme):
        parts += 1
        yield part
    ledger.append({"theme": theme, "parts": parts})


def mended(theme: str, model: guard.models.Model, ledger: list[dict[str, Any]]) -> Iterator[Story]:
    """Tell a story, piece by piece."""
    parts = 0
    stream = tell.using(model=model)(theme)
    try:
        for part in stream:
            parts += 1
            yield part
    finally:
        stream.close()
        ledger.append({"theme": theme, "parts": parts})
