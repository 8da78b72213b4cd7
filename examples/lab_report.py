"""A laboratory report: whose sample, and what was measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

import guard

Amount = Annotated[float, Field(ge=0, le=10_000)]


class Patient(BaseModel):
    """Whose sample it is."""

    name: Annotated[str, Field(min_length=3, max_length=40)]
    patient_id: Annotated[str, Field(pattern=r"^SB-\d{6}$")]
    date_of_birth: Annotated[str, Field(pattern=r"^(19|20)\d\d-[01]\d-[0-3]\d$")]
    sex: Literal["female", "male"]


class Report(BaseModel):
    """What the patient's record takes over. The fields stand in the order of the report."""

    patient: Patient
    requested_by: Annotated[str, Field(pattern=r"^Dr\. [A-Za-z .'-]{3,40}$")]
    specimen: Literal["serum", "plasma", "urine", "whole blood"]
    sodium: Amount
    potassium: Amount
    creatinine: Amount
    glucose: Amount
    ferritin: Amount


@guard.structured(retries=2, seed=7)
def read(document: str) -> Report:
    """Read the laboratory report."""
