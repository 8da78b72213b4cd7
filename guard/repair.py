"""Repair: what a model without masks wrote around its JSON is taken away, and its small slips are mended.

(In the making: the values that records hold.)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One thing that was mended, and where."""

    at: int  # character offset into the text as the model wrote it
    kind: str  # "fence", "prose", "trailing comma", …
    removed: str  # what stood there
    inserted: str  # what stands there now
