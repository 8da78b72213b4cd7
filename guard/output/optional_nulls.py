"""What a null does that stands for a property which is not there: questions about the caller's schemas.

Where a provider requires every property, a model writes null for an optional one that it leaves out. If the caller's
schema has null there too, the null stays; and if a constraint on the whole object looks at which properties are there
(`maxProperties`, `oneOf` with `required`), the object with the null may be wrong where the one without it was right.
The answers err on the side of "it may".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_Tags = Mapping[str, frozenset[str]]


def types_of(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that a schema names; null too where OpenAPI's `nullable` says so. No other is kept."""
    named = schema.get("type")
    types = [kind for kind in (named if isinstance(named, list) else [named]) if isinstance(kind, str)]
    if types and schema.get("nullable") is True and "null" not in types:
        types.append("null")
    return [kind for kind in types if kind in _TYPES and not (kind == "integer" and "number" in types)]


class PlaceOfNulls(Protocol):
    """A place of a value where nulls may stand for what is absent."""

    kept: frozenset[str]  # properties of which a null may be left
    has_kept: bool  # there, or anywhere below

    @property
    def items(self) -> PlaceOfNulls | None:
        """The place of an array's items."""

    def properties(self) -> Iterable[tuple[str, PlaceOfNulls]]:
        """Return the places of properties."""


class OptionalNulls:
    """Answers for the schemas of one document. `step` is called for each schema that is looked at."""

    def __init__(self, resolved: Callable[[Any], Any], step: Callable[[], None]) -> None:
        self._resolved, self._step = resolved, step
        self._known: dict[int, bool] = {}  # by the id of a schema, which the document keeps alive
        self._asked: dict[tuple[str, int, int], tuple[Any, Any]] = {}
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

    def breaks(self, schema: Any, value: PlaceOfNulls) -> bool:
        """Whether values that a schema allows may be forbidden once what they lack is null, as `value` has it."""
        if not isinstance(schema, Mapping) or not value.has_kept or self._is_known("breaks", schema, value):
            return False
        keys = value.kept - set(_list(schema, "required"))  # an object that lacks them was forbidden before
        if keys and (not {"maxProperties", "propertyNames"}.isdisjoint(schema) or _has_objects(schema)):
            return True
        if any(self._forbids(schema, key) is not False for key in keys):
            return True
        for word in ("dependentRequired", "dependentSchemas", "dependencies"):
            if any(said not in (True, []) for key, said in _map(schema, word).items() if key in keys):
                return True
        return (
            any(self.breaks(part, there) for part, there in _below(schema, value))
            or any(self.breaks(part, value) for part in self._conjuncts(schema))
            or any(self.breaks(part, value) for part in _list(schema, "anyOf"))
            or any(self.breaks(part, value) or self.mends(part, value) for part in _list(schema, "oneOf"))
            or self.mends(schema.get("not"), value)
            or self._turns(schema, value)
            or any(self.breaks(schema.get(word), value) for word in ("then", "else"))
        )

    def mends(self, schema: Any, value: PlaceOfNulls) -> bool:
        """Whether values that a schema forbids may be allowed once what they lack is null."""
        if not isinstance(schema, Mapping) or not value.has_kept or self._is_known("mends", schema, value):
            return False
        keys = frozenset(key for key in value.kept if self._forbids(schema, key) is not True)  # those make it no better
        depended = (said for word in ("dependentRequired", "dependencies") for said in _map(schema, word).values())
        if keys and (
            not keys.isdisjoint(_list(schema, "required")) or "minProperties" in schema or _has_objects(schema)
        ):
            return True
        if any(isinstance(said, list) and not keys.isdisjoint(map(str, said)) for said in depended):
            return True
        return (
            any(self.mends(part, there) for part, there in _below(schema, value))
            or any(self.mends(part, value) for part in self._conjuncts(schema))
            or any(self.mends(part, value) for part in _list(schema, "anyOf"))
            or any(self.mends(part, value) or self.breaks(part, value) for part in _list(schema, "oneOf"))
            or self.breaks(schema.get("not"), value)
            or self._turns(schema, value)
            or any(self.mends(schema.get(word), value) for word in ("then", "else"))
        )

    def _is_known(self, question: str, schema: Mapping[str, Any], value: PlaceOfNulls) -> bool:
        """Whether the same was asked before: then the answer was no, or is being found. Else note it."""
        key = (question, id(schema), id(value))
        if key in self._asked:
            return True
        self._step()
        self._asked[key] = schema, value  # which are kept alive, for their ids
        return False

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

    def _turns(self, schema: Mapping[str, Any], value: PlaceOfNulls) -> bool:
        """Whether the nulls may decide otherwise what `contains`, or which of `then` and `else` holds."""
        found = "contains" in schema and value.items is not None and self._changes(schema["contains"], value.items)
        return found or (not {"then", "else"}.isdisjoint(schema) and self._changes(schema.get("if"), value))

    def _changes(self, schema: Any, value: PlaceOfNulls) -> bool:
        return self.breaks(schema, value) or self.mends(schema, value)

    def _conjuncts(self, schema: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the schemas beside it that hold of the same object, or may."""
        if "$ref" in schema:
            yield self._resolved(schema["$ref"])
        yield from _list(schema, "allOf")
        for word in ("dependentSchemas", "dependencies"):
            yield from _map(schema, word).values()


def _are_apart(one: _Tags, other: _Tags) -> bool:
    return any(one[key].isdisjoint(other[key]) for key in one.keys() & other.keys())


def _below(schema: Mapping[str, Any], value: PlaceOfNulls) -> Iterator[tuple[Any, PlaceOfNulls]]:
    """Yield the schemas of properties and items, and their places; each that may hold there."""
    named = _map(schema, "properties")
    for key, there in value.properties():
        if there.has_kept:
            others = (schema.get("additionalProperties"), schema.get("unevaluatedProperties"))
            for part in (named[key],) if key in named else others:
                yield part, there
            for part in _map(schema, "patternProperties").values():
                yield part, there
    if value.items is not None and value.items.has_kept:
        for word in ("items", "prefixItems", "additionalItems", "unevaluatedItems"):
            for part in _list(schema, word) or (schema.get(word),):
                yield part, value.items


def _list(schema: Mapping[str, Any], key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []


def _map(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = schema.get(key)
    return found if isinstance(found, Mapping) else {}


def _has_objects(schema: Mapping[str, Any]) -> bool:
    """Whether a schema lists objects as constants."""
    return any(isinstance(value, Mapping) for value in [*_list(schema, "enum"), schema.get("const")])
