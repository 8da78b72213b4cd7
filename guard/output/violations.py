"""Findings about values: where a value breaks what was asked for, as frozen values.

Findings about schemas live in guard/kernels/errors.py. The sentence of a violation is derived here and nowhere else;
the question that hands violations back to a model is worded in guard/calls/prompts.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

GOT_LENGTH = 120  #: Characters of an offending value that a finding shows; longer ones are clipped.


@dataclass(frozen=True)
class Violation:
    """One place where a value breaks its type or schema."""

    at: str  # JSON Pointer into the value: "/orders/3/qty"; "" is the whole value
    rule: str  # JSON Pointer into the schema, or the name of the validator's rule: "greater_than_equal"
    expected: str  # "an integer >= 1"
    got: str  # clipped repr: "-4"

    def __str__(self) -> str:
        """Word the violation as one line."""
        return f"{self.at or '(root)'}: expected {self.expected}, got {self.got} (rule {self.rule})"


def pointer(path: Any) -> str:
    """Return the JSON Pointer (RFC 6901) of a sequence of keys and indices."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def clipped(value: object) -> str:
    """Return a repr that stays short however large the value is, and takes no longer to make."""
    text = _shown(value, GOT_LENGTH + 1)
    return text if len(text) <= GOT_LENGTH else text[: GOT_LENGTH - 1] + "…"


def _shown(value: object, room: int) -> str:
    """Return the beginning of a repr: all of it, or at least `room` characters."""
    kind = type(value)
    if kind in (str, bytes):
        return repr(value[:room])  # type: ignore[index]
    if kind is list:
        parts = ((_shown(item, room), "") for item in value)  # type: ignore[attr-defined]
        return _joined("[", parts, "]", room)
    if kind is dict:
        pairs = ((_shown(key, room), f": {_shown(item, room)}") for key, item in value.items())  # type: ignore[attr-defined]
        return _joined("{", pairs, "}", room)
    return repr(value)


def _joined(opening: str, parts: Iterable[tuple[str, str]], closing: str, room: int) -> str:
    text = opening
    for number, (first, rest) in enumerate(parts):
        text += (", " if number else "") + first + rest
        if len(text) >= room:
            return text
    return text + closing
