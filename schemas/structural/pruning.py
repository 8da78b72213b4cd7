"""Pruning: the parts of a net that lead to no end are removed, so that no text can run into them.

Such are a value that nothing satisfies, a pattern without a text, and a trigger without a tag. The engine is asked only
about parts that are not obviously alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guard.schemas.keywords import ANNOTATIONS
from guard.schemas.structural.nets import VALUE, Net

if TYPE_CHECKING:
    from guard.kernels._native import Engine

#: Keywords with which a schema obviously has a value; `_is_plain` reads what they say.
_PLAIN = ANNOTATIONS | frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "format", "minLength", "minimum", "maximum"}
    | {"minItems"}
)
#: Of these, those that bound nothing from both sides and demand nothing.
_LAX = ANNOTATIONS | {"type", "properties", "additionalProperties", "items", "format", "minimum"}
_LISTED = ANNOTATIONS | {"type", "enum"}
_DEEPEST = 8


def doubtful_exits(net: Net) -> list[int]:
    """Return the exits whose schema does not obviously have a value."""
    return [at for at, (kind, what, _) in enumerate(net.exits) if kind == VALUE and not _is_plain(net.schemas[what])]


def prune(net: Net, engine: Engine) -> set[int]:
    """Remove the dead parts of a net with the help of its engine; returns the dead points, and exits as ~exit."""
    exits = doubtful_exits(net)
    if not exits and not net.doubtful and all(net.points):
        return set()
    dead = set(engine.dead_parts(net.doubtful, exits))
    if not dead:
        return dead
    dead |= {~at for at, (_, _, following) in enumerate(net.exits) if following in dead}
    net.points = [[arc for arc in arcs if net.arcs[arc][1] not in dead] for arcs in net.points]
    return dead


def _holds_one(least: Any, most: Any) -> bool:
    """Whether an integer is seen to lie between two bounds."""
    return type(least) is int and type(most) is int and least <= most


def _is_plain(schema: Any, depth: int = 0) -> bool:
    """Whether a schema obviously has a value. False also where finding out would take work."""
    if schema is True or schema == {}:
        return True
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return False
    if schema.keys() <= _LAX:
        return True
    if schema.get("type") == "string" and isinstance(listed := schema.get("enum"), list):
        return bool(listed) and all(isinstance(one, str) for one in listed) and schema.keys() <= _LISTED
    if not schema.keys() <= _PLAIN:
        return False
    if schema.get("minItems", 0) > 0 and not _is_plain(schema.get("items", True), depth + 1):
        return False
    if schema.get("minLength", 0) > 1 and "format" in schema:  # of each format there are texts of a character and more
        return False
    if "maximum" in schema and not _holds_one(schema.get("minimum", 0), schema["maximum"]):
        return False
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    return all(name in properties and _is_plain(properties[name], depth + 1) for name in required)
