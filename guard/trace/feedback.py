"""What somebody says of an answer on record: that it is right, that it is wrong, or what would have been right."""

from __future__ import annotations

from dataclasses import dataclass

PERSON = "person"  #: By whom it is said where nobody says by whom.


@dataclass(frozen=True)
class Feedback:
    """The last word on one call's answer."""

    right: bool
    value: str | None = None  # JSON: what would have been right; None: nobody said
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
