"""Feedback on a recorded answer: that it is right, that it is wrong, or what the right answer is."""

from __future__ import annotations

from dataclasses import dataclass

PERSON = "person"  #: The `source` of feedback that names none.


@dataclass(frozen=True)
class Feedback:
    """The latest feedback on one call's answer."""

    right: bool
    value: str | None = None  # JSON of the right answer, or None where nobody gave it
    by: str = PERSON
    given: float = 0.0  # seconds since the epoch
