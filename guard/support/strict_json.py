"""Strict JSON: `loads`, and the hooks of `json.loads` that refuse duplicate keys, NaN and the infinities.

For schemas, schemas/jsontext.py reports such faults as findings with their place.
"""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

from guard.support.clipping import clipped


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object (an `object_pairs_hook`). Raises ValueError for duplicate keys, which parsers read variously."""
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value] # None is meant
        raise ValueError(f"the key {clipped(twice)} is there twice in one object")
    return members


def no_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, as `parse_constant`."""
    raise ValueError(f"{name} is no number of JSON's")


_decoder = json.JSONDecoder(object_pairs_hook=unique_members, parse_constant=no_constant)


def loads(text: str) -> Any:
    """Return a text's JSON value. Raises ValueError, or RecursionError where it is nested too deeply.

    `json.loads` makes a decoder for each text, which takes longer than reading a small one.
    """
    return json.loads(text) if text.startswith("\ufeff") else _decoder.decode(text)  # which says what is wrong


def unread(error: ValueError | RecursionError) -> str:
    """Word why a JSON text can't be read: what is wrong with it, or which bound of Python's reader it is beyond."""
    if isinstance(error, RecursionError):
        return "is nested more deeply than Python reads"
    if str(error).startswith("Exceeds the limit"):
        return f"holds a number of more than the {sys.get_int_max_str_digits():,} digits that Python reads"
    return f"is not JSON ({error})"
