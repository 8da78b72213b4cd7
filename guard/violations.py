"""Findings about values: where a value breaks what was asked for, as frozen values.

Findings about schemas live in guard/kernels/errors.py. The sentence of a violation is derived here and nowhere else;
the question that hands violations back to a model is worded in guard/prompts.py.
"""

from __future__ import annotations

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
    """Return a repr that stays short however large the value is."""
    text = repr(value[: GOT_LENGTH + 1]) if isinstance(value, str | bytes | list) else repr(value)
    return text if len(text) <= GOT_LENGTH else text[: GOT_LENGTH - 1] + "…"
