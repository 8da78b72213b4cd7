"""A support e-mail: who writes, about what, and what they want."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

import guard


class Ticket(BaseModel):
    """What the help desk files."""

    sender: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z .'-]{1,39}$")]
    email: Annotated[str, Field(pattern=r"^[a-z.]+@[a-z.-]+\.[a-z]+$")]
    order: Annotated[str, Field(pattern=r"^TH-\d{6}$")]
    product: Annotated[str, Field(min_length=2, max_length=40)]
    problem: Literal["does not turn on", "wrong item", "late delivery", "billing"]
    request: Literal["replacement", "refund", "information"]
    phone: Annotated[str, Field(pattern=r"^\d{4} \d{3} \d{4}$")]


@guard.structured(retries=2, seed=7)
def read(document: str) -> Ticket:
    """Read the e-mail."""
