"""Feedback on a recorded answer: that it is right, that it is wrong, or what the right answer is."""

from __future__ import annotations

import json
from dataclasses import dataclass

from guard.support.json_equality import are_equal

PERSON = "person"  #: The `source` of feedback that names none.


@dataclass(frozen=True)
class Feedback:
    """The latest feedback on one call's answer."""

    right: bool
    value: str | None = None  # JSON of the right answer, or None where nobody gave it
    by: str = PERSON
    given: float = 0.0  # seconds since the epoch


@dataclass(frozen=True)
class Ratings:
    """How many answers of one tier of a function were rated, and how many of these are right."""

    function: str  # or "(type)", as guard/trace/stats.py names it
    tier: int
    model: str  # that answered, as asked for
    large: str  # the last tier's
    rated: int
    right: int


def is_same(text: str, other: str) -> bool:
    """Whether two texts are JSON of one value."""
    try:
        return are_equal(json.loads(text), json.loads(other))
    except ValueError:
        return False
