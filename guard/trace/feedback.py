"""What somebody says of an answer on record: that it is right, that it is wrong, or what would have been right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guard.output import target as targets

PERSON = "person"  #: By whom it is said where nobody says by whom.


@dataclass(frozen=True)
class Feedback:
    """The last word on one call's answer."""

    right: bool
    value: str | None = None  # JSON: what would have been right; None: nobody said
    by: str = PERSON
    given: float = 0.0  # seconds since the epoch


def written(asked: Mapping[str, Any], value: Any) -> str:
    """Return a corrected value as JSON; ValueError where what was asked for, as a trace keeps it, does not allow it."""
    options = dict(asked)
    return targets.from_any(options.pop("schema"), options).written(value, "the correction")
