"""Rows are put into a dictionary by name on their way, and two of one name become one."""

from __future__ import annotations

from pydantic import BaseModel

import guard


class Line(BaseModel):
    """What is ordered, and how many."""

    product: str
    quantity: int


class Basket(BaseModel):
    """An order."""

    lines: list[Line]


def mended(mail: str, model: guard.models.Model) -> Basket:
    """Read an order."""
    return guard.Guard(model, retries=1).generate(Basket, [{"role": "user", "content": mail}])


def broken(mail: str, model: guard.models.Model) -> Basket:
    """Read an order."""
    by_name = {line.product: line.quantity for line in mended(mail, model).lines}
    return Basket(lines=[Line(product=name, quantity=quantity) for name, quantity in by_name.items()])
