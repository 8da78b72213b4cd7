"""What a null does that stands for a property which is not there: questions about the caller's schemas.

Where a provider requires every property, a model writes null for an optional one that it leaves out. If the caller's
schema has null there too, the null stays; and if a constraint on the whole object looks at which properties are there
(`maxProperties`, `oneOf` with `required`), the object with the null may be wrong where the one without it was right.
The answers err on the side of "it may".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_Keys = frozenset[str]
_Tags = Mapping[str, frozenset[str]]


def types_of(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that a schema names; null too where OpenAPI's `nullable` says so. No other is kept."""
    named = schema.get("type")
    types = [kind for kind in (named if isinstance(named, list) else [named]) if isinstance(kind, str)]
    if types and schema.get("nullable") is True and "null" not in types:
        types.append("null")
    return [kind for kind in types if kind in _TYPES and not (kind == "integer" and "number" in types)]


class OptionalNulls:
    """Answers for the schemas of one document. `step` is called for each schema that is looked at."""

    def __init__(self, resolved: Callable[[Any], Any], step: Callable[[], None]) -> None:
        self._resolved, self._step = resolved, step
        self._known: dict[int, bool] = {}  # by the id of a schema, which the document keeps alive
        self._known_tags: dict[int, _Tags] = {}

    def allows_null(self, schema: Any) -> bool:
        """Whether a schema allows null."""
        if not isinstance(schema, Mapping):
            return schema is True
        if id(schema) not in self._known:
            self._step()
            self._known[id(schema)] = False  # of a schema that refers to itself, meanwhile
            self._known[id(schema)] = self._allows_null(schema)
        return self._known[id(schema)]

    def _allows_null(self, schema: Mapping[str, Any]) -> bool:
        allows = self.allows_null
        types = types_of(schema)
        if types and "null" not in types:
            return False
        if ("enum" in schema and None not in schema["enum"]) or ("const" in schema and schema["const"] is not None):
            return False
        if "$ref" in schema and not allows(self._resolved(schema["$ref"])):
            return False
        if not all(map(allows, schema.get("allOf") or ())):
            return False
        if "anyOf" in schema and not any(map(allows, schema["anyOf"])):
            return False
        if "oneOf" in schema and sum(map(allows, schema["oneOf"])) != 1:
            return False
        if "not" in schema and allows(schema["not"]):
            return False
        return "if" not in schema or allows(schema.get("then" if allows(schema["if"]) else "else", True))

    def breaks(self, schema: Any, keys: _Keys) -> bool:
        """Whether objects that a schema allows may be forbidden once some of the keys that they lack are null."""
        if not isinstance(schema, Mapping):
            return False
        self._step()
        keys -= set(_list(schema, "required"))  # an object that lacks them was forbidden before
        if not keys:
            return False
        if not {"maxProperties", "propertyNames"}.isdisjoint(schema) or _has_objects(schema):
            return True
        if any(self._forbids(schema, key) is not False for key in keys):
            return True
        for word in ("dependentRequired", "dependentSchemas", "dependencies"):
            if any(said not in (True, []) for key, said in _map(schema, word).items() if key in keys):
                return True
        return (
            any(self.breaks(part, keys) for part in self._conjuncts(schema))
            or any(self.breaks(part, keys) for part in _list(schema, "anyOf"))
            or any(self.breaks(part, keys) or self.mends(part, keys) for part in _list(schema, "oneOf"))
            or self.mends(schema.get("not"), keys)
            or self._turns(schema, keys)
            or any(self.breaks(schema.get(word), keys) for word in ("then", "else"))
        )

    def mends(self, schema: Any, keys: _Keys) -> bool:
        """Whether objects that a schema forbids may be allowed once some of the keys that they lack are null."""
        if not isinstance(schema, Mapping):
            return False
        self._step()
        keys = frozenset(key for key in keys if self._forbids(schema, key) is not True)  # those make it no better
        if not keys:
            return False
        depended = (said for word in ("dependentRequired", "dependencies") for said in _map(schema, word).values())
        if not keys.isdisjoint(_list(schema, "required")) or "minProperties" in schema or _has_objects(schema):
            return True
        if any(isinstance(said, list) and not keys.isdisjoint(map(str, said)) for said in depended):
            return True
        return (
            any(self.mends(part, keys) for part in self._conjuncts(schema))
            or any(self.mends(part, keys) for part in _list(schema, "anyOf"))
            or any(self.mends(part, keys) or self.breaks(part, keys) for part in _list(schema, "oneOf"))
            or self.breaks(schema.get("not"), keys)
            or self._turns(schema, keys)
            or any(self.mends(schema.get(word), keys) for word in ("then", "else"))
        )

    def none_of_others(self, schema: Any, alternatives: list[Any]) -> dict[str, Any]:
        """Return what `oneOf` says where one of its alternatives holds, except of those that plainly do not then."""
        tags = self._tags(schema)
        others = [part for part in alternatives if part is not schema and not _are_apart(tags, self._tags(part))]
        return {"not": {"anyOf": others}}

    def _tags(self, schema: Any) -> _Tags:
        """Return of the properties that a schema requires those that are one of a few texts, and which."""
        if id(schema) not in self._known_tags:
            self._step()
            self._known_tags[id(schema)] = self._read_tags(schema)
        return self._known_tags[id(schema)]

    def _read_tags(self, schema: Any) -> _Tags:
        for _ in range(10):
            if isinstance(schema, Mapping) and "$ref" in schema:
                schema = self._resolved(schema["$ref"])
        tags: dict[str, frozenset[Any]] = {}
        for key in _list(schema, "required") if isinstance(schema, Mapping) else ():
            part = _map(schema, "properties").get(key) if isinstance(key, str) else None
            values = (part.get("enum", [part.get("const")]) if isinstance(part, Mapping) else None) or [None]
            if isinstance(values, list) and all(isinstance(value, str) for value in values):
                tags[key] = frozenset(values)
        return tags

    def _forbids(self, schema: Mapping[str, Any], key: str) -> bool | None:
        """Whether a schema says by itself that a property must not be null, if it is there; None: it may."""
        named, patterns = _map(schema, "properties"), _map(schema, "patternProperties")
        if key in named and not self.allows_null(named[key]):
            return True
        if not all(map(self.allows_null, patterns.values())):
            return None
        if key in named:
            return False
        if "additionalProperties" in schema:
            return False if self.allows_null(schema["additionalProperties"]) else (None if patterns else True)
        return False if self.allows_null(schema.get("unevaluatedProperties", True)) else None

    def _turns(self, schema: Mapping[str, Any], keys: _Keys) -> bool:
        """Whether the nulls may decide otherwise which of `then` and `else` holds."""
        if "then" not in schema and "else" not in schema:
            return False
        return self.breaks(schema.get("if"), keys) or self.mends(schema.get("if"), keys)

    def _conjuncts(self, schema: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the schemas beside it that hold of the same object, or may."""
        if "$ref" in schema:
            yield self._resolved(schema["$ref"])
        yield from _list(schema, "allOf")
        for word in ("dependentSchemas", "dependencies"):
            yield from _map(schema, word).values()


def _are_apart(one: _Tags, other: _Tags) -> bool:
    return any(one[key].isdisjoint(other[key]) for key in one.keys() & other.keys())


def _list(schema: Mapping[str, Any], key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []


def _map(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = schema.get(key)
    return found if isinstance(found, Mapping) else {}


def _has_objects(schema: Mapping[str, Any]) -> bool:
    """Whether a schema lists objects as constants."""
    return any(isinstance(value, Mapping) for value in [*_list(schema, "enum"), schema.get("const")])
