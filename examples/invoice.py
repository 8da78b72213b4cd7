"""An invoice: who bills whom, for what, and how much."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

import guard

Name = Annotated[str, Field(min_length=2, max_length=60)]
Date = Annotated[str, Field(pattern=r"^20\d\d-[01]\d-[0-3]\d$")]


class Line(BaseModel):
    """One line of an invoice."""

    quantity: Annotated[int, Field(ge=1, le=9999)]
    description: Name
    amount: Annotated[float, Field(ge=0)]


class Invoice(BaseModel):
    """What accounts payable books."""

    vendor: Annotated[Name, Field(description="company that sends the invoice")]
    number: Annotated[str, Field(description="invoice number", pattern=r"^[A-Z]{2}-\d{5}$")]
    issued: Annotated[Date, Field(description="invoice date")]
    due: Annotated[Date, Field(description="date when payment is due")]
    customer: Annotated[Name, Field(description="name under bill to")]
    lines: Annotated[list[Line], Field(description="goods and services", min_length=1, max_length=12)]
    currency: Literal["EUR", "GBP", "USD"]
    total: Annotated[float, Field(description="total due", ge=0)]


@guard.structured(retries=2, seed=7)
def read(document: str) -> Invoice:
    """Read the invoice."""
