"""A support e-mail: who writes, about what, and what they want."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

import guard

Name = Annotated[str, Field(min_length=2, max_length=40)]


class Ticket(BaseModel):
    """What the help desk files."""

    sender: Annotated[Name, Field(description="name of the person who writes")]
    email: Annotated[str, Field(description="e-mail address of the sender", pattern=r"^[a-z.]+@[a-z.-]+\.[a-z]+$")]
    order: Annotated[str, Field(description="order number", pattern=r"^[A-Z]{2}-\d{6}$")]
    product: Annotated[Name, Field(description="product that has the problem")]
    problem: Annotated[
        Literal["does not turn on", "wrong item", "late delivery", "billing"], Field(description="kind of problem")
    ]
    wants: Annotated[Literal["replacement", "refund", "information"], Field(description="what the sender asks for")]
    phone: Annotated[str, Field(description="phone number", pattern=r"^\d{4} \d{3} \d{4}$")]


@guard.structured(retries=2, seed=7)
def read(document: str) -> Ticket:
    """Read the e-mail."""
