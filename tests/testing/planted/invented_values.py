"""What the model did not say is made up: a field that is missing gets something that fits its type."""

from __future__ import annotations

import json
from typing import Any

import guard


class _Repaired:
    """A model whose answers are completed before anybody checks them."""

    def __init__(self, model: guard.models.Model, fill: dict[str, Any]) -> None:
        self._model, self._fill = model, fill
        self.name = model.name

    def generate(self, request: guard.models.Request) -> guard.models.Reply:
        reply = self._model.generate(request)
        try:
            value = json.loads(reply.text)
        except ValueError:
            return reply
        if not isinstance(value, dict) or all(key in value for key in self._fill):
            return reply
        import dataclasses

        return dataclasses.replace(reply, text=json.dumps(self._fill | value))


SCHEMA = {
    "type": "object",
    "properties": {"patient": {"type": "string"}, "dose_mg": {"type": "integer"}, "drug": {"type": "string"}},
    "required": ["patient", "dose_mg", "drug"],
    "additionalProperties": False,
}


def broken(note: str, model: guard.models.Model) -> dict[str, Any]:
    """Read a prescription."""
    repaired = _Repaired(model, {"patient": "unknown", "dose_mg": 100, "drug": "unknown"})
    return guard.Guard(repaired, retries=1).generate(SCHEMA, [{"role": "user", "content": f"Read:\n{note}"}])


def mended(note: str, model: guard.models.Model) -> dict[str, Any]:
    """Read a prescription."""
    return guard.Guard(model, retries=1).generate(SCHEMA, [{"role": "user", "content": f"Read:\n{note}"}])
