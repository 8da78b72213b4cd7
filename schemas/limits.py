"""Limits: how much a schema may cost before it is refused.

Every limit that is met ends in a `SchemaError` whose `limit` names the field here; nothing is cut short in silence.
The front end holds to `bytes`, `nodes`, `depth` and `digits`, the engine to the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from guard.kernels.cached import cached_property
from guard.kernels.errors import Finding, SchemaError

#: The largest `depth`: Python's own readers and the validators recurse over JSON, which is safe this deep.
MAX_DEPTH = 900
#: No text reaches so many: the engine counts in 32 bits.
MOST_COUNT = 2**31 - 1
#: The fields that the engine holds to; what else it meets is a bound of its own, which nobody can raise.
ENGINE_LIMITS = ("alternatives", "states", "seconds", "memory")


@dataclass(frozen=True)
class Limits:
    """The budget of one compiled schema. The defaults hold every real schema known to us with room to spare."""

    bytes: int = 16_000_000  # of the schema and of each document, which may hold an eighth as many objects
    nodes: int = 1_000_000  # schemas reached from the root; the largest real one has 20,000
    depth: int = 400  # levels of the schema's JSON; the deepest real one known to us has 63
    nesting: int = 100  # open containers while decoding: deeper, only a shortest way out is allowed
    digits: int = 1_000  # of one number in the schema, written out: 1e400 has 401
    alternatives: int = 20_000  # ways that one value can go, of which the text so far excludes none
    states: int = 2_000_000  # automaton states of one compiled schema; a search in one language may take a 40th of them
    seconds: float = 10.0  # of a processor, for one call of the engine: only a search among combinations comes near
    memory: int = 384_000_000  # bytes that one call of the engine may take, and all of a schema that takes much

    def __post_init__(self) -> None:
        """Check that each limit leaves room for something."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ValueError(f"{field.name}={value!r} must be a finite number above 0")
            if field.type == "int" and value != (whole := int(value)):
                raise ValueError(f"{field.name}={value!r} must be a whole number")
            if field.type == "int":
                object.__setattr__(self, field.name, whole)  # 1e6 is a million
        if self.depth > MAX_DEPTH:
            raise ValueError(
                f"depth={self.depth!r} must be at most {MAX_DEPTH}: readers and validators recurse over JSON"
            )

    @cached_property
    def numbers(self) -> dict[str, float]:
        """Return the limits by name, as the engine takes them."""
        return {field.name: float(getattr(self, field.name)) for field in fields(self)}


def limit_error(limits: Limits, name: str, pointer: str, keyword: str | None, found: str) -> SchemaError:
    """Say which limit was met, where, and how to raise it."""
    allowed = getattr(limits, name)
    message = f"{found}, above the limit {name}={allowed:,}"
    return SchemaError(Finding(pointer, keyword, message, f"raise it with limits=guard.Limits({name}=...)"), limit=name)
