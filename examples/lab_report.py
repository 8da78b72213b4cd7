"""A laboratory report: whose sample, and what was measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

import guard


class Result(BaseModel):
    """One line of the table."""

    test: Annotated[str, Field(min_length=3, max_length=30)]
    result: Annotated[float, Field(ge=0)]
    unit: Literal["mmol/L", "umol/L", "ug/L"]
    flag: Literal["normal", "high", "low"]


class Report(BaseModel):
    """What the patient's record takes over."""

    patient: Annotated[str, Field(description="name of the patient", min_length=3, max_length=40)]
    patient_id: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{6}$")]
    date_of_birth: Annotated[str, Field(pattern=r"^(19|20)\d\d-[01]\d-[0-3]\d$")]
    sex: Literal["female", "male"]
    specimen: Literal["serum", "plasma", "urine", "whole blood"]
    results: Annotated[list[Result], Field(description="lines of the table", min_length=1, max_length=20)]
    critical: Annotated[bool, Field(description="whether any value is critical")]


@guard.structured(retries=2, seed=7)
def read(document: str) -> Report:
    """Read the laboratory report."""
