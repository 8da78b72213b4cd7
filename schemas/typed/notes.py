"""Notes: what of a type no schema says, written down beside the schema that it belongs to while that is made.

They are a keyword that no schema of a caller's has, so that they go wherever their schema goes; `take_notes` takes them
out again, with their places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from guard.kernels import json_pointer

NOTE = "\0beyond"  #: The keyword.


@dataclass(frozen=True)
class Beyond:
    """What of a type its schema does not say, and Pydantic checks when the answer is there."""

    pointer: str  # JSON Pointer of the schema that it belongs to
    note: str  # "the validator check_total"


def take_notes(schema: dict[str, Any]) -> tuple[dict[str, Any], tuple[Beyond, ...]]:
    """Return a schema without its notes, and them. O(size)."""
    found: list[Beyond] = []

    def without(part: Any, at: tuple[str | int, ...]) -> Any:
        if isinstance(part, list):
            return [without(item, (*at, index)) for index, item in enumerate(part)]
        if not isinstance(part, dict):
            return part
        found.extend(Beyond(json_pointer.pointer(at), note) for note in part.get(NOTE, ()))
        return {key: without(value, (*at, key)) for key, value in part.items() if key != NOTE}

    return without(schema, ()), tuple(dict.fromkeys(found))


def noted(schema: dict[str, Any], note: str) -> dict[str, Any]:
    """Return a schema with a note."""
    return {**schema, NOTE: [*schema.get(NOTE, ()), note]}
