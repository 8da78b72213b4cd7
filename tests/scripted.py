"""A model that says what a test tells it to, with figures that tell attempts apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from guard.models import scripted
from guard.models.base import Reply, Request


class Scripted:
    """A ScriptedModel that only blocks: other ways to ask it are the pipeline's to make."""

    def __init__(self, *answers: Any, name: str = "scripted") -> None:
        self.name = name
        self._model = scripted.ScriptedModel(*(_told(answer) for answer in answers), name=name)
        self.requests = self._model.requests

    def generate(self, request: Request) -> Reply:
        return self._model.generate(request)


def reply(text: str, **changes: object) -> Reply:
    """Return a reply whose figures follow from its text, so that sums tell attempts apart."""
    figures: dict[str, object] = {
        "model": "scripted-1",
        "forced_tokens": len(text) // 2,
        "seconds": 0.25,
        "mask_seconds": 0.125,
        "cost": None,
    }
    return scripted.reply(text, **{**figures, **changes})


def _told(answer: Any) -> Any:
    """Return an answer whose texts are replies of this module's."""
    if isinstance(answer, str):
        return reply(answer)
    if callable(answer):
        ask: Callable[[Request], Any] = answer
        return lambda request: _told(ask(request))
    return answer
