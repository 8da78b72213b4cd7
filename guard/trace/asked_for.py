"""What a recorded call asked for, compiled again from what the trace keeps of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guard.errors import SchemaError
from guard.output import target as targets
from guard.schemas import Limits

if TYPE_CHECKING:
    from guard.output.target import Target


def target_of(kept: dict[str, Any], schema_hash: str) -> Target | None:
    """Return the target of what a store keeps under a hash; None where that is not the whole of it.

    Redaction may have cut something out, and another version of Guard may compile otherwise.
    """
    options = dict(kept)
    if "limits" in options:
        options["limits"] = Limits(**options["limits"])
    schema = options.pop("schema")
    try:
        target = targets.from_any(schema, options)
    except (SchemaError, TypeError, ValueError):
        return None
    return target if target.compiled.hash == schema_hash else None
