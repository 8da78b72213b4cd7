"""Random schemas: records accept what the validator accepts, and with `inexact="residual"` at least that."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
import records
from hypothesis import assume, given
from hypothesis import strategies as st

from guard.kernels._native import Drafts, KeywordTable, read_records
from guard.kernels.errors import SchemaError
from guard.schemas import keywords, lowering, scan
from guard.schemas.compiled import FrontEnd, Options, single_bytes
from guard.schemas.ops import Op

EVERY = frozenset().union(*(dialect.keywords for dialect in keywords.DIALECTS.values()))
NAMES = st.sampled_from(["a", "b", "ab", "c"])
COUNTS = st.integers(0, 3)
SCALARS = st.sampled_from([None, True, False, 0, 1, 2, -1, 1.5, "", "a", "b", "ab"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
REFERENCES = st.sampled_from(["#", "#/$defs/x", "#/$defs/y"])
PATTERNS = st.sampled_from(["^a", "b$", "^[ab]*$", "", "(?!b)a"])


def complete(names: list[str]) -> list[str]:
    """The keywords with those that they mean nothing without."""
    more = {"if": ["then", "else"], "then": ["if"], "minContains": ["contains"], "maxContains": ["contains"]}
    return list(dict.fromkeys(n for name in names for n in (name, *more.get(name, []))))


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of one more level, over every keyword of 2020-12 that applies to small values."""
    some = st.lists(inner, min_size=1, max_size=2)
    by_name = st.dictionaries(NAMES, inner, max_size=2)
    parts: dict[str, st.SearchStrategy[Any]] = {
        "type": st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"]),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "minimum": st.sampled_from([0, 1, 1.5]),
        "exclusiveMaximum": st.sampled_from([1, 2]),
        "multipleOf": st.sampled_from([1, 0.5, 2]),
        "minLength": COUNTS,
        "maxLength": COUNTS,
        "pattern": PATTERNS,
        "properties": by_name,
        "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
        "additionalProperties": inner,
        "required": st.lists(NAMES, max_size=2, unique=True),
        "propertyNames": inner,
        "minProperties": COUNTS,
        "maxProperties": COUNTS,
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "dependentSchemas": by_name,
        "prefixItems": some,
        "items": inner,
        "contains": inner,
        "minContains": COUNTS,
        "maxContains": COUNTS,
        "minItems": COUNTS,
        "maxItems": COUNTS,
        "uniqueItems": st.booleans(),
        "allOf": some,
        "anyOf": some,
        "oneOf": some,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "unevaluatedProperties": inner,
        "unevaluatedItems": inner,
        "$ref": REFERENCES,
    }
    chosen = st.lists(st.sampled_from(sorted(parts)), min_size=1, max_size=4, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: parts[name] for name in complete(names)}))


SCHEMAS = st.recursive(st.booleans() | st.just({"type": "string"}) | st.just({"minimum": 1}), schemas, max_leaves=8)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A schema with two definitions for its references, none of which refers to itself in place."""
    root = draw(schemas(SCHEMAS))
    root["$defs"] = {"x": draw(SCHEMAS), "y": draw(SCHEMAS)}
    return root


def judged(schema: dict[str, Any], value: Any) -> bool:
    """The validator's verdict; schemas that refer to themselves in place are set aside."""
    try:
        return jsonschema_rs.Draft202012Validator(schema).is_valid(value)
    except (ValueError, RecursionError, jsonschema_rs.ReferencingError):
        assume(False)
        raise


def loops(front: FrontEnd) -> bool:
    """Whether some schema leads back to itself without consuming a value, on which validators differ."""
    edges: dict[int, set[int]] = {}
    for node in range(2, len(front.documents.schemas)):
        below = edges.setdefault(node, set())
        for op, *rest in front.lower([node])[0]:
            if op in (Op.REF, Op.NOT):
                below.add(rest[0])
            elif op in (Op.ALL, Op.ANY, Op.ONE):
                below.update(rest[0])
            elif op == Op.IF:
                below.update(rest)
            elif op == Op.DEPENDENT_SCHEMAS:
                below.update(child for _, child in rest[0])
    done: set[int] = set()

    def cyclic(node: int, above: frozenset[int]) -> bool:
        if node in above:
            return True
        if node in done:
            return False
        done.add(node)
        return any(cyclic(below, above | {node}) for below in edges.get(node, ()))

    return any(cyclic(node, frozenset()) for node in list(edges))


def unchecked(schema: dict[str, Any], supported: frozenset[str] = EVERY, **options: Any) -> FrontEnd:
    """A front end that takes these keywords for supported, and lets loops of references through."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "SUPPORTED", supported)
        patch.setattr(scan, "_PLAIN", KeywordTable(dict.fromkeys(supported - keywords.UNEVALUATED, 0)))
        patch.setattr(scan, "check_loops", lambda _: None)
        return FrontEnd(schema, Options(**options), {})


@given(schema=documents())
def test_loops_of_references_are_refused_and_nothing_else_is(schema: dict[str, Any]) -> None:
    """By the records, too, a schema leads back to itself without consuming a value."""
    front = unchecked(schema)
    looped = loops(front)
    try:
        scan.check_loops(front.documents)
        refused = False
    except SchemaError:
        refused = True
    assert looped or not (refused or front.documents.idle)
    if not refused and not front.scan.unevaluated:  # with annotations an `if` counts that decides nothing
        assert not loops(front)  # what is idle is left out


def test_a_reference_back_to_the_conjunction_that_it_is_a_part_of_asks_nothing_new() -> None:
    """Straight, and through allOf; not where something else refers to what lies between, or decides on it."""
    inner = {"allOf": [{"$ref": "#/$defs/x"}, {"minimum": 2}]}
    for schema in ({"$ref": "#", "minimum": 2}, {"$ref": "#/$defs/x", "$defs": {"x": inner}}):
        judge = records.Judge(FrontEnd(schema, Options(), {}))
        assert [value for value in (1, 2, 3, "a") if judge.accepts(value)] == [2, 3, "a"]
    between = {"properties": {"a": {"$ref": "#/$defs/x/allOf/0"}}}
    for schema in ({"$ref": "#/$defs/x", "$defs": {"x": inner}, **between}, {"anyOf": [{"$ref": "#"}]}):
        with pytest.raises(SchemaError, match="leads back to itself"):
            FrontEnd(schema, Options(), {})


@given(schema=documents(), values=st.lists(VALUES, min_size=1, max_size=8))
def test_records_accept_what_the_validator_accepts(schema: dict[str, Any], values: list[Any]) -> None:
    """Every keyword, any nesting, references and annotations."""
    front = unchecked(schema)
    assume(not loops(front))
    judge = records.Judge(front)
    for value in values:
        assert judge.accepts(exact(value)) == judged(schema, value), value


@given(
    schema=documents(),
    values=st.lists(VALUES, min_size=1, max_size=8),
    supported=st.sets(st.sampled_from(sorted(EVERY - {"$ref", "$dynamicRef", "$recursiveRef"}))),
)
def test_what_is_left_to_validation_only_widens(schema: dict[str, Any], values: list[Any], supported: set[str]) -> None:
    """Whatever set of keywords is beyond the engine: every valid value stays accepted, and the report says so."""
    front = unchecked(schema, frozenset(supported | {"$ref"}), inexact="residual")
    lines = scan.report(front.documents, front.scan, assert_formats=True)
    assume(not loops(front))
    judge = records.Judge(front)
    for value in values:
        if judged(schema, value):
            assert judge.accepts(exact(value)), value
        elif all(line.status != scan.RESIDUAL for line in lines):
            assert not judge.accepts(exact(value)), value


def exact(value: Any) -> Any:
    """A value as the judge of records takes it: with Decimals for floats."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    return value


def test_properties_that_a_reference_hides_ask_for_nothing_and_keep_their_order() -> None:
    """In draft 7: people write them to be read in order."""
    schema = {
        "$ref": "#/definitions/d",
        "properties": {"b": {"type": "null"}, "a": False},
        "definitions": {"d": {"type": "object", "properties": {"a": {"type": "integer"}, "c": True}}},
    }
    front = FrontEnd(schema, Options(draft="draft7"), {})
    (record,) = front.lower([front.lowering.root])
    assert [entry for entry in record if entry[0] == Op.PROPERTIES] == [(Op.PROPERTIES, [("b", 0), ("a", 0)])]
    judge = records.Judge(front)
    assert judge.accepts({"b": 1, "a": 2})
    assert not judge.accepts({"a": "x"})


@given(
    schema=documents(),
    texts=st.lists(st.text(max_size=3), max_size=3),
    draft=st.sampled_from(["draft6", "draft7", "draft2019-09", "draft2020-12", "openapi3.1"]),
    formats=st.booleans(),
)
def test_records_are_those_of_the_twin_in_python(
    schema: dict[str, Any], texts: list[str], draft: str, formats: bool
) -> None:
    """Keyword by keyword: twins, references, names and values that no JSON can write, nodes asked for again."""
    odd = {
        "\ud800": {"additionalProperties": {"type": "null"}, "properties": {"\ud800": True, "a": False}},
        "z": {"$id": "a", "enum": ["a", *texts], "properties": {}},
        "y": {"type": ["null", "integer"], "enum": ["\ud800", 1.5], "required": ["\ud800"]},
        "x": {"const": "\ud800", "required": list(dict.fromkeys(texts))},
        "w": {"type": "string", "format": "date", "const": 1, "required": []},
    }
    more = {**{key: {"type": "string"} for key in texts}, **odd, **OLD["properties"]}
    schema = schema | {"properties": schema.get("properties", {}) | more}
    check_twin(schema, draft, formats)


#: What old drafts read in ways of their own.
OLD: dict[str, Any] = {
    "properties": {
        "a": {"type": "integer", "nullable": True, "minimum": 1, "maximum": 2},
        "b": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "c": {"$ref": "#/properties/a", "properties": {"a": {"type": "number"}}, "additionalProperties": False},
        "d": {"type": ["string", "number"], "additionalProperties": {}, "enum": ["a", "b"]},
        "e": {"nullable": True, "title": "e", "type": "object", "required": ["e"]},
    }
}


@pytest.mark.parametrize("draft", ["draft4", "openapi3.0"])
def test_records_of_old_drafts_are_those_of_the_twin_in_python(draft: str) -> None:
    """Without boolean schemas; references hide what is beside them, and `nullable` is a keyword of one."""
    check_twin(OLD, draft, True)


class SlowTwins:
    """Which schemas say the same, by their words: a lone reference is its target, a plain scalar the first like it."""

    def __init__(self, front: FrontEnd) -> None:
        self._documents = front.documents
        self._firsts: dict[Any, int] = {}
        self._alike: dict[int, dict[int, None]] = {}

    def first(self, _tables: Any, position: int, around: Any) -> int:
        """Return the first position that says the same, or the schema's own."""
        schema = self._documents.schemas[position]
        if any(word[:1] == "$" and word != "$ref" for word in schema):
            return position
        if schema.keys() & (keywords.SUPPORTED | {"id"}) - lowering._PLAIN - {"$ref"}:
            return position
        words = [(word, value) for word, value in schema.items() if word in lowering._PLAIN]
        if "$ref" in schema:
            led = (position, "$ref") not in self._documents.idle and not words
            return self._documents.targets[position, "$ref"].position if led else position
        if any(isinstance(value, list | dict) for _, value in words):
            return position
        key = id(around), tuple((word, type(value), repr(value)) for word, value in words)
        first = self._firsts.setdefault(key, position)
        if first != position:
            self._alike.setdefault(first, {})[position] = None
        return first

    def alike(self, position: int) -> list[int]:
        """Return the others that say the same as a first, in order."""
        return sorted(self._alike.get(position, ()))


def check_twin(schema: dict[str, Any], draft: str, formats: bool) -> None:
    """All nodes, each asked for twice: the drafts are those of the records, and as much is remembered."""
    front, twin = (unchecked(schema, draft=draft, formats=formats) for _ in range(2))
    slow = SlowTwins(twin)
    vars(twin.lowering)["_twins"] = slow
    more: list[int] = []
    for node in (front.lowering.root, *(*range(len(front.documents.schemas)),) * 2):
        found = front.drafts([node])
        assert isinstance(found, Drafts)
        nodes = found.nodes
        assert nodes[0] == node
        more += nodes[1:]
        assert found == read_records(nodes, twin.lower(nodes))
    for position in range(len(front.documents.schemas)):
        assert front._twins.alike(position) == slow.alike(position)
    assert len(set(more)) == len(more)  # what was not asked for comes once
    if more:
        assert front.drafts(more) != read_records(more[1:], twin.lower(more[1:]))


def test_drafts_bring_what_is_asked_for_next() -> None:
    """Members, items, what applies in place and required members inside: one call where there were three."""
    long = {"enum": [str(i) for i in range(1100)]}
    schema = {
        "properties": {
            "a": {"allOf": [{"$ref": "#/$defs/d"}]},
            "b": {"items": {"properties": {"c": {"enum": ["c"]}, "e": {"maxLength": 3, "pattern": "x"}}}},
        },
        "$defs": {"d": {"properties": {"x": {"type": "null"}, "y": long}, "required": ["x"]}},
    }
    front = FrontEnd(schema, Options(), {})
    asked: list[list[int]] = []

    def told(nodes: list[int]) -> Any:
        asked.append(nodes)
        return front.drafts(nodes)

    engine = front.engine(told)
    engine.start()
    assert asked == [[front.lowering.root]]
    matcher = engine.matcher(single_bytes().native)
    for byte in b'{"a": {"x": ':
        assert matcher.accept(byte)
    (optional,) = [at for at, one in enumerate(front.documents.schemas) if at > 1 and one == long]
    assert asked[1:] == [[optional]]  # once the object is there in which it may be


def test_the_first_call_lowers_below_what_is_asked_for() -> None:
    """The nearest first, up to 64 nodes, none twice, and no schema of more than 1,024 parts; later calls don't."""
    last = {"properties": {f"k{i}": {"maxLength": i} for i in range(100)}}
    chain: dict[str, Any] = {"items": {"items": last}, "enum": [[str(i) for i in range(200)]]}
    for _ in range(20):
        chain = {"properties": {"a": chain, "b": {"minLength": 2, "pattern": "x"}}}
    front = FrontEnd(chain, Options(), {})
    found = front.drafts([front.lowering.root])
    assert isinstance(found, Drafts)
    assert len(found.nodes) == len(set(found.nodes)) == 64
    schemas = front.documents.schemas
    properties = [at for at in found.nodes if "maxLength" in schemas[at]]
    assert [schemas[at]["maxLength"] for at in properties] == list(range(len(properties)))
    assert len(properties) == 64 - 1 - 20 - 1 - 2  # the root, the `a` of each, one `b` for all, and the items
    left = [at for at, one in enumerate(schemas) if at > 1 and "maxLength" in one and at not in found.nodes]
    assert front.drafts(left[:1]).nodes == left[:1]
