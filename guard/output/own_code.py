"""Whether reading a type runs code besides Pydantic's: validators, post-inits, factories, conversions of a class."""

from __future__ import annotations

from typing import Any

#: What of a core schema reads nothing.
_SILENT = frozenset((
    *("cls", "computed_fields", "config", "default", "expected", "generic_origin", "members", "metadata"),
    *("serialization",),
))  # fmt: skip
#: Where a core schema has others by names, which a type has chosen.
_NAMED = frozenset(("fields", "choices"))
_KNOWN = frozenset(("builtins", "pydantic", "pydantic_core"))


def runs_own_code(schema: Any) -> bool:
    """Return whether a core schema, or a part of one, calls what is neither Pydantic's nor built in."""
    if isinstance(schema, list | tuple):
        return any(map(runs_own_code, schema))
    if not isinstance(schema, dict):
        return callable(schema) and str(getattr(schema, "__module__", None)).partition(".")[0] not in _KNOWN
    if schema.get("post_init") or schema.get("custom_init"):
        return True
    return any(
        runs_own_code([*part.values()] if key in _NAMED and isinstance(part, dict) else part)
        for key, part in schema.items()
        if key not in _SILENT
    )
