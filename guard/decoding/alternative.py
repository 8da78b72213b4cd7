"""A value that could have been chosen instead of another one; see guard/decoding/whole_values.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Alternative:
    """A value that could have been chosen instead."""

    value: Any
    confidence: float  #: Its probability among all that were looked at.
