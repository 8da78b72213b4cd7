"""JSON Schemas in the dialects of providers, and what comes back translated into the caller's.

What is sent is equal to the caller's schema or weaker: whatever is valid under the caller's can be written under what
is sent, so a provider that keeps to it never keeps a right answer out; the caller's is validated afterwards. A schema
that can't be sent so raises `DialectError`: an object open to unnamed properties, for one, where a dialect knows
only closed ones. Of several constraints that hold together one is sent; what is left out is listed in `dropped`.

Where a dialect requires every property, optional ones become nullable, and `undo` takes a null out again where the
caller's schema has no null there. (Where it has one the null stays: absent or null is then the model's choice.)
Where it requires an object at the root, anything else is wrapped in {"value": …}. Keys keep their order.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from guard.kernels import json_pointer
from guard.kernels.cached import cached_property
from guard.kernels.unicode_text import json_text
from guard.schemas import rewriting
from guard.schemas.keywords import ANNOTATIONS, IN_PLACE
from guard.support import json_pieces
from guard.support.strict_json import unique_members

WRAPPER = "value"  #: The one property of the object around what is none.
MOST_PLACES = 5_000  #: Sets of schemas that `undo` may have to tell apart.
MOST_STEPS = (
    30_000  #: Schemas looked at to translate one: 2^n where each of n refers to the next twice, and none will do.
)

_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_NAMES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    type(None): "null",
    int: "integer",
    float: "number",
}
_DESCRIBING = ("title", "description")
_OF_TYPE = {
    "object": frozenset(("properties", "required", "additionalProperties", "unevaluatedProperties")),
    "array": frozenset(("items", "prefixItems", "additionalItems", "unevaluatedItems")),
}
#: Patterns that every engine reads alike: anchored, without classes, groups or escapes that differ.
_PLAIN_PATTERN = re.compile(r"\^(?:[^\\()|^$]|\((?!\?)|\)|\\[dwsDWS.\-/\\+*?()\[\]{}|^$])*\$")


class DialectError(Exception):
    """A dialect has no schema that is equal to this one or weaker, or would not take it."""


@dataclass(frozen=True)
class ProviderDialect:
    """What a provider's structured output understands."""

    name: str
    keywords: frozenset[str]  # of scalars and arrays, beside types and enums
    formats: frozenset[str]
    requires_all: bool  # every property must be required
    allows_recursion: bool
    min_items: int | None = None  # the largest minItems; None: any
    properties: int = 5_000  # over the whole schema
    depth: int = 10  # of nesting
    enum_values: int = 1_000  # over the whole schema
    characters: int = 120_000  # of all names and values


_FORMATS = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"])
#: OpenAI's strict mode.
OPENAI = ProviderDialect(
    "OpenAI",
    keywords=frozenset(
        ["pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"]
    ),
    formats=_FORMATS,
    requires_all=True,
    allows_recursion=True,
)
#: Anthropic's structured outputs.
ANTHROPIC = ProviderDialect(
    "Anthropic",
    keywords=frozenset(("minItems",)),
    formats=_FORMATS | {"uri"},
    requires_all=False,
    allows_recursion=False,
    min_items=1,
    properties=500,
)


@dataclass(frozen=True)
class Sent:
    """A schema as it is sent, and the way back."""

    schema: dict[str, Any]
    undo: Callable[[Any], Any]  # a value as the provider wrote it → the caller's; lists and dicts are new
    is_identity: bool  # undo changes nothing
    is_wrapper: bool = False  # undo takes the wrapper off, and nothing else: text can be unwrapped as it comes
    dropped: tuple[str, ...] = ()  # "pointer: keyword" of what was left out

    @cached_property
    def size(self) -> int:
        """The bytes of its JSON."""
        return sum(map(len, json_pieces.pieces(self.schema, json_pieces.ASCII)))

    def text(self, text: str) -> str:
        """Return a provider's text as the caller's schema has it; what can't be read stays as it is."""
        if self.is_identity:
            return text
        if self.is_wrapper:
            unwrapping = Unwrapping()
            return unwrapping.feed(text) + unwrapping.end()
        try:
            return written(self.undo(exact(text)))
        except (ValueError, RecursionError):
            return text


def strict(schema: Any, dialect: ProviderDialect, *, formats: bool = True) -> Sent:
    """Return a schema in a provider's strict dialect; raises DialectError. `formats`: whether formats are enforced."""
    transform = _Transform(schema, dialect, formats)
    body = transform.place(schema, "")
    is_wrapped = body.get("type") != "object"
    if is_wrapped:
        body = _wrapped(body)
    if transform.definitions:
        body = {**body, "$defs": transform.definitions}
    _check_size(body, dialect)
    nulls = _Nulls(transform) if dialect.requires_all else None
    has_nulls = nulls is not None and nulls.drop_anything

    def undo(value: Any) -> Any:
        if is_wrapped:
            value = _unwrapped(value)
        return nulls.undo(value) if nulls is not None and has_nulls else value

    return Sent(
        body,
        undo,
        is_identity=not is_wrapped and not has_nulls,
        is_wrapper=is_wrapped and not has_nulls,
        dropped=tuple(dict.fromkeys(transform.dropped)),
    )


def loose(schema: Any) -> Sent:
    """Return a schema as the parameters of a tool: the caller's own, in an object where it is none."""
    if isinstance(schema, Mapping) and schema.get("type") == "object" and "$ref" not in schema:
        return Sent(dict(schema), lambda value: value, is_identity=True)
    return Sent(_wrapped(_rebased(schema)), _unwrapped, is_identity=False, is_wrapper=True)


class Unwrapping:
    """Takes the wrapper off a text as it comes; one that has none is handed on as it is."""

    def __init__(self) -> None:
        self._held = ""
        self._state = "before"  # then "begun", where white space is dropped, "inside", or "bare" without a wrapper

    def feed(self, piece: str) -> str:
        """Take the next piece; returns what surely belongs to the value."""
        self._held += piece
        if self._state == "before":
            if opening := _OPENING.match(self._held):
                self._state, self._held = "begun", self._held[opening.end() :]
            elif not _PART_OF_OPENING.fullmatch(self._held):
                self._state = "bare"
        if self._state == "begun" and (rest := self._held.lstrip(_SPACE)):
            self._state, self._held = "inside", rest
        if self._state == "bare":
            sure = len(self._held)
        elif self._state == "inside":  # the last bracket may be the wrapper's
            sure = len(self._held.rstrip(_SPACE).removesuffix("}").rstrip(_SPACE))
        else:
            sure = 0
        out, self._held = self._held[:sure], self._held[sure:]
        return out

    def end(self) -> str:
        """Return what was held back and is no wrapper, now that nothing follows."""
        return "" if self._state == "inside" and not self.is_open else self._held

    @property
    def is_open(self) -> bool:
        """Whether the text, where it ends here, has no end of its wrapper: the value may have been cut off."""
        return self._state == "begun" or (self._state == "inside" and self._held.strip(_SPACE) != "}")


_SPACE = " \t\n\r"
_OPENING = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*"value"[ \t\n\r]*:')
#: What the wrapper's opening can begin with.
_PART_OF_OPENING = re.compile(r'[ \t\n\r]*(\{[ \t\n\r]*("(v(a(l(ue?)?)?)?)?|"value"[ \t\n\r]*)?)?')


# ---- There -------------------------------------------------------------------------------------------------------


class _Transform:
    """Translates the subschemas of one document; `rules` says of each object what `undo` must know."""

    def __init__(self, root: Any, dialect: ProviderDialect, formats: bool) -> None:
        self.root, self.dialect, self.formats = root, dialect, formats
        self.definitions: dict[str, Any] = {}
        self.dropped: list[str] = []
        self._names: dict[str, str] = {}  # pointer of a referenced schema → its name in `definitions`
        self._taken: set[str] = set()  # those names
        self._numbers: dict[str, int] = {}  # wanted name → the number that the next definition of it gets
        self._open: list[str] = []  # references that are being translated
        self._depth = 0
        self._steps = 0

    def step(self) -> None:
        """Count a schema that is looked at; DialectError where there were too many."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise DialectError("combinations that are too many to translate")

    def place(self, schema: Any, at: str) -> dict[str, Any]:
        """Translate one subschema: the first of its constraints that can be sent."""
        self.step()
        self._depth += 1
        if self._depth > 60:
            raise DialectError(f"{at}: nested too deep")
        try:
            reasons = []
            for keywords, translate in self.facets(schema, at):
                kept = self._mark()
                try:
                    body = translate()
                except DialectError as error:
                    if self._steps > MOST_STEPS:
                        raise
                    reasons.append(str(error))
                    self._return_to(kept)
                    continue
                self.dropped += [f"{at}: {key}" for key in schema if key not in keywords and key not in ANNOTATIONS]
                return _described(body, schema)
            raise DialectError(reasons[0] if reasons else f"{at or '(root)'}: any value at all")
        finally:
            self._depth -= 1

    def _mark(self) -> tuple[int, int, int]:
        return len(self._names), len(self.definitions), len(self.dropped)

    def _return_to(self, mark: tuple[int, int, int]) -> None:
        """Forget the names, definitions and notes that came since: the newest ones."""
        names, definitions, dropped = mark
        while len(self._names) > names:
            self._taken.discard(self._names.popitem()[1])
        while len(self.definitions) > definitions:
            self.definitions.popitem()
        del self.dropped[dropped:]

    def facets(self, schema: Any, at: str) -> Iterator[tuple[frozenset[str], Callable[[], dict[str, Any]]]]:
        """Yield the constraints of a schema, each enough by itself: the keywords it covers, and its translation."""
        if not isinstance(schema, Mapping):
            return
        if "$dynamicRef" in schema or "$recursiveRef" in schema or (at and ("$id" in schema or "id" in schema)):
            raise DialectError(f"{at}: references that depend on where they are read from")
        if "$ref" in schema:  # in old drafts nothing beside it holds
            yield frozenset(("$ref",)), lambda: self.reference(schema["$ref"], at)
            return
        if "const" in schema or "enum" in schema:
            yield frozenset(("const", "enum", "type", "nullable")), lambda: self.constants(schema, at)
        types = _types(schema)
        if types:
            covered = {"type", "nullable"}.union(*(_OF_TYPE.get(kind, ()) for kind in types))
            if self.dialect.keywords:
                covered |= {key for key in self.dialect.keywords if self.keeps(key, schema.get(key))}
            if self.keeps_format(schema):
                covered.add("format")
            yield frozenset(covered), lambda: self.typed(schema, types, at)
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list):
                covered_key = frozenset(("anyOf",) if key == "anyOf" else ())
                yield covered_key, functools.partial(self.union, schema[key], f"{at}/{key}")
        for index, part in enumerate(schema.get("allOf") or ()):
            yield (
                frozenset(("allOf",) if len(schema["allOf"]) == 1 else ()),
                functools.partial(self.place, part, f"{at}/allOf/{index}"),
            )

    def keeps(self, key: str, value: Any) -> bool:
        """Whether the dialect takes a keyword with this value."""
        if key not in self.dialect.keywords or value is None:
            return False
        if key == "pattern":
            return isinstance(value, str) and value.isascii() and _PLAIN_PATTERN.fullmatch(value) is not None
        if key == "minItems" and self.dialect.min_items is not None:
            return value in range(self.dialect.min_items + 1)
        return isinstance(value, int | float) and not isinstance(value, bool)

    def keeps_format(self, schema: Mapping[str, Any]) -> bool:
        """Whether the dialect knows the format, and the caller enforces it."""
        return self.formats and schema.get("format") in self.dialect.formats

    def constants(self, schema: Mapping[str, Any], at: str) -> dict[str, Any]:
        """Translate an enum or const."""
        values = [schema["const"]] if "const" in schema else list(schema["enum"])
        if types := _types(schema):
            values = [value for value in values if any(_is(value, kind) for kind in types)]
        kinds: dict[str, list[Any]] = {}
        for value in values:
            if isinstance(value, dict | list):
                raise DialectError(f"{at}: an object or array as a constant")
            kinds.setdefault("number" if isinstance(value, float) else _NAMES[type(value)], []).append(value)
        if not kinds:
            raise DialectError(f"{at}: no value at all")
        return _any_of([{"type": "null"} if k == "null" else {"type": k, "enum": v} for k, v in kinds.items()])

    def typed(self, schema: Mapping[str, Any], types: list[str], at: str) -> dict[str, Any]:
        """Translate a schema that names its types."""
        return _any_of([self.of_type(schema, kind, at) for kind in types])

    def of_type(self, schema: Mapping[str, Any], kind: str, at: str) -> dict[str, Any]:
        """Translate what a schema says of one type."""
        if kind == "object":
            return self.object(schema, at)
        body: dict[str, Any] = {"type": kind}
        if kind == "array":
            body["items"] = self.items(schema, at)
        own = {"array": ("minItems", "maxItems"), "string": ("pattern",)}.get(
            kind, ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
        )
        if kind in ("boolean", "null"):
            return body
        body |= {key: schema[key] for key in own if self.keeps(key, schema.get(key))}
        if kind == "string" and self.keeps_format(schema):
            body["format"] = schema["format"]
        return body

    def object(self, schema: Mapping[str, Any], at: str) -> dict[str, Any]:
        """Translate an object, which must be closed to what it does not name."""
        closed = schema.get("additionalProperties") is False or (
            schema.get("unevaluatedProperties") is False
            and IN_PLACE.isdisjoint(schema)
            and not any(key in schema for key in ("additionalProperties", "patternProperties", "$ref"))
        )
        if not closed or schema.get("patternProperties"):
            raise DialectError(f"{at or '(root)'}: an object open to properties that it does not name")
        named: Mapping[str, Any] = schema.get("properties") or {}
        # In order, without repetitions; draft 3 has a bool there.
        required = dict.fromkeys(key for key in schema.get("required") or () if isinstance(key, str))
        properties: dict[str, Any] = {}
        for key, part in named.items():
            if part is False:  # can't be present: the object is closed, so it need not be named
                continue
            body = self.place(part, f"{at}/properties/{json_pointer.escaped(key)}")
            is_optional = self.dialect.requires_all and key not in required
            properties[key] = _any_of([body, {"type": "null"}]) if is_optional and not self.allows_null(body) else body
        if missing := [key for key in required if key not in properties]:
            raise DialectError(f"{at or '(root)'}: requires {missing[0]!r}, which can't be there")
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties if self.dialect.requires_all else required),
            "additionalProperties": False,
        }

    def items(self, schema: Mapping[str, Any], at: str) -> dict[str, Any]:
        """Translate the items of an array: any of what may stand at any index."""
        items, first = schema.get("items", True), schema.get("prefixItems") or []
        if isinstance(items, list):  # a tuple, in old drafts
            items, first = schema.get("additionalItems", True), items
        parts = [(part, f"{at}/prefixItems/{index}") for index, part in enumerate(first)]
        if items is not False:
            parts.append((items, f"{at}/items"))
        bodies = [self.place(part, where) for part, where in parts if part is not False]
        if not bodies:
            raise DialectError(f"{at}: an array that must be empty")
        if first:
            self.dropped.append(f"{at}: prefixItems")
        return _any_of(bodies)

    def union(self, parts: list[Any], at: str) -> dict[str, Any]:
        """Translate alternatives, all of them: a missing one would keep right answers out."""
        bodies = [self.place(part, f"{at}/{index}") for index, part in enumerate(parts) if part is not False]
        if not bodies:
            raise DialectError(f"{at}: no value at all")
        return _any_of(bodies)

    def reference(self, pointer: Any, at: str) -> dict[str, Any]:
        """Translate a reference into one to a definition."""
        target = self.resolved(pointer, at)
        if pointer in self._open and not self.dialect.allows_recursion:
            raise DialectError(f"{at}: recursion")
        if pointer not in self._names:
            wanted = re.sub(r"[^A-Za-z0-9_-]", "_", pointer.rpartition("/")[2]) or "root"
            counted = itertools.count(self._numbers.get(wanted, 0))
            number, name = next((i, n) for i in counted if (n := wanted + f"_{i}" * (i > 0)) not in self._taken)
            self._numbers[wanted] = number + 1
            self._names[pointer] = name
            self._taken.add(name)
            self.definitions[name] = {}  # its place in the order
            self._open.append(pointer)
            try:
                self.definitions[name] = body = self.place(target, pointer)
            finally:
                self._open.pop()
            if "$ref" in body:
                self._check_ends(name)
        return {"$ref": f"#/$defs/{self._names[pointer]}"}

    def resolved(self, pointer: Any, at: str) -> Any:
        """Return what a reference inside the document leads to."""
        if not isinstance(pointer, str) or not re.fullmatch(r"#(/.*)?", pointer, re.DOTALL) or "%" in pointer:
            raise DialectError(f"{at}: a reference to {str(pointer)[:60]!r}")
        target = self.root
        for step in json_pointer.steps(pointer):
            if isinstance(target, list) and step.isdecimal() and int(step) < len(target):
                target = target[int(step)]
            elif isinstance(target, Mapping) and step in target:
                target = target[step]
            else:
                raise DialectError(f"{at}: a reference to {pointer[:60]!r}, which is not there")
            if isinstance(target, Mapping) and ("$id" in target or "id" in target):
                raise DialectError(f"{at}: references that depend on where they are read from")
        return target

    def allows_null(self, body: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
        """Whether a translated schema allows null."""
        self.step()
        if "$ref" in body:
            name = body["$ref"].removeprefix("#/$defs/")
            return name not in seen and self.allows_null(self.definitions[name], seen | {name})
        if "anyOf" in body:
            return any(self.allows_null(part, seen) for part in body["anyOf"])
        return body.get("type") == "null"

    def _check_ends(self, name: str) -> None:
        seen = {name}
        while (reference := self.definitions[name].get("$ref")) is not None:
            name = reference.removeprefix("#/$defs/")
            if name in seen:
                raise DialectError(f"#/$defs/{name}: a reference that leads to itself")
            seen.add(name)


# ---- And back ----------------------------------------------------------------------------------------------------


class _Nulls:
    """Takes nulls out of optional properties again.

    A place of a value is described by the set of the caller's schemas that may hold there: alternatives give several.
    Where one of them would drop a null and another keep it, no undoing is right: DialectError.
    """

    def __init__(self, transform: _Transform) -> None:
        self._transform = transform
        self._places: dict[tuple[int, ...], tuple[dict[str, tuple[bool, Any]], Any]] = {}
        self._alive: list[Any] = []  # schemas are told apart by their ids
        self._start = self._expanded([transform.root])
        self.drop_anything = False
        self._explore()

    def undo(self, value: Any, place: tuple[Any, ...] | None = None) -> Any:
        """Return the caller's value."""
        place = self._start if place is None else place
        keys, items = self._places.get(_ids(place), ({}, None))
        if isinstance(value, dict):
            return {
                key: self.undo(part, keys[key][1]) if key in keys else part
                for key, part in value.items()
                if not (part is None and key in keys and keys[key][0])
            }
        if isinstance(value, list) and items:
            return [self.undo(part, items) for part in value]
        return value

    def _explore(self) -> None:
        waiting = [self._start]
        while waiting:
            place = waiting.pop()
            if _ids(place) in self._places:
                continue
            if len(self._places) >= MOST_PLACES:
                raise DialectError("alternatives that are too many to tell apart")
            keys, items = self._read(place)
            self._places[_ids(place)] = keys, items
            self.drop_anything |= any(drops for drops, _ in keys.values())
            waiting += [part for _, part in keys.values()]
            if items:
                waiting.append(items)

    def _read(self, place: tuple[Any, ...]) -> tuple[dict[str, tuple[bool, Any]], Any]:
        """Return of a place, for each key, whether a null is dropped and what is there; and the place of items."""
        keys: dict[str, list[tuple[bool, Any]]] = {}
        items: list[Any] = []
        for schema in place:
            if "object" in (types := _types(schema)):
                required = schema.get("required") or ()
                for key, part in (schema.get("properties") or {}).items():
                    if part is not False:
                        drops = key not in required and not _allows_null(part, self._transform)
                        keys.setdefault(key, []).append((drops, part))
            if "array" in types:
                rest = schema.get("items", True)
                several = [*rest, schema.get("additionalItems", True)] if isinstance(rest, list) else [rest]
                items += [*(schema.get("prefixItems") or ()), *several]
        for key, found in keys.items():
            if len({drops for drops, _ in found}) > 1 and any(
                drops is False and _allows_null(part, self._transform) for drops, part in found
            ):
                raise DialectError(f"{key!r}: null where one alternative has it and another leaves the property out")
        return (
            {k: (any(d for d, _ in found), self._expanded([p for _, p in found])) for k, found in keys.items()},
            self._expanded(items),
        )

    def _expanded(self, schemas: list[Any]) -> tuple[Any, ...]:
        """Return the schemas with names of types among some: references, alternatives and conjuncts followed."""
        found: dict[int, Any] = {}
        waiting, seen = list(schemas), set()
        while waiting:
            schema = waiting.pop(0)
            if not isinstance(schema, Mapping) or id(schema) in seen:
                continue
            seen.add(id(schema))
            if "$ref" in schema:
                waiting.append(self._transform.resolved(schema["$ref"], ""))
                continue
            if _types(schema):
                found[id(schema)] = schema
            for key in ("anyOf", "oneOf", "allOf"):
                waiting += schema.get(key) or ()
        return tuple(found.values())


def _allows_null(schema: Any, transform: _Transform, seen: frozenset[int] = frozenset()) -> bool:
    """Whether the caller's schema allows null."""
    transform.step()
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, Mapping) or id(schema) in seen:
        return False
    seen |= {id(schema)}

    def allows(part: Any) -> bool:
        return _allows_null(part, transform, seen)

    if "$ref" in schema and not allows(transform.resolved(schema["$ref"], "")):
        return False
    types = _types(schema)
    if types and "null" not in types:
        return False
    if ("enum" in schema and None not in schema["enum"]) or ("const" in schema and schema["const"] is not None):
        return False
    if not all(allows(part) for part in schema.get("allOf") or ()):
        return False
    if "anyOf" in schema and not any(allows(part) for part in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(allows(part) for part in schema["oneOf"]) != 1:
        return False
    if "not" in schema and allows(schema["not"]):
        return False
    return "if" not in schema or allows(schema.get("then" if allows(schema["if"]) else "else", True))


# ---- Small parts -------------------------------------------------------------------------------------------------


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def exact(text: str) -> Any:
    """Return a JSON value with its numbers as they are written; ValueError where a key stands twice."""
    return json.loads(text, object_pairs_hook=unique_members, parse_int=_Number, parse_float=_Number)


def written(value: Any) -> str:
    """Return such a value as JSON again."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json_text(key)}: {written(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json_text(value)


def _ids(place: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(sorted(map(id, place)))


def _types(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that a schema names; null too where OpenAPI's `nullable` says so. No other is kept."""
    named = schema.get("type")
    types = [kind for kind in (named if isinstance(named, list) else [named]) if isinstance(kind, str)]
    if types and schema.get("nullable") is True and "null" not in types:
        types.append("null")
    return [kind for kind in types if kind in _TYPES and not (kind == "integer" and "number" in types)]


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _NAMES[type(value)] == kind
    return kind == "number" or (kind == "integer" and value == int(value))


def _any_of(bodies: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the union of schemas, flat and without repetitions."""
    flat = [part for body in bodies for part in (body["anyOf"] if set(body) == {"anyOf"} else [body])]
    unique: dict[str, dict[str, Any]] = {}  # by how they are written: 1 and true are not the same
    for part in flat:
        unique.setdefault(json.dumps(part), part)
    parts = list(unique.values())
    return parts[0] if len(parts) == 1 else {"anyOf": parts}


def _described(body: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with the caller's words for people; a reference stands alone."""
    words = {key: schema[key] for key in _DESCRIBING if isinstance(schema.get(key), str) and key not in body}
    return {**body, **words} if words and "$ref" not in body else body


def _wrapped(body: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {WRAPPER: body}, "required": [WRAPPER], "additionalProperties": False}


def _unwrapped(value: Any) -> Any:
    return value[WRAPPER] if isinstance(value, dict) and set(value) == {WRAPPER} else value


def _rebased(schema: Any) -> Any:
    """Return a schema that stands at the wrapper's property instead of the root, its references with it."""
    return rewriting.rewritten(schema, _rebased_here)


def _rebased_here(schema: dict[str, Any]) -> dict[str, Any]:
    if any(isinstance(schema.get(key), str) for key in ("$id", "id", "$dynamicRef", "$recursiveRef")):
        raise DialectError("references that depend on where they are read from")
    reference = schema.get("$ref")
    if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
        schema["$ref"] = f"#/properties/{WRAPPER}{reference[1:]}"
    return schema


def _check_size(body: Mapping[str, Any], dialect: ProviderDialect) -> None:
    properties = values = characters = 0
    waiting: list[tuple[Any, int]] = [(body, 0)]
    while waiting:
        part, depth = waiting.pop()
        if not isinstance(part, Mapping):
            continue
        names = part.get("properties") or {}
        constants = part.get("enum") or ()
        depth += bool(names)
        properties += len(names)
        values += len(constants)
        characters += sum(map(len, names)) + sum(len(str(value)) for value in constants)
        characters += sum(map(len, part.get("$defs") or ()))
        if depth > dialect.depth:
            raise DialectError(f"nested deeper than {dialect.name}'s {dialect.depth} objects")
        waiting += [(p, depth) for p in (*names.values(), part.get("items"), *(part.get("anyOf") or ()))]
        waiting += [(p, 0) for p in (part.get("$defs") or {}).values()]
    for found, most, what in (
        (properties, dialect.properties, "properties"),
        (values, dialect.enum_values, "values in enums"),
        (characters, dialect.characters, "characters of names and values"),
    ):
        if found > most:
            raise DialectError(f"{found:,} {what}, more than {dialect.name}'s {most:,}")
