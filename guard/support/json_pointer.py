"""JSON Pointers (RFC 6901): where in a value something stands."""

from __future__ import annotations

from collections.abc import Iterable


def pointer(path: Iterable[object]) -> str:
    """Return the JSON Pointer (RFC 6901) of a sequence of keys and indices."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
