"""An invoice: who bills whom, and how much."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

import guard

Name = Annotated[str, Field(min_length=2, max_length=60)]
Date = datetime.date
Amount = Annotated[float, Field(ge=0, le=1_000_000)]


class Invoice(BaseModel):
    """What accounts payable books. The fields stand in the order of the invoice."""

    vendor: Name
    invoice_number: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{5}$")]
    invoice_date: Date
    payment_due: Date
    customer: Name
    subtotal: Amount
    vat_amount: Amount
    currency: Literal["EUR", "GBP", "USD"]
    total_due: Amount


@guard.structured(retries=2, seed=7)
def read(document: str) -> Invoice:
    """Read the invoice."""
