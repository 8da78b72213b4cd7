"""Lowering: from a position and a scope to a record, the flat conjunction that the engine works on.

A node is a number: a position of `Documents` where the scope is empty, which it is unless a schema uses dynamic
references, and a number of its own otherwise. A branch of `oneOf` with values from the inputs of a call has a second
node, for what it says without the inputs. Nodes are lowered when the engine asks, with those that a mask will need
next. In a record the differences between drafts are gone: `dependencies` is split, items have positions, bounds are
exact decimals and inclusive or not, names are texts that JSON can write. A scan (scan.py) has been over every position
before, so that nothing here can be refused.

With `inexact="residual"` some keywords were found to be beyond the engine. They are left out, and what stands above
them is widened, so that the record admits every valid value: under `not` the whole keyword goes, `oneOf` becomes
`anyOf`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from guard.kernels._native import KeywordTable, LoweringTables, Twins
from guard.kernels.cached import cached_property
from guard.kernels.unicode_text import is_unicode
from guard.schemas import regex, string_formats
from guard.schemas.documents import Documents, Scope
from guard.schemas.grounding.keyword import KEYWORD, is_optional, rule_of
from guard.schemas.keywords import SUPPORTED
from guard.schemas.limits import MOST_COUNT
from guard.schemas.literals import literals
from guard.schemas.numbers import decimal
from guard.schemas.ops import (
    ARRAY,
    BOOLEAN,
    FALSE,
    INTEGER,
    INTEGER_TEXT,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    TRUE,
    Op,
    Record,
)
from guard.schemas.scan import grounded_positions, inexact_positions

if TYPE_CHECKING:
    from guard.schemas.grounding.sources import Sources

UNGROUNDED: Scope = (("", 0),)  #: The scope in which no value comes from the inputs of a call.

_EVERYTHING = NULL | BOOLEAN | NUMBER | STRING | ARRAY | OBJECT
_TYPE_BITS = {"null": NULL, "boolean": BOOLEAN, "number": NUMBER, "string": STRING, "array": ARRAY, "object": OBJECT}
#: Keywords of scalars that say what they say wherever they stand.
_PLAIN = frozenset(
    (
        *("type", "nullable", "const", "format", "pattern", "minLength", "maxLength", "multipleOf"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    )
)
#: What a keyword says of whether two schemas are alike; others say nothing. kernels/cpu/python/lower_fast.cpp has the
#: same numbers.
_SCALAR, _POINTS, _HOLDS = 1, 2, 3
_KINDS = KeywordTable(dict.fromkeys((*SUPPORTED, "id"), _HOLDS) | dict.fromkeys(_PLAIN, _SCALAR) | {"$ref": _POINTS})
#: Records of plain scalars by what they say, of all schemas of the process, and how many and how long they may be.
_KNOWN: dict[tuple[bytes, bool], Record] = {}
_MOST_KNOWN, _LONGEST = 2_000, 400

(
    _TYPE,
    _CONST,
    _ENUM,
    _REF,
    _ALL,
    _ANY,
    _ONE,
    _NOT,
    _IF,
    _MIN,
    _MAX,
    _MULTIPLE,
    _LENGTH,
    _PATTERN,
    _FORMAT,
    _PROPERTIES,
    _PATTERNS,
    _ADDITIONAL,
    _REQUIRED,
    _NAMES,
    _DEPENDENT_REQUIRED,
    _DEPENDENT_SCHEMAS,
    _ITEMS,
    _CONTAINS,
    _UNIQUE,
    _UNEVALUATED_PROPERTIES,
    _UNEVALUATED_ITEMS,
) = (
    int(op)
    for op in (
        Op.TYPE,
        Op.CONST,
        Op.ENUM,
        Op.REF,
        Op.ALL,
        Op.ANY,
        Op.ONE,
        Op.NOT,
        Op.IF,
        Op.MIN,
        Op.MAX,
        Op.MULTIPLE,
        Op.LENGTH,
        Op.PATTERN,
        Op.FORMAT,
        Op.PROPERTIES,
        Op.PATTERNS,
        Op.ADDITIONAL,
        Op.REQUIRED,
        Op.NAMES,
        Op.DEPENDENT_REQUIRED,
        Op.DEPENDENT_SCHEMAS,
        Op.ITEMS,
        Op.CONTAINS,
        Op.UNIQUE,
        Op.UNEVALUATED_PROPERTIES,
        Op.UNEVALUATED_ITEMS,
    )
)


class _Context:
    """One node being lowered."""

    __slots__ = ("_documents", "_schema", "dialect", "position", "record", "scope")

    def __init__(self, documents: Documents, position: int, scope: Scope, schema: dict[str, Any] | None = None) -> None:
        self._documents = documents
        self._schema = schema
        self.position = position
        self.scope = scope
        self.dialect = documents.homes[position].dialect
        self.record: Record = []

    @property
    def schema(self) -> dict[str, Any]:
        """The node's schema, or what is lowered instead."""
        found: dict[str, Any] = self._documents.schemas[self.position] if self._schema is None else self._schema
        return found


class Lowering:
    """Gives nodes their numbers and lowers them. Not thread-safe: the engine asks under the GIL."""

    def __init__(
        self,
        documents: Documents,
        twins: Twins,
        tables: LoweringTables | None,
        *,
        assert_formats: bool,
        annotate: bool,
        dropped: frozenset[tuple[int, str]] = frozenset(),
        sources: Sources | None = None,
    ) -> None:
        self.documents = documents
        self.assert_formats = assert_formats
        self.annotate = annotate  # some unevaluated* is enforced: what evaluates without asserting must be lowered too
        self.dropped = dropped  # (position, keyword) that are left to validation
        self.sources = sources  # the inputs of one call, which grounded values come from; None: of no call
        self.inexact = inexact_positions(documents, dropped) if dropped else frozenset()
        self._nodes: dict[tuple[int, Scope], int] = {}
        self._scoped: dict[int, tuple[int, Scope]] = {}
        self._next = len(documents.schemas)
        self._twins, self._tables = twins, tables
        roots = documents.roots
        self.roots = [self.node(position, ()) for position in roots] if documents.dynamic else roots
        self.root = self.roots[0]

    # ---- nodes ----

    def node(self, position: int, scope: Scope) -> int:
        """Return the node of a position that is reached in a scope."""
        if position <= FALSE:
            return position
        if scope == UNGROUNDED:
            scope = UNGROUNDED if position in self.grounded else ()
        elif self.documents.dynamic:
            scope = self.documents.enter(scope, position)
        else:
            return position
        if not scope:
            return position
        key = position, scope
        found = self._nodes.get(key)
        if found is None:
            found = self._nodes[key] = self._next
            self._scoped[found] = key
            self._next += 1
        return found

    def position_of(self, node: int) -> int:
        """Return the position of a node, for messages."""
        return self._scoped[node][0] if node in self._scoped else node

    def positions_of(self, node: int) -> list[int]:
        """Return the positions known that say the same as a node, its own first."""
        position = self.position_of(node)
        return [position, *self._twins.alike(position)]

    def lower(self, nodes: list[int]) -> list[Record]:
        """Return the record of each node."""
        return [self._lower(node) for node in nodes]

    def keywords(self, node: int) -> list[str]:
        """Return the keywords of a node's schema that say something of a value."""
        position = self.position_of(node)
        known = self.documents.homes[position].dialect.keywords
        return [keyword for keyword in self.documents.schemas[position] if keyword in known and keyword in _HOW]

    def lower_without(self, node: int, keyword: str) -> Record:
        """Return the record that a node would have if its schema lacked a keyword."""
        position, _ = self._scoped.get(node, (node, ()))
        schema = self.documents.schemas[position]
        return self._lower(node, {word: value for word, value in schema.items() if word != keyword})

    def _lower(self, node: int, instead: dict[str, Any] | None = None) -> Record:
        if node <= FALSE:
            return [] if node == TRUE else [(_TYPE, 0)]
        position, scope = self._scoped.get(node, (node, ()))
        documents = self.documents
        schema = documents.schemas[position] if instead is None else instead
        context = _Context(documents, position, scope, schema)
        dialect = context.dialect
        if dialect.ref_alone and "$ref" in schema:
            _reference(self, context, "$ref", schema["$ref"])
            hidden = schema.get("properties")  # they ask for nothing, and still say in which order keys come
            if isinstance(hidden, dict) and (names := [name for name in hidden if is_unicode(name)]):
                context.record.append((_PROPERTIES, [(name, TRUE) for name in names]))
            return context.record
        keywords = dialect.keywords
        if "properties" in schema and "properties" in keywords:
            self._one(context, "properties", schema["properties"])
        if "required" in schema and "required" in keywords:
            self._one(context, "required", schema["required"])
        for keyword, value in schema.items():
            how = _HOW.get(keyword)
            if how is not None and keyword in keywords and not (self.dropped and (position, keyword) in self.dropped):
                how(self, context, keyword, value)
        return context.record

    def _keep(self, key: tuple[bytes, bool], record: Record) -> None:
        """Keep the record of a plain scalar, which is the same in every schema: it is read only."""
        if len(_KNOWN) < _MOST_KNOWN and len(key[0]) < _LONGEST:
            _KNOWN[key] = record

    def _entry(self, record: Record, node: int, keyword: str, value: Any) -> None:
        """Add what one keyword says to a node's record, where the scope is empty and no keyword is dropped."""
        documents = self.documents
        context = _Context(documents, node, ())
        context.record = record
        (_required if keyword == "required" else _HOW[keyword])(self, context, keyword, value)

    def _one(self, context: _Context, keyword: str, value: Any) -> None:
        if not (self.dropped and (context.position, keyword) in self.dropped):
            (_properties if keyword == "properties" else _required)(self, context, keyword, value)

    def child(self, context: _Context, schema: Any) -> int:
        """Return the node of a schema right below the one being lowered; the scan gave it its position."""
        if type(schema) is not dict:
            return TRUE if schema else FALSE
        if not schema:
            return TRUE
        position = self.documents.homes[context.position].document.places[id(schema)]
        if self.documents.dynamic or context.scope:
            return self.node(position, context.scope)
        if self._tables is None:
            return position
        return self._twins.first(self._tables, position, context.dialect.tables)

    @cached_property
    def grounded(self) -> frozenset[int]:
        """The positions at which, or below which, a value comes from the inputs of a call; none where there is none."""
        return grounded_positions(self.documents) if self.sources is not None else frozenset()

    def is_grounded(self, context: _Context, schema: Any) -> bool:
        """Say whether a value at or below a schema right below the one being lowered comes from inputs."""
        if type(schema) is not dict or not schema or context.scope == UNGROUNDED:
            return False
        return self.documents.homes[context.position].document.places[id(schema)] in self.grounded

    def loose(self, context: _Context, schema: Any) -> bool:
        """Say whether something below a schema is left to validation, so that its record admits too much."""
        if not self.inexact or type(schema) is not dict or not schema:
            return False
        return self.documents.homes[context.position].document.places[id(schema)] in self.inexact


_How: TypeAlias = Callable[[Lowering, _Context, str, Any], None]


# ---- any type ----


def _type(_lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    mask = 0
    for name in (value,) if type(value) is str else value:
        mask |= c.dialect.integer if name == "integer" else _TYPE_BITS[name]
    if c.schema.get("nullable") is True and "nullable" in c.dialect.keywords:
        mask |= NULL
    if mask & NUMBER:
        mask &= ~(INTEGER | INTEGER_TEXT)
    if mask & _EVERYTHING != _EVERYTHING:
        c.record.append((_TYPE, mask))


def _const(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    found = literals([value], lowering.documents.limits.digits)
    c.record.append((_CONST, found[0]) if found else (_TYPE, 0))


def _enum(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    found = literals(value, lowering.documents.limits.digits)
    c.record.append((_ENUM, found) if found else (_TYPE, 0))


# ---- in-place applicators ----


def _reference(lowering: Lowering, c: _Context, keyword: str, _: Any) -> None:
    if (c.position, keyword) in lowering.documents.idle:
        return
    target = lowering.documents.targets[c.position, keyword]
    position = target.position
    if target.anchor is not None:
        position = dict(c.scope).get(target.anchor, position)
    node = lowering.node(position, c.scope)
    if node != TRUE:
        c.record.append((_REF, node))


def _all_of(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    c.record.append((_ALL, [lowering.child(c, child) for child in value]))


def _any_of(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    c.record.append((_ANY, [lowering.child(c, child) for child in value]))


def _one_of(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    nodes = [lowering.child(c, child) for child in value]
    if any(lowering.loose(c, child) for child in value):
        c.record.append((_ANY, nodes))
    elif any(lowering.is_grounded(c, child) for child in value):
        # That only one branch fits is said without the inputs, of which no other validator knows.
        ungrounded = _Context(lowering.documents, c.position, UNGROUNDED)
        c.record += [(_ANY, nodes), (_ONE, [lowering.child(ungrounded, child) for child in value])]
    else:
        c.record.append((_ONE, nodes))


def _not(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    if not lowering.loose(c, value):
        c.record.append((_NOT, lowering.child(c, value)))


def _if(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    then, otherwise = c.schema.get("then", True), c.schema.get("else", True)
    nodes = lowering.child(c, then), lowering.child(c, otherwise)
    if lowering.loose(c, value):
        c.record.append((_ANY, list(nodes)))
    else:
        c.record.append((_IF, lowering.child(c, value), *nodes))


# ---- numbers and strings ----


def _bound(lowering: Lowering, c: _Context, keyword: str, value: Any) -> None:
    lower = keyword in ("minimum", "exclusiveMinimum")
    exclusive = keyword.startswith("exclusive")
    if c.dialect.boolean_bounds:
        if exclusive:
            return
        exclusive = c.schema.get("exclusiveMinimum" if lower else "exclusiveMaximum") is True
    c.record.append((_MIN if lower else _MAX, *decimal(value, lowering.documents.limits.digits), exclusive))


def _multiple_of(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    c.record.append((_MULTIPLE, *decimal(value, lowering.documents.limits.digits)))


def _pattern(_: Lowering, c: _Context, __: str, value: Any) -> None:
    c.record.append((_PATTERN, regex.parse(value).tree))


def _format(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    if lowering.assert_formats and string_formats.is_known(value):
        tree = string_formats.tree(value, c.dialect.name)
        if tree is not None:
            c.record.append((_FORMAT, value, tree))


# ---- counts ----


def _range(least_word: str, most_word: str, op: Op, kind: int) -> _How:
    """Return how a pair of counting keywords becomes one entry, at the place of the first of the two."""
    code = int(op)

    def how(lowering: Lowering, c: _Context, keyword: str, _: Any) -> None:
        low, high = c.schema.get(least_word), c.schema.get(most_word)
        if lowering.dropped:
            low = None if (c.position, least_word) in lowering.dropped else low
            high = None if (c.position, most_word) in lowering.dropped else high
        if keyword == most_word and low is not None:
            return
        least, most = int(low or 0), -1 if high is None else int(high)
        if least > MOST_COUNT or 0 <= most < least:
            c.record.append((_TYPE, _EVERYTHING & ~kind))
        elif least or 0 <= most <= MOST_COUNT:
            c.record.append((code, least, most if most <= MOST_COUNT else -1))

    return how


# ---- grounded values ----


def _source(lowering: Lowering, c: _Context, _: str, __: Any) -> None:
    if lowering.sources is None or c.scope == UNGROUNDED:
        return
    rule = rule_of(c.schema)
    if rule.kind == "number":
        _enum(lowering, c, KEYWORD, [*lowering.sources.numbers(rule), *[None] * is_optional(c.schema)])
    else:
        c.record.append((_FORMAT, KEYWORD, lowering.sources.tree(rule)))


# ---- objects ----


def _properties(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    pairs = [(name, lowering.child(c, schema)) for name, schema in value.items() if is_unicode(name)]
    if pairs:
        c.record.append((_PROPERTIES, pairs))


def _required(_: Lowering, c: _Context, __: str, value: Any) -> None:
    if all(map(is_unicode, value)):
        if value:
            c.record.append((_REQUIRED, list(dict.fromkeys(value))))
    else:
        c.record.append((_TYPE, _EVERYTHING & ~OBJECT))


def _patterns(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    pairs = [(regex.parse(source).tree, lowering.child(c, schema)) for source, schema in value.items()]
    if pairs:
        c.record.append((_PATTERNS, pairs))


def _additional(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    node = lowering.child(c, value)
    if node == TRUE and not lowering.annotate:
        return
    if (c.position, "patternProperties") in lowering.dropped:
        return
    keywords = c.dialect.keywords
    names = c.schema.get("properties", {}) if "properties" in keywords else {}
    patterns = c.schema.get("patternProperties", {}) if "patternProperties" in keywords else {}
    c.record.append((_ADDITIONAL, node, [n for n in names if is_unicode(n)], [regex.parse(p).tree for p in patterns]))


def _names(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    node = lowering.child(c, value)
    if node != TRUE:
        c.record.append((_NAMES, node))


def _dependencies(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    required: list[tuple[str, list[str]]] = []
    schemas: list[tuple[str, int]] = []
    for name, what in value.items():
        if not is_unicode(name):
            continue
        if type(what) is list:
            if all(map(is_unicode, what)):
                if what:
                    required.append((name, list(dict.fromkeys(what))))
            else:
                schemas.append((name, FALSE))
        else:
            schemas.append((name, lowering.child(c, what)))
    if required:
        c.record.append((_DEPENDENT_REQUIRED, required))
    if schemas:
        c.record.append((_DEPENDENT_SCHEMAS, schemas))


def _unevaluated_properties(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    node = lowering.child(c, value)
    if node != TRUE or lowering.annotate:  # one that admits everything matters to those around it alone
        c.record.append((_UNEVALUATED_PROPERTIES, node))


# ---- arrays ----


def _prefix(lowering: Lowering, c: _Context, value: list[Any]) -> None:
    for index, schema in enumerate(value):
        node = lowering.child(c, schema)
        if node != TRUE or lowering.annotate:
            c.record.append((_ITEMS, index, index + 1, node))


def _rest(lowering: Lowering, c: _Context, start: int, schema: Any) -> None:
    node = lowering.child(c, schema)
    if node != TRUE or lowering.annotate:
        c.record.append((_ITEMS, start, -1, node))


def _items(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    if type(value) is list:
        _prefix(lowering, c, value)
    else:
        prefix = c.schema.get("prefixItems") if "prefixItems" in c.dialect.keywords else None
        _rest(lowering, c, len(prefix) if type(prefix) is list else 0, value)


def _prefix_items(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    _prefix(lowering, c, value)


def _additional_items(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    head = c.schema.get("items")
    if type(head) is list:
        _rest(lowering, c, len(head), value)


def _contains(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    keywords = c.dialect.keywords
    least = int(c.schema.get("minContains", 1)) if "minContains" in keywords else 1
    most = int(c.schema.get("maxContains", -1)) if "maxContains" in keywords else -1
    if lowering.loose(c, value) or (c.position, "maxContains") in lowering.dropped:
        most = -1
    if (c.position, "minContains") in lowering.dropped:
        least = 0
    if least > MOST_COUNT or 0 <= most < least:
        c.record.append((_TYPE, _EVERYTHING & ~ARRAY))
    else:  # with a minimum of 0, too: it says in which order the keys of items come
        c.record.append((_CONTAINS, lowering.child(c, value), least, most if most <= MOST_COUNT else -1))


def _unique(_: Lowering, c: _Context, __: str, value: Any) -> None:
    if value is True:
        c.record.append((_UNIQUE,))


def _unevaluated_items(lowering: Lowering, c: _Context, _: str, value: Any) -> None:
    by_contains = "$recursiveRef" not in c.dialect.keywords  # since 2020-12 `contains` evaluates what it finds
    node = lowering.child(c, value)
    if node != TRUE or lowering.annotate:
        c.record.append((_UNEVALUATED_ITEMS, node, by_contains))


_length = _range("minLength", "maxLength", Op.LENGTH, STRING)
_count = _range("minItems", "maxItems", Op.COUNT, ARRAY)
_size = _range("minProperties", "maxProperties", Op.SIZE, OBJECT)

#: How each keyword is lowered; `properties` and `required` come before this table is gone through.
_HOW: dict[str, _How] = {
    "type": _type,
    "const": _const,
    "enum": _enum,
    "$ref": _reference,
    "$dynamicRef": _reference,
    "$recursiveRef": _reference,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "minimum": _bound,
    "maximum": _bound,
    "exclusiveMinimum": _bound,
    "exclusiveMaximum": _bound,
    "multipleOf": _multiple_of,
    "minLength": _length,
    "maxLength": _length,
    "pattern": _pattern,
    "format": _format,
    "patternProperties": _patterns,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "minProperties": _size,
    "maxProperties": _size,
    "dependencies": _dependencies,
    "dependentRequired": _dependencies,
    "dependentSchemas": _dependencies,
    "unevaluatedProperties": _unevaluated_properties,
    "items": _items,
    "prefixItems": _prefix_items,
    "additionalItems": _additional_items,
    "minItems": _count,
    "maxItems": _count,
    "contains": _contains,
    "uniqueItems": _unique,
    "unevaluatedItems": _unevaluated_items,
    KEYWORD: _source,
}

#: The keywords that kernels/cpu/python/lower_fast.cpp lowers, by its numbers; 0: those that it leaves to Python.
_FAST = KeywordTable(
    dict.fromkeys(_HOW, 0)
    | {
        "type": 1,
        "enum": 2,
        "const": 3,
        "additionalProperties": 4,
        "items": 5,
        "allOf": 6,
        "anyOf": 7,
        "oneOf": 8,
        "minimum": 9,
        "maximum": 10,
        "exclusiveMinimum": 11,
        "exclusiveMaximum": 12,
        "minLength": 13,
        "maxLength": 13,
        "minItems": 14,
        "maxItems": 14,
        "minProperties": 15,
        "maxProperties": 15,
        "not": 16,
        "prefixItems": 17,
        "additionalItems": 18,
        "uniqueItems": 19,
        "format": 20,
        "pattern": 21,
    }
)

_FORMATS = KeywordTable(dict.fromkeys(string_formats.KNOWN, 0))


#: What lowering in C++ is told: where schemas are at home and references lead, whether formats and annotations count.
def tables(documents: Documents | None, *, assert_formats: bool, annotate: bool) -> LoweringTables:
    """Return what `NodeLowering` is told of documents; None stands for one that was scanned alone."""
    if documents is None:
        return _tables_alone(assert_formats, annotate)
    return _tables(documents.homes, documents.resolved, documents.idle, assert_formats, annotate)


@cache
def _tables_alone(assert_formats: bool, annotate: bool) -> LoweringTables:
    return _tables(None, None, None, assert_formats, annotate)


def _tables(homes: Any, targets: Any, idle: Any, assert_formats: bool, annotate: bool) -> LoweringTables:
    own = (_KINDS, _FAST, _FORMATS, string_formats.MADE, _KNOWN, regex.parse)
    return LoweringTables(homes, targets, idle, assert_formats, annotate, *own)
