"""The columns that a type declares: the members of its answers, and what kind of values each has.

A table of answers has them also where no answer has such a member, or no answer came at all, so that a program which
reads the table finds what it was written for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from guard.support.subschemas import at

MOST_STEPS = 100  #: Schemas that are looked at for one column: references may go in circles.
_KINDS = {"integer": "int", "number": "float", "boolean": "bool", "string": "text", "array": "json", "object": "json"}
_OF_VALUES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


def declared(schema: Any) -> dict[str, str | None]:
    """Return the columns of a schema's values, in its order: `int`, `float`, `bool`, `text` or `json`.

    None stands for values of several kinds, or of one that the schema does not say. A schema of objects has a column
    for each member that it names, any other schema `value`. One of objects and others has none: its values decide.
    """
    parts = list(_alternatives(schema, schema))
    if not any("object" in _types(part) for part in parts):
        return {"value": _kind(parts)}
    if not all(_types(part) <= {"object", "null"} for part in parts):
        return {}
    members: dict[str, list[Mapping[str, Any]]] = {}
    for part in parts:
        for name, member in part.get("properties", {}).items():
            members.setdefault(name, []).extend(_alternatives(member, schema))
    return {name: _kind(of_member) for name, of_member in members.items()}


def _alternatives(schema: Any, root: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas of which a value meets one: behind references within `root`, `anyOf` and `oneOf`."""
    waiting = [schema]
    for _ in range(MOST_STEPS):
        if not waiting:
            return
        schema = waiting.pop(0)
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        branches = schema.get("anyOf", schema.get("oneOf")) if isinstance(schema, Mapping) else None
        if isinstance(reference, str) and reference.startswith("#"):
            waiting.insert(0, at(root, reference[1:]))
        elif isinstance(branches, list) and "properties" not in schema:
            waiting[:0] = branches
        else:
            yield schema if isinstance(schema, Mapping) else {}
    yield {}


def _types(schema: Mapping[str, Any]) -> set[str]:
    """Return the types that a schema says; all where it says none."""
    if "type" in schema:
        said = schema["type"]
        return {said} if isinstance(said, str) else set(said)
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return {"null" if value is None else _OF_VALUES.get(type(value), "object") for value in values}
    return {*_KINDS, "null"}


def _kind(parts: list[Mapping[str, Any]]) -> str | None:
    kinds = {_KINDS[name] for part in parts for name in _types(part) if name in _KINDS}
    return "float" if kinds == {"int", "float"} else next(iter(kinds)) if len(kinds) == 1 else None
