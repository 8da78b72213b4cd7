"""Rates are rounded to cents on the way out."""

from __future__ import annotations

from pydantic import BaseModel

import guard


class Rate(BaseModel):
    """An exchange rate."""

    currency: str
    rate: float


def mended(page: str, model: guard.models.Model) -> Rate:
    """Find an exchange rate."""
    return guard.Guard(model, retries=0).generate(Rate, [{"role": "user", "content": page}])


def broken(page: str, model: guard.models.Model) -> Rate:
    """Find an exchange rate."""
    found = mended(page, model)
    return found.model_copy(update={"rate": round(found.rate, 2)})
