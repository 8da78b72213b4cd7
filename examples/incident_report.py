"""An incident report: what broke, when, and why."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

import guard

Minute = Annotated[str, Field(pattern=r"^20\d\d-[01]\d-[0-3]\d [0-2]\d:[0-5]\d$")]


class Incident(BaseModel):
    """What the reliability team counts. The fields stand in the order of the report."""

    incident: Annotated[str, Field(pattern=r"^INC-\d{4}$")]
    service: Annotated[str, Field(pattern=r"^[a-z][a-z-]{2,30}$")]
    severity: Literal["SEV1", "SEV2", "SEV3", "SEV4"]
    started: Minute
    resolved: Minute
    incident_commander: Annotated[str, Field(min_length=3, max_length=40)]
    status: Literal["open", "closed"]
    failed_orders: Annotated[int, Field(ge=0, le=1_000_000)]
    root_cause: Literal["configuration", "hardware", "software", "provider"]


@guard.structured(retries=2, seed=7)
def read(document: str) -> Incident:
    """Read the incident report."""
