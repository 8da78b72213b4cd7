"""The Berkeley Function Calling Leaderboard (BFCL): its questions, its schemas, and its rules for right arguments."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.__main__ import DATA
from guard.testing import evaluation

QUESTIONS = DATA / "bfcl.jsonl.gz"
TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}  #: Its types that JSON Schema lacks.


def rows(path: Path = QUESTIONS) -> Iterator[dict[str, Any]]:
    """Yield the questions, each with its functions and the accepted calls."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def schema(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return BFCL's schema of arguments as JSON Schema, closed to undeclared members."""
    made = {key: part for key, part in given.items() if key not in ("type", "properties", "items", "optional")}
    kind = str(given.get("type", "object")).lower()
    if (named := TYPES.get(kind, kind)) is not None:
        made["type"] = named
    if "properties" in given:
        made["properties"] = {name: schema(part) for name, part in given["properties"].items()}
        made.setdefault("additionalProperties", False)
    if isinstance(given.get("items"), dict):
        made["items"] = schema(given["items"])
    return made


def same(got: Any, accepted: Any) -> bool:
    """Whether two values are the same: texts without case and punctuation, numbers by value."""
    if isinstance(got, bool) or isinstance(accepted, bool):
        return got is accepted
    if isinstance(got, str) and isinstance(accepted, str):
        return _plain(got) == _plain(accepted)
    if isinstance(got, list) and isinstance(accepted, list):
        return len(got) == len(accepted) and all(map(same, got, accepted))
    if isinstance(got, dict) and isinstance(accepted, dict):
        return fits(got, accepted)
    return bool(got == accepted)


def fits(arguments: Mapping[str, Any], accepted: Mapping[str, Any]) -> bool:
    """Whether every argument is among the accepted values; "" among them means that it may be left out."""
    for name, value in arguments.items():
        if name not in accepted:
            return False
        values = accepted[name] if isinstance(accepted[name], list) else [accepted[name]]
        if not any(same(value, one) for one in values if one != "" or value == ""):
            return False
    return all(name in arguments or "" in values for name, values in accepted.items())


def share(right: Sequence[bool]) -> str:
    """Return the share of right answers in percent, with its 95% interval."""
    found = evaluation.share(right)
    return f"{found.mean:.1%} ({100 * found.low:.0f} to {100 * found.high:.0f})" if right else "-"


def _plain(text: str) -> str:
    return re.sub(r"[ ,./\-_*^]", "", text).lower().replace("'", '"')
