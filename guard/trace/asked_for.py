"""The target of a recorded call, compiled again from the schema that the trace keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guard.errors import SchemaError
from guard.output import target as targets
from guard.schemas import Limits

if TYPE_CHECKING:
    from guard.output.target import Target


def target_of(kept: dict[str, Any], schema_hash: str) -> Target | None:
    """Return the target of a stored schema (`kept`), or None where it no longer compiles to that hash.

    Redaction may have changed it, and another version of Guard may compile it differently.
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
