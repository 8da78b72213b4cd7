"""An incident report: what broke, when, and why."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

import guard

Clock = Annotated[str, Field(pattern=r"^[0-2]\d:[0-5]\d$")]


class Incident(BaseModel):
    """What the reliability team counts."""

    id: Annotated[str, Field(description="incident number", pattern=r"^INC-\d{4}$")]
    service: Annotated[str, Field(description="service that failed", pattern=r"^[a-z][a-z-]{2,30}$")]
    severity: Literal["SEV1", "SEV2", "SEV3", "SEV4"]
    date: Annotated[str, Field(pattern=r"^20\d\d-[01]\d-[0-3]\d$")]
    started: Annotated[Clock, Field(description="time when it started")]
    resolved: Annotated[Clock, Field(description="time when it was resolved")]
    commander: Annotated[str, Field(description="incident commander", min_length=3, max_length=40)]
    failed_orders: Annotated[int, Field(description="number of failed orders", ge=0, le=1_000_000)]
    cause: Annotated[
        Literal["configuration", "hardware", "software bug", "third party"], Field(description="root cause")
    ]


@guard.structured(retries=2, seed=7)
def read(document: str) -> Incident:
    """Read the incident report."""
