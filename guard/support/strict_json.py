"""What Python's reader of JSON takes and JSON does not have: a key that stands twice, and numbers that are none.

Hooks of `json.loads`. schemas/jsontext.py has its own, which are found in a schema and told as such.
"""

from __future__ import annotations

from typing import Any, NoReturn

from guard.support.clipping import clipped


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, as `object_pairs_hook`; ValueError where a key stands twice: which one counts nobody says."""
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {clipped(twice)} is there twice in one object")
    return members


def no_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, as `parse_constant`."""
    raise ValueError(f"{name} is no number of JSON's")
