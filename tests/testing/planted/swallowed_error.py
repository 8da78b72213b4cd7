"""An error becomes an empty order: the shop ships nothing, and nobody knows why."""

from __future__ import annotations

from pydantic import BaseModel

import guard


class Order(BaseModel):
    """What a customer orders."""

    product: str = ""
    quantity: int = 0


@guard.structured(retries=1)
def read_order(mail: str) -> Order:
    """Read the order."""


def broken(mail: str, model: guard.models.Model) -> Order:
    """Read an order from a mail."""
    try:
        return read_order.using(model=model)(mail)
    except guard.GuardError:
        return Order()


def mended(mail: str, model: guard.models.Model) -> Order:
    """Read an order from a mail."""
    return read_order.using(model=model)(mail)
