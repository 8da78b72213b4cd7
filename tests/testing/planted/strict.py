"""JSON as strictly as the corrected twins read it: a key once, no NaN, bounded nesting."""

from __future__ import annotations

import json
from typing import Any


def strictly(text: str) -> Any:
    """Return the value of a JSON text; ValueError where it is none."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_none)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _none(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
