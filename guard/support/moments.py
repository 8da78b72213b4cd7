"""Moments as people read them."""

from __future__ import annotations

import datetime


def in_utc(seconds: float, zone: str) -> str:
    """Return the date and time of seconds since 1970, in UTC, and `zone`; the seconds where no calendar has them."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime(f"%Y-%m-%d %H:%M:%S{zone}")
    except (ValueError, OverflowError, OSError):  # a clock was ahead by thousands of years
        return f"{seconds:.0f} s"
