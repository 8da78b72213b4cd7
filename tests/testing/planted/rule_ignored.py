"""The type has a rule that no schema can say, and the value is built past it."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

import guard


class Stay(BaseModel):
    """A stay in a hotel, by days of the year."""

    model_config = ConfigDict(extra="forbid")
    arrival: int
    departure: int

    @model_validator(mode="after")
    def _leaves_after_arriving(self) -> Self:
        if self.departure <= self.arrival:
            raise ValueError("departure comes after arrival")
        return self


async def _ask(mail: str, model: guard.models.Model, wanted: object) -> object:
    asked = guard.Guard(model, retries=1)
    return await asked.agenerate(wanted, [{"role": "user", "content": f"Which days?\n{mail}"}])


async def broken(mail: str, model: guard.models.Model) -> Stay:
    """Read a booking."""
    schema = {**Stay.model_json_schema(), "additionalProperties": False}
    return Stay.model_construct(**await _ask(mail, model, schema))


async def mended(mail: str, model: guard.models.Model) -> Stay:
    """Read a booking."""
    return await _ask(mail, model, Stay)
