"""JSON Schemas translated into providers' dialects, and what takes the nulls out again: see provider_schema.py."""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from guard.kernels import json_pointer
from guard.output.optional_nulls import OptionalNulls, types_of
from guard.schemas import rewriting
from guard.schemas.keywords import ANNOTATIONS, DEFAULT_DIALECT, IN_PLACE, Dialect, dialect_of

MOST_PLACES = 5_000  #: Sets of schemas that `undo` may have to tell apart.
STEPS = 6  #: Most schemas and properties that are looked at to translate a schema, for each property a dialect takes.
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
_ESCAPED = r"\\[.\-/\\+*?()\[\]{}|^$]"
#: Patterns that no engine reads as less than ECMA does, for providers do not say which engine is theirs: anchored, and
#: without what differs: white space, negated classes, groups of other kinds, `{,3}`, and `&&` or `[` in a class.
_PLAIN_PATTERN = re.compile(
    rf"\^(?:[^\\()|^$\[\]{{}}]|\((?!\?)|\)|\{{[0-9]+(?:,[0-9]*)?\}}|\\[dw]|{_ESCAPED}"
    rf"|\[(?:(?!&&|--|~~)[^\\\[\]^]|\\[dw](?!-[^\]])|{_ESCAPED})+\])*\$"
)


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


# ---- There -------------------------------------------------------------------------------------------------------


#: In a translated object: its optional properties, and of each whether a null there stands for its absence.
_OPTIONAL = "optional"
_DEFINITIONS = "#/$defs/"


@dataclass(frozen=True)
class _Translated:
    """A note of a place that was translated."""

    at: str
    schema: Mapping[str, Any]
    covered: frozenset[str]  # keywords that the translation says in full
    beside: Callable[[], Mapping[str, Any]]  # what holds of the same value, and was not translated
    body: dict[str, Any]

    def dropped(self) -> list[str]:
        """Return what was left out there."""
        return [f"{self.at}: {key}" for key in self.schema if key not in self.covered and key not in ANNOTATIONS]


class _Document:
    """The schema that is translated: what its references lead to, and how much of it may still be looked at."""

    def __init__(self, root: Any, steps: int) -> None:
        self.root, self.left = root, steps

    def step(self) -> None:
        """Count a schema that is looked at; DialectError where there were too many."""
        self.left -= 1
        if self.left < 0:
            raise DialectError("combinations that are too many to translate")

    def resolved(self, pointer: Any, at: str = "") -> Any:
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


class Translation:
    """Translates the subschemas of one document."""

    def __init__(self, root: Any, dialect: ProviderDialect, formats: bool) -> None:
        self.document, self.dialect, self.formats = _Document(root, STEPS * dialect.properties), dialect, formats
        self.definitions: dict[str, dict[str, Any]] = {}
        self.nulls = OptionalNulls(self.document.resolved, self.document.step)
        self._notes: list[_Translated] = []  # of what is being translated
        self._noted: dict[str, list[_Translated]] = {}  # the same of each definition
        self._names: dict[str, str] = {}  # pointer of a referenced schema → its name in `definitions`
        self._failed: dict[str, str] = {}  # pointer of one that can't be translated → why
        self._taken: set[str] = set()  # names that were ever given
        self._alternatives: dict[str, list[Mapping[str, Any]]] = {}  # of references
        self._numbers: dict[str, int] = {}  # wanted name → the number that the next definition of it gets
        self._open: dict[str, bool] = {}  # references that are being translated → whether they were met again
        self._depth = 0

    def whole(self) -> tuple[dict[str, Any], list[_Translated]]:
        """Return the translation, with the definitions that it needs in `definitions`, and a note of each place."""
        body = self.place(self.document.root, "")
        needed = self._needed(body)
        self.definitions = {name: part for name, part in self.definitions.items() if name in needed}
        notes = [*self._notes, *(note for name in self.definitions for note in self._noted[name])]
        return body, notes

    def place(self, schema: Any, at: str) -> dict[str, Any]:
        """Translate one subschema: the first of its constraints that can be sent."""
        self.document.step()
        self._depth += 1
        if self._depth > 60:
            raise DialectError(f"{at}: nested too deep")
        try:
            reasons = []
            for keywords, beside, translate in self.facets(schema, at):
                kept = len(self._notes)
                try:
                    body = translate()
                except DialectError as error:
                    if self.document.left < 0:
                        raise
                    reasons.append(str(error))
                    del self._notes[kept:]
                    continue
                self._notes.append(_Translated(at, schema, keywords, beside, body))
                return _described(body, schema)
            raise DialectError(reasons[0] if reasons else f"{at or '(root)'}: any value at all")
        finally:
            self._depth -= 1

    def facets(
        self, schema: Any, at: str
    ) -> Iterator[tuple[frozenset[str], Callable[[], Mapping[str, Any]], Callable[[], dict[str, Any]]]]:
        """Yield the constraints of a schema, each enough by itself: what it covers, what is beside, its translation."""
        if not isinstance(schema, Mapping):
            return
        if "$dynamicRef" in schema or "$recursiveRef" in schema or (at and ("$id" in schema or "id" in schema)):
            raise DialectError(f"{at}: references that depend on where they are read from")
        if "$ref" in schema:
            beside = functools.partial(_without, schema, "$ref")
            yield frozenset(("$ref",)), beside, lambda: self.reference(schema["$ref"], at)
            return
        if "const" in schema or "enum" in schema:
            covered = frozenset(("const", "enum", "type", "nullable"))
            yield covered, lambda: schema, lambda: self.constants(schema, at)
        types = types_of(schema)
        if types:
            said = frozenset[str]().union(*_OF_TYPE.values())
            beside = functools.partial(_without_all, schema, said)
            yield self.covered(schema, types), beside, lambda: self.typed(schema, types, at)
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list):
                beside, translate = (
                    functools.partial(_without, schema, key),
                    functools.partial(self.union, schema, key, at),
                )
                yield frozenset(("anyOf",) if key == "anyOf" else ()), beside, translate
        for index, part in enumerate(schema.get("allOf") or ()):
            beside = functools.partial(_without, schema, "allOf", index)
            covered = frozenset(("allOf",) if len(schema["allOf"]) == 1 else ())
            yield covered, beside, functools.partial(self.place, part, f"{at}/allOf/{index}")

    def covered(self, schema: Mapping[str, Any], types: list[str]) -> frozenset[str]:
        """Return the keywords that are said in full by types."""
        covered = {"type", "nullable"}.union(*(_OF_TYPE.get(kind, ()) for kind in types))
        covered -= {key for key in ("items", "prefixItems") if schema.get(key) and isinstance(schema[key], list)}
        covered |= {key for key in self.dialect.keywords if self.keeps(key, schema.get(key))}
        return frozenset(covered | {"format"} if self.keeps_format(schema) else covered)

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
        if any(type(value) not in _NAMES or value in (math.inf, -math.inf) for value in values):
            raise DialectError(f"{at}: a constant that no double holds")
        if types := types_of(schema):
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
        optional: dict[str, bool] = {}
        for key, part in named.items():
            if part is False:  # can't be present: the object is closed, so it need not be named
                continue
            properties[key] = body = self.place(part, f"{at}/properties/{json_pointer.escaped(key)}")
            if self.dialect.requires_all and key not in required:
                properties[key] = body if self.allows_null(body) else _any_of([body, {"type": "null"}])
                optional[key] = not self.nulls.allows_null(part)
        if missing := [key for key in required if key not in properties]:
            raise DialectError(f"{at or '(root)'}: requires {missing[0]!r}, which can't be there")
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties if self.dialect.requires_all else required),
            "additionalProperties": False,
            **({_OPTIONAL: optional} if optional else {}),
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
        return _any_of(bodies)

    def union(self, schema: Mapping[str, Any], key: str, at: str) -> dict[str, Any]:
        """Translate alternatives, all of them: a missing one would keep right answers out."""
        parts = [(part, f"{at}/{key}/{index}") for index, part in enumerate(schema[key]) if part is not False]
        bodies = [self.place(part, where) for part, where in parts]
        if not bodies:
            raise DialectError(f"{at}/{key}: no value at all")
        if key == "oneOf":
            for (part, where), body in zip(parts, bodies, strict=True):
                beside = functools.partial(self.nulls.none_of_others, part, [other for other, _ in parts])
                self._notes.append(_Translated(where, {}, frozenset(), beside, body))
        return _any_of(bodies)

    def reference(self, pointer: Any, at: str) -> dict[str, Any]:
        """Translate a reference into one to a definition. Each is translated once."""
        target = self.document.resolved(pointer, at)
        if pointer in self._failed:
            raise DialectError(self._failed[pointer])
        if pointer in self._open:
            self._open[pointer] = True
            if not self.dialect.allows_recursion:
                raise DialectError(f"{at}: recursion")
        if pointer not in self._names:
            self.define(pointer, target)
        return {"$ref": _DEFINITIONS + self._names[pointer]}

    def define(self, pointer: str, target: Any) -> None:
        """Translate what a reference leads to. What can't be translated is remembered, since most is tried again."""
        wanted = re.sub(r"[^A-Za-z0-9_-]", "_", pointer.rpartition("/")[2]) or "root"
        counted = itertools.count(self._numbers.get(wanted, 0))
        number, name = next((i, n) for i in counted if (n := wanted + f"_{i}" * (i > 0)) not in self._taken)
        outer, before = self._notes, len(self._names)
        self._numbers[wanted], self._names[pointer], self._open[pointer] = number + 1, name, False
        self._taken.add(name)
        self.definitions[name] = {}  # its place in the order
        self._notes = self._noted[name] = []
        try:
            self.definitions[name] = body = self.place(target, pointer)
            if "$ref" in body:
                self._check_ends(name)
        except DialectError as error:
            self._failed[pointer] = str(error)
            # Those that came since and may refer to this one are forgotten with it.
            for lost in list(self._names)[before:] if self._open[pointer] else [pointer]:
                gone = self._names.pop(lost)
                del self.definitions[gone], self._noted[gone]
            raise
        finally:
            self._notes = outer
            del self._open[pointer]

    def allows_null(self, body: Mapping[str, Any]) -> bool:
        """Whether a translated schema allows null."""
        return any(part.get("type") == "null" for part in self.alternatives(body))

    def alternatives(self, body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the schemas of one type each that a translated one is a union of."""
        if "$ref" not in body and "anyOf" not in body:
            return [body]
        if (known := self._alternatives.get(body.get("$ref", ""))) is not None:
            return known
        found: list[Mapping[str, Any]] = []
        waiting, seen, is_whole = [body], set(), True
        while waiting:
            part = waiting.pop()
            self.document.step()
            if (reference := part.get("$ref")) is not None:
                if reference not in seen:
                    waiting.append(self.definitions[reference.removeprefix(_DEFINITIONS)])
                    is_whole = is_whole and bool(waiting[-1])  # else it is still being translated
                seen.add(reference)
            elif "anyOf" in part:
                waiting += part["anyOf"]
            else:
                found.append(part)
        if is_whole and "$ref" in body:
            self._alternatives[body["$ref"]] = found
        return found

    def _needed(self, body: Mapping[str, Any]) -> set[str]:
        """Return the names of the definitions that a translated schema refers to, themselves or by others."""
        needed: set[str] = set()
        waiting = [body]
        while waiting:
            part = waiting.pop()
            if "$ref" in part and (name := part["$ref"].removeprefix(_DEFINITIONS)) not in needed:
                needed.add(name)
                waiting.append(self.definitions[name])
            waiting += (*part.get("properties", {}).values(), *part.get("anyOf", ()))
            waiting += [part["items"]] if "items" in part else []
        return needed

    def _check_ends(self, name: str) -> None:
        seen = {name}
        while (reference := self.definitions[name].get("$ref")) is not None:
            name = reference.removeprefix(_DEFINITIONS)
            if name in seen:
                raise DialectError(f"#/$defs/{name}: a reference that leads to itself")
            seen.add(name)


# ---- And back ----------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _ValuePlace:
    """What `undo` knows of a place of a value: of each property, whether a null is taken out, and what is there."""

    keys: dict[str, tuple[bool, _ValuePlace]]
    items: _ValuePlace | None
    kept: frozenset[str]  # optional properties of which a null may be left
    has_kept: bool  # there, or anywhere below

    def properties(self) -> Iterator[tuple[str, _ValuePlace]]:
        """Yield the places of properties."""
        return ((key, there) for key, (_, there) in self.keys.items())

    def undo(self, value: Any) -> Any:
        """Return the caller's value."""
        if isinstance(value, dict):
            return dict(self._undone(value))
        if isinstance(value, list) and self.items is not None:
            return [part if isinstance(part, _SCALARS) else self.items.undo(part) for part in value]
        return value

    def _undone(self, value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for key, part in value.items():
            known = self.keys.get(key)
            if part is None and known is not None and known[0]:
                continue
            yield key, part if known is None or isinstance(part, _SCALARS) else known[1].undo(part)


_SCALARS = (str, int, float, bool, type(None))  # in which nothing is to be undone


class _ValuePlaces:
    """The places of values of a translated schema.

    A place is described by the set of the schemas that may hold there: alternatives give several. Where one of them
    would drop a null and another keep it, no undoing is right: DialectError.
    """

    def __init__(self, translation: Translation) -> None:
        self._translation = translation
        self._places: dict[frozenset[int], _ValuePlace] = {}  # schemas are told apart by their ids
        self._waiting: list[tuple[_ValuePlace, list[Mapping[str, Any]]]] = []
        self.drops_anything = False

    def place(self, bodies: list[Mapping[str, Any]]) -> _ValuePlace:
        """Return the place of values that meet any of these."""
        parts = {id(part): part for body in bodies for part in self._translation.alternatives(body)}
        parts = {key: part for key, part in parts.items() if part["type"] in ("object", "array")}
        known = self._places.get(frozenset(parts))
        if known is None:
            if len(self._places) >= MOST_PLACES:
                raise DialectError("alternatives that are too many to tell apart")
            known = self._places[frozenset(parts)] = _ValuePlace({}, None, frozenset(), has_kept=False)
            self._waiting.append((known, list(parts.values())))
        return known

    def explore(self) -> None:
        """Find out what is below the places that were asked for."""
        while self._waiting:
            self._read(*self._waiting.pop())
        above: dict[int, list[_ValuePlace]] = {}
        for place in self._places.values():
            for there in (*(there for _, there in place.properties()), *filter(None, [place.items])):
                above.setdefault(id(there), []).append(place)
        waiting = [place for place in self._places.values() if place.kept]
        while waiting:
            place = waiting.pop()
            if not place.has_kept:
                place.has_kept = True
                waiting += above.get(id(place), ())

    def _read(self, here: _ValuePlace, parts: list[Mapping[str, Any]]) -> None:
        found: dict[str, list[tuple[bool | None, Mapping[str, Any]]]] = {}
        for part in parts:
            for key, there in part.get("properties", {}).items():
                self._translation.document.step()
                found.setdefault(key, []).append((part.get(_OPTIONAL, {}).get(key), there))
        for key, ways in found.items():
            drops = any(is_dropped for is_dropped, _ in ways)
            if drops and any(not is_dropped and self._translation.allows_null(there) for is_dropped, there in ways):
                raise DialectError(f"{key!r}: null where one alternative has it and another leaves the property out")
            here.keys[key] = drops, self.place([there for _, there in ways])
            self.drops_anything |= drops
        here.kept = frozenset(key for key, ways in found.items() if any(is_dropped is False for is_dropped, _ in ways))
        if items := [part["items"] for part in parts if part["type"] == "array"]:
            here.items = self.place(items)


def explored(body: Mapping[str, Any], notes: list[_Translated], translation: Translation) -> _ValuePlace | None:
    """Return the place of a whole value; None where no null is ever taken out.

    Raises DialectError where a null that is left would be wrong, though what it stands for was right.
    """
    places = _ValuePlaces(translation)
    start, found = places.place([body]), [(note, places.place([note.body])) for note in notes]
    places.explore()
    for note, place in found:
        if place.has_kept and translation.nulls.breaks(note.beside(), place):
            raise DialectError(f"{note.at or '(root)'}: what it says of absent properties is not true of null ones")
    return start if places.drops_anything else None


# ---- Small parts --------------------------------------------------------------------------------------------------


def _is(value: Any, kind: str) -> bool:
    if type(value) not in (int, float):
        return _NAMES[type(value)] == kind
    return kind == "number" or (kind == "integer" and value % 1 == 0)


def _without(schema: Mapping[str, Any], key: str, index: int | None = None) -> dict[str, Any]:
    """Return a schema without a keyword, or without one of the schemas that it holds."""
    rest = {word: said for word, said in schema.items() if word != key}
    return rest if index is None else {**rest, key: [part for at, part in enumerate(schema[key]) if at != index]}


def as_read(schema: Any, draft: Dialect | None) -> Any:
    """Return a schema without the keywords that say nothing in its draft."""
    if draft is None:
        declared = schema.get("$schema") if isinstance(schema, Mapping) else None
        draft = (dialect_of(declared) if isinstance(declared, str) else None) or DEFAULT_DIALECT
    if not any(map(draft.idle, rewriting.each(schema))):
        return schema
    try:
        return rewriting.rewritten(schema, lambda part: _without_all(part, draft.idle(part)))
    except RecursionError:
        raise DialectError("nested too deep") from None


def _without_all(schema: Mapping[str, Any], keys: Container[str]) -> dict[str, Any]:
    return {word: said for word, said in schema.items() if word not in keys}


def bare(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a translated schema without Guard's own notes, as it is sent."""
    sent = {word: said for word, said in body.items() if word != _OPTIONAL}
    if "properties" in sent:
        sent["properties"] = {key: bare(part) for key, part in sent["properties"].items()}
    if "anyOf" in sent:
        sent["anyOf"] = [bare(part) for part in sent["anyOf"]]
    if "items" in sent:
        sent["items"] = bare(sent["items"])
    return sent


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
