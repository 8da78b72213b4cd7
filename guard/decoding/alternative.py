"""A value that could have been chosen instead of another one; see guard/decoding/whole_values.py."""

from __future__ import annotations

from typing import Any, NamedTuple


class Alternative(NamedTuple):
    """A value that could have been chosen instead."""

    value: Any
    confidence: float  #: Its probability among all that were looked at.
