"""Near misses: instances that break exactly one keyword of a schema.

A value breaks only the keyword K of the subschema P when the schema refuses it, but accepts it without K at P. So the
near misses of (P, K) are the instances of "the schema without K at P, and not the schema". The engine samples that like
any schema: both schemas are lowered to one set of nodes, which share all that does not lead to P. Two independent
validators (json_validators.py) then check each drawn value, with the schema and without the keyword.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from guard.kernels._native import Engine, EngineOptions, Sampler
from guard.kernels.cached import cached_property
from guard.kernels.errors import SchemaError
from guard.kernels.json_pointer import pointer, steps
from guard.output import target
from guard.schemas import Options
from guard.schemas.ops import FALSE, Op, Record
from guard.testing.json_validators import Judges, copied
from guard.testing.strategies import values

#: Keywords that a validator names in a finding. Others contain schemas, whose own keywords it names.
KEYWORDS = (
    *("type", "const", "enum"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "pattern", "format"),
    *("required", "minProperties", "maxProperties", "additionalProperties", "propertyNames", "unevaluatedProperties"),
    *("dependentRequired", "dependencies"),
    *("items", "additionalItems", "minItems", "maxItems", "uniqueItems", "unevaluatedItems"),
    *("contains", "minContains", "maxContains"),
    *("anyOf", "oneOf", "not"),
)
UNITS = 12  #: Most units of choices for one near miss.
_KEPT = 32  #: Most places of one schema that are kept compiled.
_PROBES = 12  #: Values tried at a place before it counts as one without a near miss on which the validators agree.


@dataclass(frozen=True)
class NearMiss:
    """A value that breaks exactly one keyword of a schema."""

    value: Any  # as json.loads gives it
    keyword: str  # "minimum": without it the value would be valid
    at: str  # JSON Pointer into the value, where the finding is: "/orders/3/qty"; "" is the whole value
    rule: str  # JSON Pointer into the schema: "/properties/orders/items/properties/qty/minimum"


def near_misses(wanted: Any, **options: Any) -> SearchStrategy[NearMiss]:
    """Return a strategy of instances that break exactly one keyword of a schema or type.

    jsonschema and jsonschema-rs refuse each one, and accept it without that keyword; `at` is the place that
    jsonschema-rs reports. Pydantic refuses a near miss of a type, too. It shrinks to the first possible keyword, and to
    the smallest value. `options` are those of `guard.compile`.

    Raises SchemaError where the schema is refused, and ValueError where no value breaks one keyword alone.
    """
    misses = Misses(wanted, options)
    if misses.first is None:
        raise ValueError(f"schema={wanted!r:.200} has no near miss: no value breaks one of its keywords alone")
    n = len(misses.places)
    return st.builds(misses.draw, st.integers(0, n - 1), values.Units(UNITS))


class Misses:
    """The near misses of a schema or type, as a function of a place and of choices."""

    def __init__(self, wanted: Any, options: Mapping[str, Any]) -> None:
        """Lower the schema and find its places: positions with a keyword of KEYWORDS that validators report."""
        schema = values.schema_of(wanted)
        self._options = dict(options)
        documents = self._options.pop("documents", None) or {}
        self._front = values.AgreedFront(
            schema, Options(**{k: v for k, v in self._options.items() if v is not None}), documents
        )
        self._draft = self._front.documents.root_home.dialect.name
        self._schema = schema_of_document(self._front)
        self._options["documents"] = documents
        self._judges = Judges(self._schema, self._draft, self._options)
        self._check = None if target.is_schema(wanted) else target.from_any(wanted, options).check
        self._graph: dict[int, list[int]] = {}
        self._records: dict[int, Record] = {}
        self.places = list(self._found())
        self.place = functools.lru_cache(_KEPT)(self._made)

    @cached_property
    def first(self) -> int | None:
        """The first place that has a near miss; None where there is none."""
        return next((at for at in range(len(self.places)) if self.place(at)), None)

    def draw(self, at: int, choices: list[bytes]) -> NearMiss:
        """Return a near miss of the place, or of the next one that has any."""
        place = self.place(at)
        while place is None:
            at = (at + 1) % len(self.places)
            place = self.place(at)
        sampler, judges, known = place
        try:
            made = sampler.sample(choices)
        except SchemaError:
            made = None
        found = made and self._judged(self.places[at], judges, made[0])
        return found or known

    def _made(self, at: int) -> tuple[Sampler, Judges, NearMiss] | None:
        """Return a place's sampler, the judges of the schema without its keyword, and the simplest near miss."""
        position, keyword, rule = self.places[at]
        variant = _Variant(self._front, self._graph, position, keyword)
        sampler = Sampler(variant.engine())
        without = copied(self._schema)
        parent = functools.reduce(_step, steps(rule)[:-1], without)
        del parent[keyword]
        if self._front.documents.root_home.dialect.boolean_bounds and keyword in ("minimum", "maximum"):
            parent.pop("exclusive" + keyword.capitalize(), None)  # which means nothing alone
        judges = Judges(without, self._draft, self._options)
        r = random.Random(at)  # noqa: S311 - probes
        for probe in range(_PROBES):
            choices = [r.randbytes(8) for _ in range(12)] if probe else []
            try:
                made = sampler.sample(choices)
            except SchemaError as error:
                if error.limit == "seconds":  # the other probes would take as long
                    return None
                continue
            if made is None:
                return None
            if found := self._judged(self.places[at], judges, made[0]):
                return sampler, judges, found
        return None

    def _judged(self, place: tuple[int, str, str], judges: Judges, text: bytes) -> NearMiss | None:
        """Return the near miss that a text holds, or None where a validator disagrees."""
        _, keyword, rule = place
        value = json.loads(text)
        if self._judges.verdict(value) is not False or judges.verdict(value) is not True:
            return None
        if self._check is not None and not self._check(text.decode())[1]:
            return None
        for error in self._judges.findings(value):
            where = pointer(error.schema_path)
            if where == rule or (keyword == "propertyNames" and where.startswith(rule + "/")):
                return NearMiss(value, keyword, pointer(error.instance_path), rule)
        return None

    def _found(self) -> Iterator[tuple[int, str, str]]:
        """Yield each place: a position, its keyword, and the keyword's pointer into the schema."""
        front, documents = self._front, self._front.documents
        position_of = front.lowering.position_of
        direct: list[int] = [front.lowering.root]  # nodes at which a validator reports findings
        for node in direct:
            if node <= FALSE:
                continue
            [record] = front.lower([node])
            self._records[node] = record
            position = position_of(node)
            if documents.homes[position].document is documents.root_home.document:
                schema, words = documents.schemas[position], documents.homes[position].dialect.keywords
                for keyword in KEYWORDS:
                    if keyword in schema and keyword in words and not _holds_schemas(keyword, schema[keyword]):
                        yield position, keyword, f"{documents.pointer(position)}/{keyword}"
            for entry in record:
                if entry[0] not in _INDIRECT:
                    direct += [n for n in _nodes(entry) if n not in self._records and n not in direct]
                elif entry[0] == Op.IF:
                    direct += [n for n in entry[2:] if n not in self._records and n not in direct]
        todo = list(self._records)
        while todo:
            node = todo.pop()
            if node not in self._records:
                [self._records[node]] = front.lower([node])
            record = self._records[node]
            self._graph[node] = children = [n for entry in record for n in _nodes(entry) if n > FALSE]
            todo += [n for n in children if n not in self._graph]


def schema_of_document(front: values.AgreedFront) -> Any:
    """Return a copy of the schema as JSON."""
    return copied(front.documents.root_home.document.contents)


class _Variant:
    """What an engine is told of one place's near misses. It refers to no engine, as one refers to it."""

    def __init__(self, front: values.AgreedFront, graph: Mapping[int, list[int]], position: int, keyword: str) -> None:
        self._front, self._position, self._keyword = front, position, keyword
        self._apart = (
            max(graph, default=FALSE) + 1
        )  # offset from a node of the schema to that of the schema without the keyword
        self._root = 2 * self._apart  # the node of all near misses
        above: dict[int, list[int]] = {}
        for node, children in graph.items():
            for child in children:
                above.setdefault(child, []).append(node)
        position_of = front.lowering.position_of
        #: Nodes from which the place can be reached: the others are the same with and without its keyword.
        self._changed: set[int] = set()
        todo = [node for node in graph if position_of(node) == position]
        while todo:
            node = todo.pop()
            if node not in self._changed:
                self._changed.add(node)
                todo += above.get(node, ())

    def engine(self) -> Engine:
        """Return an engine of them."""
        options = EngineOptions(0, 1, 0, self._front.options.limits.numbers)
        return Engine(self._lower, self._fail, self._root, options)

    def _lower(self, nodes: list[int]) -> list[Record]:
        return [self._record(node) for node in nodes]

    def _record(self, node: int) -> Record:
        lowering = self._front.lowering
        if node == self._root:
            return [(int(Op.REF), self._without(lowering.root)), (int(Op.NOT), lowering.root)]
        if node < self._apart:
            return self._front.lower([node])[0]
        node -= self._apart
        if lowering.position_of(node) == self._position:
            draft = self._front.documents.root_home.dialect.name
            record = [values.agreed(entry, draft) for entry in lowering.lower_without(node, self._keyword)]
        else:
            record = self._front.lower([node])[0]
        return [_with_nodes(entry, self._without) for entry in record]

    def _without(self, node: int) -> int:
        return node + self._apart if node in self._changed else node

    def _fail(self, limit: str, node: int, detail: str, op: int) -> SchemaError:
        return self._front.fail(limit, node % self._apart, detail, op)


_INDIRECT = frozenset({Op.ANY, Op.ONE, Op.NOT, Op.IF, Op.CONTAINS, Op.NAMES})  #: Their subschemas make no findings.
_LISTED = frozenset({Op.ALL, Op.ANY, Op.ONE})
_PAIRED = frozenset({Op.PROPERTIES, Op.PATTERNS, Op.DEPENDENT_SCHEMAS})
#: The position of an entry's one node.
_AT = {
    **dict.fromkeys((Op.REF, Op.NOT, Op.NAMES, Op.ADDITIONAL, Op.CONTAINS), 1),
    **dict.fromkeys((Op.UNEVALUATED_PROPERTIES, Op.UNEVALUATED_ITEMS), 1),
    Op.ITEMS: 3,
}


def _nodes(entry: tuple[Any, ...]) -> list[int]:
    """Return the nodes that an entry of a record names."""
    op = entry[0]
    if op in _LISTED:
        return list(entry[1])
    if op in _PAIRED:
        return [node for _, node in entry[1]]
    if op == Op.IF:
        return list(entry[1:])
    return [entry[_AT[op]]] if op in _AT else []


def _with_nodes(entry: tuple[Any, ...], new: Any) -> tuple[Any, ...]:
    """Return an entry with each node replaced by `new` of it."""
    op = entry[0]
    if op in _LISTED:
        return op, [new(node) for node in entry[1]]
    if op in _PAIRED:
        return op, [(what, new(node)) for what, node in entry[1]]
    if op == Op.IF:
        return op, *(new(node) for node in entry[1:])
    if op in _AT:
        at = _AT[op]
        return *entry[:at], new(entry[at]), *entry[at + 1 :]
    return entry


def _holds_schemas(keyword: str, value: Any) -> bool:
    """Whether a keyword's condition is in its subschemas, which findings name instead."""
    if keyword in ("additionalProperties", "additionalItems", "items", "unevaluatedProperties", "unevaluatedItems"):
        return value is not False
    return keyword == "dependencies" and not any(isinstance(what, list) for what in value.values())


def _step(schema: Any, step: str) -> Any:
    return schema[int(step)] if isinstance(schema, list) else schema[step]
