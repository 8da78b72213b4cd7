"""The parts of a JSON Schema that apply to one value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def applying(schemas: Sequence[Any], root: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas that may apply to a value: these, and those that they reference within `root` or combine."""
    waiting, seen = list(schemas), set()
    while waiting:
        schema = waiting.pop(0)
        if not isinstance(schema, dict) or id(schema) in seen:
            continue
        seen.add(id(schema))
        yield schema
        if str(schema.get("$ref", "")).startswith("#"):
            waiting.append(at(root, schema["$ref"][1:]))
        for word in ("allOf", "anyOf", "oneOf"):
            waiting += schema.get(word, ())
        waiting += [schema[word] for word in ("then", "else") if word in schema]


def at(root: Any, pointer: str) -> Any:
    """Return what a JSON Pointer leads to through objects; None where it leads to nothing."""
    found = root
    for part in filter(None, pointer.split("/")):
        key = part.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, dict) else None
    return found
