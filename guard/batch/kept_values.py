"""How `guard run --keep` spells the values of a table's columns: as JSON, decided when the row is read.

JSON has no dates, no bytes, no exact decimals, and no number that is none; Parquet has them all. Each becomes the text
that says it exactly, and says the same in every format of the output.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def as_json(value: Any) -> Any:
    """Return a value as JSON has it.

    Dates and times are ISO 8601, durations too, in seconds (`PT90.5S`), bytes base64, and NaN and the infinities
    `NaN`, `Infinity` and `-Infinity`; what else JSON lacks, such as a decimal, is its text.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else json.dumps(value)
    if isinstance(value, Mapping):
        return {str(as_json(name)): as_json(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return _duration(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _duration(value: datetime.timedelta) -> str:
    # pandas' durations, which pyarrow returns where pandas is installed, have nanoseconds besides.
    nanoseconds = (value // datetime.timedelta(microseconds=1)) * 1000 + getattr(value, "nanoseconds", 0)
    seconds = Decimal(abs(nanoseconds)).scaleb(-9).normalize()
    return f"{'-' if nanoseconds < 0 else ''}PT{seconds:f}S"
