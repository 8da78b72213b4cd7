"""A field is to be quoted from the letter, and the answer is checked by its type alone."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict

import guard


class Order(BaseModel):
    """An order."""

    model_config = ConfigDict(extra="forbid")
    customer: Annotated[str, guard.Quoted()]
    note: Annotated[str | None, guard.Quoted(within="paragraph")]


class _Loose(BaseModel):
    model_config = ConfigDict(extra="forbid")
    customer: str
    note: str | None


def _messages(letter: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Read the order.\n{letter}"}]


def broken(letter: str, model: guard.models.Model) -> Order:
    """Read an order."""
    found = guard.Guard(model, retries=1).generate(_Loose, _messages(letter))
    return Order(customer=found.customer, note=found.note)


def mended(letter: str, model: guard.models.Model) -> Order:
    """Read an order."""
    return guard.Guard(model, retries=1).generate(Order, _messages(letter), sources={"letter": letter})
