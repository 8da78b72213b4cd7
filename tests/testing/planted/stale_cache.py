"""Answers are kept by the beginning of the text alone: a text that differs further down gets another's answer."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel

import guard


class Topic(BaseModel):
    """What a page is about."""

    topic: str


_kept: dict[str, Topic] = {}


def _cached(page: str, model: guard.models.Model, key: Callable[[str], str]) -> Topic:
    if key(page) not in _kept:
        asked = guard.Guard(model, retries=1)
        _kept[key(page)] = asked.generate(Topic, [{"role": "user", "content": f"{page}\n\nWhat is it about?"}])
    return _kept[key(page)].model_copy()


def broken(page: str, model: guard.models.Model) -> Topic:
    """Say what a page is about."""
    return _cached(page, model, lambda page: "broken" + page.strip().lower()[:200])


def mended(page: str, model: guard.models.Model) -> Topic:
    """Say what a page is about."""
    return _cached(page, model, lambda page: "mended" + page)
