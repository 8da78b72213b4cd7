"""JSON Pointers (RFC 6901): where in a value or a schema something stands."""

from __future__ import annotations

from collections.abc import Iterable


def pointer(path: Iterable[object]) -> str:
    """Return the JSON Pointer of a sequence of keys and indices; "" is the whole."""
    return "".join(f"/{escaped(str(step))}" for step in path)


def steps(pointer: str) -> list[str]:
    """Return the keys and indices, as texts, that a JSON Pointer leads along."""
    return [unescaped(step) for step in pointer.split("/")[1:]]


def escaped(step: str) -> str:
    """Return a key as a JSON Pointer writes it."""
    return step.replace("~", "~0").replace("/", "~1")


def unescaped(step: str) -> str:
    """Return the key that a JSON Pointer writes so."""
    return step.replace("~1", "/").replace("~0", "~")
