"""A turn as one JSON value, so that the pipeline checks, re-asks and records it like any other.

The value is a list of calls, `[{"name": …, "arguments": {…}}]`; `{"content": …}` where the model answers without one;
or, where it says something beside its calls, `{"content": …, "calls": […]}`. What a model writes in its own form is
turned into this text (guard/turns/models.py), and what the pipeline checks it by is this schema: apart from the masks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

MOST_CALLS = 32  #: In one turn, where nobody says how many.


def schema(
    tools: Iterable[tuple[str, Any]],
    *,
    must_call: bool,
    may_talk: bool,
    most: int = MOST_CALLS,
    wanted: Any = None,
) -> dict[str, Any]:
    """Return the schema of the value.

    `tools` are names, each with the schema of its arguments. `may_talk`: text may stand beside calls. `wanted` is the
    schema of an answer without calls; None: a text.
    """
    items = [_call(number, name, parameters) for number, (name, parameters) in enumerate(tools)]
    calls = {"type": "array", "items": {"anyOf": items}, "minItems": 1, "maxItems": most}
    if must_call and not may_talk:
        return calls
    kinds: list[dict[str, Any]] = [calls] if items else []
    if not must_call:
        text = {"type": "string", "minLength": 1} if wanted is None else own(wanted, "content")
        kinds.append(_object(content=text))
    if may_talk and items:
        kinds.append(_object(content={"type": "string"}, calls=calls))
    return {"anyOf": kinds}


def read(value: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Return what a value says, None for nothing, and the calls in it."""
    if isinstance(value, list):
        return None, value
    return value.get("content"), value.get("calls", [])


def written(content: str | None, calls: Iterable[tuple[str, str]]) -> str:
    """Return the text of a value: what is said, and calls, each a name and its arguments as JSON text.

    The arguments stand as they were written, so that no digit of a number is lost.
    """
    made = ", ".join(f'{{"name": {json.dumps(name)}, "arguments": {arguments}}}' for name, arguments in calls)
    if not made:
        return json.dumps({"content": content or ""}, ensure_ascii=False)
    return f'{{"content": {json.dumps(content, ensure_ascii=False)}, "calls": [{made}]}}' if content else f"[{made}]"


def own(inner: Any, name: str) -> Any:
    """Return a schema that stands inside another with its references still leading into itself."""
    if not isinstance(inner, Mapping) or "$id" in inner or not ("$schema" in inner or "$ref" in json.dumps(inner)):
        return inner
    return {"$id": f"urn:guard:{name}", **inner}


def _call(number: int, name: str, parameters: Any) -> dict[str, Any]:
    return _object(name={"const": name}, arguments=own(parameters or {"type": "object"}, f"{number}"))


def _object(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}
