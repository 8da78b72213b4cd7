"""Schemas in which every pair of keywords meets.

A draw wants two keywords and takes some more, of one dialect; they are spread over one schema, as siblings and inside
of each other. A keyword *matters* when the schema without it has other valid values in its world; a pair meets in a
schema in which both matter. The campaign keeps a table of meetings and draws the rarest pairs next.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import jsonschema_rs
from exactness import inputs
from exactness.inputs import KEYWORD, Input
from exactness.worlds import BY_TEXT, SHAPES, world_of
from referees import validator

import guard
from guard.schemas.keywords import DIALECTS, SUPPORTED

#: Of the dialects, those that differ for a text; OpenAPI 3.1 is 2020-12.
DRAFTS = ("draft2020-12", "draft2019-09", "draft7", "draft6", "draft4", "openapi3.0")
KEYWORDS = SUPPORTED
BY_DRAFT = {name: sorted(KEYWORDS & DIALECTS[name].keywords.keys()) for name in DRAFTS}
#: Every two keywords; those that no dialect has together meet across two documents. Beside dynamic references nothing
#: can be grounded.
APART = {frozenset((KEYWORD, "$dynamicRef")), frozenset((KEYWORD, "$recursiveRef"))}
PAIRS = [pair for pair in itertools.combinations(sorted(KEYWORDS), 2) if frozenset(pair) not in APART]

OTHER = "https://guard.test/other"  #: Where a second document lies.
SCHEMA_URIS = {
    name: DIALECTS[name].metaschema + ("#" if "draft-0" in DIALECTS[name].metaschema else "") for name in DRAFTS
}
TRIES = 6  #: Draws until two keywords meet.
SAMPLE = 400  #: Values of a world in which it is seen whether a keyword matters.
_ROOT = "https://guard.test/root"


def drafts_of(keywords: Iterable[str]) -> list[str]:
    """Return the dialects that have all of these keywords."""
    return [name for name in DRAFTS if set(keywords) <= set(BY_DRAFT[name])]


@dataclass(frozen=True)
class Drawn:
    """A schema, its draft, the name of a world, documents, the draft of what names none, and the inputs of a call."""

    schema: Any
    draft: str
    world: str
    documents: dict[str, Any] = field(default_factory=dict)
    default: str = ""
    inputs: dict[str, Input] = field(default_factory=dict)

    @property
    def drafts(self) -> set[str]:
        """Return the drafts of all documents."""
        return {self.draft, self.default or self.draft}


def draw(r: Random, pair: tuple[str, str]) -> Drawn:
    """Draw a schema in which two keywords meet, if one is found in a few tries."""
    suits = [name for name, words in _SUITS.items() if words & set(pair)]
    for _ in range(TRIES):
        world = r.choice(suits)
        found = Drawn(*_across(r, pair, world)) if not drafts_of(pair) else _drawn(r, pair, world)
        found = _with_inputs(r, found)
        if len(matters(found, pair)) == 2:
            break
    return found


def _drawn(r: Random, pair: tuple[str, str], world: str) -> Drawn:
    draft = r.choice(drafts_of(pair))
    extra = r.choices(BY_DRAFT[draft], k=r.choice([0, 1, 2, 3, 4, 6, 9, 14]))
    return Drawn(Maker(r, draft, world).root(list(dict.fromkeys([*pair, *extra]))), draft, world)


def _with_inputs(r: Random, drawn: Drawn) -> Drawn:
    """Return a case with inputs where a value is grounded; without its marks where they are refused, or not told."""
    if KEYWORD not in keywords_in([drawn.schema, drawn.documents]):
        return drawn
    is_refused = not inputs.is_told([drawn.schema, drawn.documents])
    try:
        guard.compile(drawn.schema, draft=drawn.default or drawn.draft, documents=drawn.documents)
    except guard.SchemaError as error:
        is_refused |= KEYWORD in str(error) or "grounded" in str(error)
    if is_refused:
        schema, documents = without([drawn.schema, drawn.documents], KEYWORD)
        return replace(drawn, schema=schema, documents=documents)
    return replace(drawn, inputs=inputs.draw(r))


def _across(r: Random, pair: tuple[str, str], world: str) -> tuple[Any, str, str, dict[str, Any], str]:
    """Draw two documents of different dialects, one keyword in each; the first refers to the second."""
    # OpenAPI 3.0 has no $schema: it is the dialect of what names none, and of no root that names one.
    first, second = sorted(pair, key=lambda k: (k == "nullable", k == "additionalItems", r.random()))
    draft = r.choice(drafts_of([first]))
    other = r.choice(drafts_of([second]))
    schema = Maker(r, draft, world).root([first, *r.choices(BY_DRAFT[draft], k=2)])
    document = Maker(r, other, world).root([second, *r.choices(BY_DRAFT[other], k=2)])
    if other != "openapi3.0":
        document = {"$schema": SCHEMA_URIS[other], **document}
    reference: Any = {"$ref": OTHER}
    place = r.random()
    if place < 0.3:
        reference = {"items": reference, "additionalProperties": reference}
    elif place < 0.5:
        reference = {"not": reference}
    schema = {"$schema": SCHEMA_URIS[draft], **schema, "allOf": [*schema.get("allOf", []), reference]}
    document.pop("$id", None)  # what refers to it by its place finds it there
    return schema, draft, world, {OTHER: document}, other


def matters(drawn: Drawn, keywords: Iterable[str] | None = None) -> list[str]:
    """Return the keywords (all, or of those given) without which a schema has other valid values in its world."""
    values = world_of(drawn.world, False).rust
    sample = values[:: max(1, len(values) // SAMPLE)]

    def valid(parts: Any) -> list[bool] | None:
        told = inputs.told(parts, drawn.inputs)
        try:
            holds = validator(told[0], drawn.draft, told[1]).is_valid
        except (ValueError, jsonschema_rs.ReferencingError):
            return None  # a definition that others refer to went with it
        return [holds(v) for v in sample]

    parts = [drawn.schema, drawn.documents]
    whole = valid(parts)
    names = sorted(keywords_in(parts)) if keywords is None else keywords
    return [k for k in names if valid(without(parts, k)) != whole]


#: Worlds that have what a keyword tells apart.
_SUITS: dict[str, set[str]] = {
    "texts": {"format", "pattern", "minLength", "maxLength", "propertyNames", "patternProperties"},
    "quotes": {KEYWORD, "pattern", "format", "minLength", "maxLength", "enum", "const", "nullable", "type"},
    "numbers": {KEYWORD, "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "counts": {"minProperties", "maxProperties", "minItems", "maxItems", "minContains", "maxContains", "dependencies"}
    | {"prefixItems", "contains", "uniqueItems", "dependentRequired", "unevaluatedItems", "additionalItems"},
    "pairs": {"uniqueItems", "const", "enum", "unevaluatedProperties", "contains"},
    "nested": {"anyOf", "oneOf", "allOf", "if", "then", "else", "not", "properties", "$ref", "additionalProperties"},
    "deep": {"$ref", "$dynamicRef", "$recursiveRef", "uniqueItems", "properties", "items", "unevaluatedProperties"},
    "flat": set(KEYWORDS),
}

_SCHEMAS_IN = {
    *("properties", "patternProperties", "additionalProperties", "propertyNames", "items", "prefixItems"),
    *("additionalItems", "contains", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"),
    *("dependencies", "unevaluatedProperties", "unevaluatedItems", "$ref", "$dynamicRef", "$recursiveRef"),
}
#: Below these nothing can be grounded.
_ASKING = {"not", "if", "contains", "propertyNames", "patternProperties", "unevaluatedProperties", "unevaluatedItems"}
_TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")


class Maker:
    """Draws one schema."""

    def __init__(self, r: Random, draft: str, world: str) -> None:
        self.r = r
        self.draft = draft
        self.keywords = set(BY_DRAFT[draft])
        self.old = draft in BY_TEXT  # no boolean schemas, no const
        shape = SHAPES[world]
        self.shape = shape
        self.names = [*shape.keys, *shape.keys, "z"]
        self.values = constants(world)
        self.defs: dict[str, Any] = {}
        self.at_root: dict[str, Any] = {}

    def root(self, wanted: list[str]) -> Any:
        """Draw a whole schema, with its definitions."""
        schema = self.schema(wanted, self.r.choice([2, 2, 3]))
        if self.defs:
            schema["definitions" if self.draft in ("draft4", "draft6", "draft7", "openapi3.0") else "$defs"] = self.defs
        return {**self.at_root, **schema}

    def schema(self, wanted: list[str], depth: int) -> dict[str, Any]:
        """Spread keywords over a schema and those inside of it."""
        r = self.r
        wanted = r.sample(wanted, len(wanted))
        holders = [k for k in wanted if k in _SCHEMAS_IN]
        inside: dict[str, list[str]] = {k: [] for k in holders}
        here = []
        for k in wanted:
            later = holders[holders.index(k) + 1 :] if k in holders else holders
            later = [holder for holder in later if k != KEYWORD or holder not in _ASKING]
            if later and depth > 0 and r.random() < 0.45:
                inside[r.choice(later)].append(k)
            else:
                here.append(k)
        out: dict[str, Any] = {}
        for k in here:
            if k in out:
                continue
            if k == "$ref" and self.draft not in ("draft2020-12", "draft2019-09") and (len(here) > 1 or depth == 2):
                made = {"allOf": [_ref(self, inside[k], depth)]}  # it hides its siblings
                if "allOf" in out:
                    out["allOf"] += made["allOf"]
                    continue
            else:
                made = self.keyword(k, inside.get(k, []), depth)
            out |= {name: value for name, value in made.items() if name not in out}
        return self.typed(out)

    def typed(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return a schema with a type that can be grounded, where it says so."""
        if KEYWORD not in schema:
            return schema
        said = schema.get("type", "string")
        kinds = said if isinstance(said, list) else [said]
        kind = self.r.choice([k for k in kinds if k in ("string", "number", "integer")] or ["string"])
        return {**schema, "type": [kind, "null"] if "null" in kinds else kind}

    def keyword(self, k: str, inside: list[str], depth: int) -> dict[str, Any]:
        """Draw a keyword's value, with those beside it that it needs."""
        if k in _PLAIN:
            return _PLAIN[k](self)
        return _HOLDERS[k](self, inside, depth - 1)

    def child(self, inside: list[str], depth: int) -> Any:
        """Draw a schema inside of another; where nothing is wanted, a small one."""
        if not inside:
            return self.leaf(max(depth, 0))
        return self.schema(inside, depth)

    def among(self, inside: list[str], depth: int, least: int = 1, most: int = 3) -> list[Any]:
        """Draw several schemas; one of them holds what is wanted."""
        first = self.child(inside, depth)
        alike = self.r.random() < 0.5  # schemas that differ in little stay alternatives for long
        out = [self.alike(first) if alike else self.leaf(max(depth, 0)) for _ in range(self.r.randint(least, most) - 1)]
        out.insert(self.r.randint(0, len(out)), first)
        return out

    def alike(self, schema: Any) -> Any:
        """Return a schema that differs from another in one place, or two."""
        if not isinstance(schema, dict) or not schema:
            return self.leaf()
        out = dict(schema)
        word = self.r.choice(sorted(out))
        value = out[word]
        if word in _OF_SCHEMAS and isinstance(value, dict):
            name = self.r.choice(sorted(value)) if value else self.name()
            out[word] = {**value, name: self.alike(value.get(name, {}))}
        elif word in _OF_A_SCHEMA and isinstance(value, dict):
            out[word] = self.alike(value)
        elif word in _LEAF and self.r.random() < 0.7:
            out |= self.keyword(word, [], 0)
        elif word not in ("type", "required", "minimum", "maximum") and not word.startswith("$"):
            del out[word]
        if self.r.random() < 0.3:
            more = self.leaf()
            out |= {k: v for k, v in more.items() if k not in out} if isinstance(more, dict) else {}
        return self.typed(out)

    def leaf(self, depth: int = 0) -> Any:
        """Draw a small schema."""
        r = self.r
        if not self.old and r.random() < 0.08:
            return r.random() < 0.5
        words = [w for w in _LEAF if w in self.keywords] + (_LEAF_HOLDERS if depth > 0 else [])
        out: dict[str, Any] = {}
        for k in r.sample(words, r.choice([1, 1, 1, 2])):
            out |= {n: v for n, v in self.keyword(k, [], min(depth, 1)).items() if n not in out}
        return self.typed(out)

    def name(self) -> str:
        """Draw the name of a member."""
        return self.r.choice(self.names)

    def some_names(self, least: int, most: int) -> list[str]:
        """Draw different names."""
        return list(dict.fromkeys(self.name() for _ in range(self.r.randint(least, most))))

    def by_name(self, inside: list[str], depth: int) -> dict[str, Any]:
        """Draw schemas by name."""
        children = self.among(inside, depth)
        return dict(zip(self.r.sample(sorted(set(self.names)), len(children)), children, strict=True))

    def reference(self, inside: list[str], depth: int) -> str:
        """Put a schema among the definitions and return the reference to it; or refer to the root."""
        if not inside and depth < 1 and self.r.random() < 0.3:
            return "#"
        name = f"d{len(self.defs)}"
        self.defs[name] = True if self.draft not in BY_TEXT else {}  # its place is taken
        self.defs[name] = self.child(inside, depth - 1)
        where = "definitions" if self.draft in ("draft4", "draft6", "draft7", "openapi3.0") else "$defs"
        return f"#/{where}/{name}"

    def number(self) -> Any:
        """Draw a bound."""
        low, high, step = (float(x) for x in self.shape.numbers or ("0", "1", "1"))
        bound = low + step * self.r.randint(0, int((high - low) / step))
        bound += self.r.choice([0, 0, 0, 0, 0.1, -0.5])
        return int(bound) if bound == int(bound) else bound


def constants(world: str) -> list[Any]:
    """Return what const and enum are drawn from: scalars, and small arrays and objects."""
    if world not in _CONSTANTS:
        values = world_of(world, False).rust
        scalars = [v for v in values if not isinstance(v, (list, dict))]
        small = [v for v in values if isinstance(v, (list, dict)) and len(v) <= 1]
        pairs = [v for v in values if isinstance(v, (list, dict)) and len(v) == 2]
        _CONSTANTS[world] = scalars * 2 + small + Random(world).sample(pairs, min(12, len(pairs)))
    return _CONSTANTS[world]


_CONSTANTS: dict[str, list[Any]] = {}

_LEAF = [
    *("type", "type", "const", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "multipleOf"),
    *("required", "minItems", "maxItems", "minProperties", "maxProperties"),
]
_OF_A_SCHEMA = {"items", "additionalProperties", "contains", "not", "if", "then", "else", "additionalItems"}
_OF_SCHEMAS = {"properties", "patternProperties", "dependentSchemas"}
_LEAF_HOLDERS = ["properties", "items", "not", "anyOf", "additionalProperties"]

_PATTERNS = ("^a", "b", "a$", "^[ab]$", "^(?:ab?)*$", "[^a]", "^b*$", "^.$", "a|^$", "^(?!a)", "\\d", '[é"\\\\]')
#: Formats that all referees assert, and how many of them a draft has: Guard asserts the others there, too.
_FORMATS = ("ipv4", "ipv6", "date", "uuid")
_FORMATS_OF = {"draft4": 2, "openapi3.0": 2, "draft6": 2, "draft7": 3}
_KEY_PATTERNS = ("^a", "b", "^[bc]$", "[^a]", "^(?:a|c)$", "a$", "é|x", "^.$")


def _type(m: Maker) -> dict[str, Any]:
    r = m.r
    kinds = r.sample(_TYPES, r.choice([1, 2, 3, 4]))
    return {"type": kinds[0] if len(kinds) == 1 and r.random() < 0.8 else kinds}


def _nullable(m: Maker) -> dict[str, Any]:
    kinds = [k for k in _TYPES if k != "null"]
    return {"type": m.r.choice([m.r.choice(kinds), m.r.sample(kinds, 2)]), "nullable": m.r.random() < 0.85}


def _grounded(m: Maker) -> dict[str, Any]:
    kind = m.r.choice(["string", "string", "number", "integer"])
    said: Any = m.r.choice(["input", "input", "/a"])
    if kind == "string" and m.r.random() < 0.5:
        said = {"input": said, "within": m.r.choice(["cell", "line", "paragraph"])}
    if m.r.random() < 0.4:
        said = {**(said if isinstance(said, dict) else {"input": said}), "locales": list(m.r.choice(inputs.LOCALES))}
    value = {"type": m.r.choice([kind, [kind, "null"]]), KEYWORD: said}
    if m.r.random() < 0.2:
        once = {**value, KEYWORD: {**(said if isinstance(said, dict) else {"input": said}), "once": True}}
        return {"items": m.r.choice([once, {"anyOf": [once, {"type": ["boolean", "object"]}]}]), "uniqueItems": True}
    ways: list[dict[str, Any]] = [value, value, {"properties": {m.name(): value}}, {"items": value}]
    return m.r.choice([*ways, {"anyOf": [value, {"type": ["array", "object"]}]}])


def _enum(m: Maker) -> dict[str, Any]:
    values = [m.r.choice(m.values) for _ in range(m.r.choice([1, 2, 3, 8, 20]))]
    return {"enum": list({json.dumps(v, sort_keys=True): v for v in values}.values())}


def _exclusive(side: str) -> Callable[[Maker], dict[str, Any]]:
    def make(m: Maker) -> dict[str, Any]:
        word = "exclusive" + side.capitalize()
        return {side: m.number(), word: m.r.random() < 0.9} if m.old else {word: m.number()}

    return make


def _count(word: str, least: int, most: int) -> Callable[[Maker], dict[str, Any]]:
    return lambda m: {word: m.r.randint(least, most)}


def _contains_count(word: str, *counts: int) -> Callable[[Maker], dict[str, Any]]:
    return lambda m: {word: m.r.choice(counts), "contains": m.leaf()}


def _unique(m: Maker) -> dict[str, Any]:
    """Draw uniqueItems, sometimes with so few values at each place that they have to be shared out."""
    out: dict[str, Any] = {"uniqueItems": m.r.random() < 0.95}
    if m.r.random() < 0.4:
        others = [v for v in m.values if isinstance(v, str)]
        pool = [0, 1, m.r.choice(others)] if others else [0, 1]
        places = m.r.randint(2, 3)
        word = "prefixItems" if "prefixItems" in m.keywords else "items"
        out[word] = [{"enum": m.r.sample(pool, m.r.choice([1, 2, 2, len(pool)]))} for _ in range(places)]
        out["minItems"] = m.r.randint(1, places)
    return out


_PLAIN: dict[str, Callable[[Maker], dict[str, Any]]] = {
    "type": _type,
    "nullable": _nullable,
    KEYWORD: _grounded,
    "const": lambda m: {"const": m.r.choice(m.values)},
    "enum": _enum,
    "minimum": lambda m: {"minimum": m.number()},
    "maximum": lambda m: {"maximum": m.number()},
    "exclusiveMinimum": _exclusive("minimum"),
    "exclusiveMaximum": _exclusive("maximum"),
    "multipleOf": lambda m: {"multipleOf": m.r.choice([1, 2, 0.5, 3, 1.5, 0.1, 0.25])},
    "minLength": _count("minLength", 1, 2),
    "maxLength": _count("maxLength", 0, 2),
    "pattern": lambda m: {"pattern": m.r.choice(_PATTERNS)},
    "format": lambda m: {"format": m.r.choice(_FORMATS[: _FORMATS_OF.get(m.draft, 4)])},
    "required": lambda m: {"required": m.some_names(1, 2)},
    "minProperties": _count("minProperties", 1, 3),
    "maxProperties": _count("maxProperties", 0, 3),
    "dependentRequired": lambda m: {"dependentRequired": {n: m.some_names(1, 2) for n in m.some_names(1, 2)}},
    "minItems": _count("minItems", 1, 3),
    "maxItems": _count("maxItems", 0, 3),
    "minContains": _contains_count("minContains", 0, 2, 2, 3),
    "maxContains": _contains_count("maxContains", 0, 1, 1, 2),
    "uniqueItems": lambda m: _unique(m),
}


def _additional_properties(m: Maker, inside: list[str], depth: int) -> dict[str, Any]:
    closed = not inside and m.r.random() < 0.5
    out: dict[str, Any] = {}
    if m.r.random() < 0.7:
        out["properties"] = {n: m.leaf(depth) for n in m.some_names(1, 2)}
    return {**out, "additionalProperties": False if closed else m.child(inside, depth)}


def _names(m: Maker, inside: list[str], depth: int) -> dict[str, Any]:
    if inside:
        return {"propertyNames": m.child(inside, depth)}
    choices: list[Any] = [{"pattern": m.r.choice(_KEY_PATTERNS)}, {"maxLength": 1}, {"minLength": 2}]
    choices += [{"enum": m.some_names(1, 3)}, {"not": {"const": m.name()}}]
    return {"propertyNames": m.r.choice(choices)}


def _dependencies(m: Maker, inside: list[str], depth: int) -> dict[str, Any]:
    out: dict[str, Any] = {m.name(): m.child(inside, depth)}
    if m.r.random() < 0.5 or not inside:
        out[m.name()] = m.some_names(1, 2)
    return {"dependencies": out}


def _items(m: Maker, inside: list[str], depth: int) -> dict[str, Any]:
    if "prefixItems" in m.keywords or m.r.random() < 0.6:
        return {"items": m.child(inside, depth)}
    return {"items": m.among(inside, depth)}


def _if(word: str) -> Callable[[Maker, list[str], int], dict[str, Any]]:
    def make(m: Maker, inside: list[str], depth: int) -> dict[str, Any]:
        parts = {"if": m.leaf(depth), "then": m.leaf(depth), "else": m.leaf(depth)}
        if word != "if" and m.r.random() < 0.3:
            del parts["then" if word == "else" else "else"]
        parts[word] = m.child(inside, depth)
        return parts

    return make


def _unevaluated(word: str, beside: str) -> Callable[[Maker, list[str], int], dict[str, Any]]:
    def make(m: Maker, inside: list[str], depth: int) -> dict[str, Any]:
        child = False if not inside and m.r.random() < 0.6 and not m.old else m.child(inside, depth)
        out: dict[str, Any] = {word: child}
        annotating = {beside: {n: m.leaf() for n in m.some_names(1, 2)} if beside == "properties" else [m.leaf()]}
        if beside == "items" and "prefixItems" in m.keywords:
            annotating = {"prefixItems": [m.leaf() for _ in range(m.r.randint(1, 2))]}
            if m.r.random() < 0.3:
                annotating = {"contains": m.leaf()}
        ways: list[dict[str, Any]] = [
            annotating,
            {"anyOf": [annotating, m.leaf()]},
            {"oneOf": [annotating, {**annotating, "minItems": 2, "minProperties": 2}]},
            {"allOf": [annotating, m.leaf()]},
        ]
        if "if" in m.keywords:
            ways += [
                {"if": annotating, "then": m.leaf(), "else": m.leaf()},
                {"if": m.leaf(), "then": annotating},
                {"if": m.leaf(), "then": m.leaf(), "else": annotating},
                {"dependentSchemas": {m.name(): annotating}},
                {"not": {"not": annotating}},
            ]
        return m.r.choice(ways) | out

    return make


def _dynamic(m: Maker, inside: list[str], depth: int) -> dict[str, Any]:
    """Refer to `#n`: in the root's resource the definition there, in another one the root's again."""
    if "n" in m.defs:
        return {"$dynamicRef": "#n"}
    m.at_root = {"$id": _ROOT}
    m.defs["n"] = {"$dynamicAnchor": "n"}
    m.defs["n"] = {"$dynamicAnchor": "n", **m.schema(inside or ["type"], depth - 1)}
    if m.r.random() < 0.4:
        return {"$dynamicRef": "#n"}
    holder = m.r.choice(["items", "additionalProperties", "contains", "not"])
    listed = {"$id": "list", holder: {"$dynamicRef": "#n"}, "$defs": {"n": {"$dynamicAnchor": "n", "type": "null"}}}
    m.defs["list"] = listed
    return {"$ref": "list"}


def _recursive(m: Maker, inside: list[str], depth: int) -> dict[str, Any]:
    """Refer to the root from below it."""
    m.at_root = {"$id": _ROOT, **({"$recursiveAnchor": True} if m.r.random() < 0.5 else {})}
    holder = m.r.choice(["items", "additionalProperties", "contains", "unevaluatedItems", "unevaluatedProperties"])
    out: dict[str, Any] = {holder: {"$recursiveRef": "#"}}
    if inside:
        out |= {k: v for k, v in m.schema(inside, depth).items() if k not in out}
    return out


def _ref(m: Maker, inside: list[str], depth: int) -> dict[str, Any]:
    target = m.reference(inside, depth)
    return {"properties": {m.name(): {"$ref": "#"}}} if target == "#" else {"$ref": target}


def _constant(m: Maker, values: list[Any]) -> dict[str, Any]:
    return {"const": values[0]} if len(values) == 1 and "const" in m.keywords else {"enum": values}


def _tagged(m: Maker, children: list[Any]) -> list[Any]:
    """Draw alternatives that a member's values tell apart, not always all of them; children stand in the first ones."""
    r = m.r
    tag, values = m.name(), list({json.dumps(v): v for v in m.values if not isinstance(v, (list, dict))}.values())
    required, closed, overlap = r.random() < 0.8, r.random() < 0.5, r.random() < 0.4
    out = []
    for i in range(r.choice([2, 3, 6, 20])):  # among more than 16 the engine looks by name
        own = r.sample(values, r.randint(1, min(3, len(values)))) if overlap else [values[i % len(values)]]
        other = m.name()
        members = {other: children[i] if i < len(children) else m.leaf(), tag: _constant(m, own)}
        part: dict[str, Any] = {"properties": members if r.random() < 0.5 else dict(reversed(members.items()))}
        if required or r.random() < 0.2:
            part["required"] = list(dict.fromkeys([tag, *([other] if r.random() < 0.3 else [])]))
        if closed and r.random() < 0.9:
            part["additionalProperties"] = False
        out.append(part)
    return out


def _chain(m: Maker, children: list[Any]) -> dict[str, Any]:
    """Draw implications by a member's value, beside which nothing else may stand; children stand in the first ones."""
    r = m.r
    tag, values = m.name(), [v for v in m.values if not isinstance(v, (list, dict))]
    out: dict[str, Any] = {"allOf": []}
    for i in range(r.choice([2, 3, 6])):
        when: dict[str, Any] = {"properties": {tag: _constant(m, [values[i % len(values)]])}}
        if r.random() < 0.6:
            when["required"] = [tag]
        then: dict[str, Any] = {"properties": {n: m.leaf() for n in m.some_names(1, 2)}}
        if r.random() < 0.4:
            then["required"] = m.some_names(1, 1)
        if i < len(children):
            then = {"allOf": [then, children[i]]}
        out["allOf"].append({"if": when, "then": then})
    if r.random() < 0.4:
        out["required"] = [tag]
    if "unevaluatedProperties" in m.keywords and r.random() < 0.7:
        out["unevaluatedProperties"] = False
    return out


def _all_of(m: Maker, inside: list[str], depth: int) -> dict[str, Any]:
    children = m.among(inside, depth)
    return _chain(m, children) if "if" in m.keywords and m.r.random() < 0.2 else {"allOf": children}


def _any_of(word: str, least: int) -> Callable[[Maker, list[str], int], dict[str, Any]]:
    def make(m: Maker, inside: list[str], depth: int) -> dict[str, Any]:
        children = m.among(inside, depth, least)
        return {word: _tagged(m, children) if m.r.random() < 0.25 else children}

    return make


_HOLDERS: dict[str, Callable[[Maker, list[str], int], dict[str, Any]]] = {
    "properties": lambda m, inside, depth: {"properties": m.by_name(inside, depth)},
    "patternProperties": lambda m, inside, depth: {
        "patternProperties": dict(
            zip(m.r.sample(_KEY_PATTERNS, len(children)), children, strict=True)
            if (children := m.among(inside, depth, 1, 2))
            else ()
        )
    },
    "additionalProperties": _additional_properties,
    "propertyNames": _names,
    "items": _items,
    "prefixItems": lambda m, inside, depth: {"prefixItems": m.among(inside, depth)},
    "additionalItems": lambda m, inside, depth: {
        "items": m.among([], depth, 1, 2),
        "additionalItems": False if not inside and m.r.random() < 0.4 else m.child(inside, depth),
    },
    "contains": lambda m, inside, depth: {"contains": m.child(inside, depth)},
    "allOf": _all_of,
    "anyOf": _any_of("anyOf", 1),
    "oneOf": _any_of("oneOf", 2),
    "not": lambda m, inside, depth: {"not": m.child(inside, depth)},
    "if": _if("if"),
    "then": _if("then"),
    "else": _if("else"),
    "dependentSchemas": lambda m, inside, depth: {"dependentSchemas": {m.name(): m.child(inside, depth)}},
    "dependencies": _dependencies,
    "unevaluatedProperties": _unevaluated("unevaluatedProperties", "properties"),
    "unevaluatedItems": _unevaluated("unevaluatedItems", "items"),
    "$ref": _ref,
    "$dynamicRef": _dynamic,
    "$recursiveRef": _recursive,
}

_ = KEYWORDS - _PLAIN.keys() - _HOLDERS.keys()
assert not _, f"the generator does not know {sorted(_)}"


def without(schema: Any, keyword: str) -> Any:
    """Return a schema without any occurrence of a keyword. No name of a member here is a keyword."""
    if isinstance(schema, dict):
        return {k: v if k in ("const", "enum") else without(v, keyword) for k, v in schema.items() if k != keyword}
    return [without(item, keyword) for item in schema] if isinstance(schema, list) else schema


def keywords_in(schema: Any) -> set[str]:
    """Return the keywords of a schema, wherever they stand."""
    if isinstance(schema, dict):
        below = [keywords_in(v) for k, v in schema.items() if k not in ("const", "enum")]
        return set().union(schema.keys() & KEYWORDS, *below)
    return set().union(*map(keywords_in, schema)) if isinstance(schema, list) else set()
