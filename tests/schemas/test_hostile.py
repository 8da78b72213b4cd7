"""Hostile schemas end in an answer or a SchemaError that names the trouble, soon, without recursion, and offline."""

from __future__ import annotations

import json
import socket
from decimal import Decimal
from typing import Any

import clock
import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard.kernels.errors import SchemaError
from guard.schemas import keywords
from guard.schemas.compiled import FrontEnd, Options
from guard.schemas.limits import Limits
from guard.schemas.scan import report

#: Seconds of processor time that the slowest of these may take.
SOON = 3.0


def read(schema: Any, documents: dict[str, Any] | None = None, **options: Any) -> FrontEnd:
    """The front end of a schema, with every node lowered and the report made."""
    front = FrontEnd(schema, Options(**options), documents or {})
    front.lower([front.lowering.root, *range(len(front.documents.schemas))])
    report(front.documents, front.scan, assert_formats=front.options.formats)
    return front


def refusal(schema: Any, documents: dict[str, Any] | None = None, **options: Any) -> SchemaError:
    """The error of a schema that must be refused soon."""
    with clock.working() as work, pytest.raises(SchemaError) as error:
        read(schema, documents, **options)
    assert work.seconds < SOON
    assert str(error.value)
    return error.value


def nested(depth: int, keyword: str = "items") -> dict[str, Any]:
    """A schema inside a schema, and so on."""
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {keyword: schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "limit"),
    [
        (nested(100_000), "depth"),
        (nested(100_000, "not"), "depth"),
        ({"const": nested(100_000)}, "depth"),
        ({"default": nested(100_000)}, "depth"),
        ("[" * 100_000, "depth"),
        ('{"items":' * 100_000 + "true" + "}" * 100_000, "depth"),
        ('{"a":' * 500 + "1" + "}" * 500, "depth"),
        (hostile.cyclic(), "depth"),
        (hostile.doubled(60), "bytes"),
        (" " * 17_000_000 + "{}", "bytes"),
        (b'{"const":"' + b"x" * 100_000_000 + b'"}', "bytes"),
        ({"const": "x" * 100_000_000}, "bytes"),
        ({"maximum": 10**1001}, "digits"),
        ({"maximum": -(10**100_000)}, "digits"),
        ('{"maximum": 1e999999999}', "digits"),
        ('{"minimum": -1e-999999999}', "digits"),
        ('{"multipleOf": 1e-5000}', "digits"),
        ('{"maximum": ' + "9" * 100_000 + "}", "digits"),
        ({"enum": [{"a": [Decimal("1e5000")]}]}, "digits"),
        ({"pattern": "(" * 100_000}, "depth"),
        ({"pattern": "(?:" * 5000 + "a" + ")*" * 5000}, "depth"),
    ],
    ids=lambda v: str(v)[:30] if isinstance(v, (str, bytes)) and len(v) < 50 else type(v).__name__,
)
def test_a_schema_beyond_a_limit_is_refused_by_its_name(schema: Any, limit: str) -> None:
    """The error carries the limit, and words how to raise it where raising it helps."""
    error = refusal(schema)
    assert error.limit == limit
    if "pattern" not in str(error):
        assert f"limits=guard.Limits({limit}=...)" in str(error)


@pytest.mark.parametrize(
    ("schema", "pointer", "keyword"),
    [
        (
            {
                "type": "object",
                "patternProperties": {f"a.*{n}": {"minLength": n} for n in range(600)},
                "minProperties": 1,
            },
            "/patternProperties",
            "patternProperties",
        ),
        (
            {"type": "array", "unevaluatedItems": False, "anyOf": [{"contains": {"const": n}} for n in range(12)]},
            "",
            None,
        ),
        (
            {"type": "array", "uniqueItems": True, "contains": {"enum": [1, 2]}, "minContains": 3, "minItems": 3_000},
            "/uniqueItems",
            "uniqueItems",
        ),
    ],
)
def test_what_no_limit_bounds_is_not_said_to_be_raised(
    schema: dict[str, Any], pointer: str, keyword: str | None
) -> None:
    for limits in (Limits(), Limits(alternatives=2_000_000)):
        with pytest.raises(SchemaError) as error:
            guard.compile(
                {"properties": {"x": schema}, "required": ["x"], "type": "object"}, limits=limits
            ).check_satisfiable()
        assert (error.value.pointer, error.value.keyword) == ("/properties/x" + pointer, keyword)
        assert "no limit can be raised" in str(error.value)


def test_a_deep_schema_inside_the_limit_is_read_and_a_wrong_one_refused() -> None:
    """At the largest depth that can be asked for, too, where libraries that recurse in Python give up."""
    for depth, limits in ((390, Limits()), (800, Limits(depth=900))):
        assert read(nested(depth), limits=limits)
        schema = json.loads(json.dumps(nested(300)).replace("{}", '{"type": "nonsense"}'))
        for _ in range(depth - 310):
            schema = {"items": schema}
        assert "not a valid schema" in str(refusal(schema, limits=limits))


def test_schemas_beyond_the_number_of_nodes_are_refused() -> None:
    """The limit counts schemas that the root reaches, not those that nothing refers to."""
    many = {f"k{n}": {"type": "string"} for n in range(1000)}
    assert refusal({"properties": many}, limits=Limits(nodes=500)).limit == "nodes"
    assert read({"$defs": many}, limits=Limits(nodes=500))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("", "not JSON: Expecting value at line 1, column 1"),
        ("{", "not JSON: Expecting property name"),
        ("{} {}", "not JSON: Extra data"),
        ("\ufeff{}", "not JSON: Unexpected UTF-8 BOM"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"type": "string", "type": "number"}', 'an object has the key "type" twice'),
        ('{"properties": {"a": {}, "\\u0061": {}}}', 'an object has the key "a" twice'),
        (b'{"const": "\xff"}', "not UTF-8: byte 11 is wrong"),
        (b'{"const": "\xed\xa0\x80"}', "not UTF-8: byte 11 is wrong"),
        ({"maximum": float("nan")}, "nan is no JSON number"),
        ({"const": float("inf")}, "inf is no JSON number"),
        ({1: 2}, "the key 1 is no string"),
        ({"properties": {None: {}}}, "is no string"),
        pytest.param({"const": object()}, "a object is no JSON value", id="an object of Python's"),
        ({"const": {1, 2}}, "a set is no JSON value"),
        ({"const": {"a": [{2: 1}]}}, "the key 2 is no string"),
        ({"const": b"bytes"}, "a bytes is no JSON value"),
        ("[]", "expected a schema, got []"),
        ("null", "expected a schema, got null"),
        ({"$ref": "http://example.com/a.json"}, "'http://example.com/a.json' is not among the documents"),
        ({"$ref": "file:///etc/passwd"}, "'file:///etc/passwd' is not among the documents"),
        ({"$id": "http://a/", "$ref": "//[/"}, "is no URI reference"),
        ({"$ref": "#/$defs/nothing"}, "leads to nothing: there is no '$defs'"),
        ({"$ref": "#nowhere"}, "no anchor is named 'nowhere'"),
        ({"$ref": "#/minLength", "minLength": 3}, "expected a schema, an object or a boolean, got 3"),
        ({"$ref": "#/x", "x": {"type": "nonsense"}}, "not a valid schema"),
        ({"$schema": "http://example.com/mine"}, "is no metaschema known here"),
        ({"$schema": "file:///dev/zero"}, "is no metaschema known here"),
        ({"$schema": 5}, "5 is no metaschema known here"),
        ({"oneOf": [{"$ref": "#"}]}, "/oneOf/0/$ref: it leads back to itself before anything of the value is read"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}, "/$defs/a/not/$ref: it leads back"),
        ({"items": {"$id": "urn:a", "anyOf": [{"$ref": "urn:a"}, True]}}, "/items/anyOf/0/$ref: it leads back"),
        ({"type": "strin"}, "/type: not a valid schema (draft2020-12)"),
        ({"properties": []}, "/properties: not a valid schema"),
        ({"pattern": "a**"}, "/pattern: "),
        ({"patternProperties": {"[": True}}, "/patternProperties"),
    ],
    ids=lambda v: str(v)[:40].encode("unicode_escape").decode(),
)
def test_a_wrong_schema_is_refused_in_words(schema: Any, message: str) -> None:
    """The message says what is wrong and where."""
    assert message in str(refusal(schema))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/0", "$defs": {str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(20_000)} | {"20000": True}},
        {"minimum": 10**400, "maximum": 10**400 + 1},
        '{"minimum": 1e400, "maximum": 1.5e400}',
        {"default": Decimal("1e999999999")},
        {"enum": [str(n) for n in range(100_000)]},
        {"enum": [{"a": n} for n in range(20_000)]},
        {"required": [str(n) for n in range(50_000)]},
        {"properties": {"x" * 1_000_000: True}},
        {"const": "\ud800"},
        {"enum": ["\ud800", {"\udfff": 1}]},
        {"properties": {"\ud800": {"type": "string"}}, "required": ["\ud800"]},
        '{"const": "\\ud800", "required": ["\\ud800"]}',
        {"minLength": 10**30, "maxItems": 10**30},
        {"minLength": 5.0, "maxLength": 1e300},
        {"description": 'many "$id" and "$anchor" words' * 10_000},
        {"$id": "urn:example:a", "items": {"$ref": "urn:example:a"}},
        {"$id": "#", "$defs": {"$id": {}, "$anchor": {"$anchor": "anchor"}}},
        {"pattern": "a{1,100000}"},
        {"pattern": "a{99999999999999999999}"},
        {"__proto__": {}, "constructor": {}, "properties": {"__class__": True}},
        {"format": "no such format"},
        {"allOf": [{"type": "string"}] * 50_000},
        True,
        False,
        {},
        "true",
        b" {} ",
    ],
    ids=lambda v: str(v)[:40].encode("unicode_escape").decode(),
)
def test_a_strange_schema_that_is_right_is_read_soon(schema: Any) -> None:
    """Whatever it costs is linear."""
    with clock.working() as work:
        read(schema)
    assert work.seconds < SOON


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No reference and no metaschema opens a socket."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for uri in ("http://json-schema.org/nothing", "https://example.com/a#b", "file:///tmp/x.json", "ftp://x/y"):
        refusal({"$ref": uri})
        refusal({"$schema": uri})
    assert read({"$ref": "https://json-schema.org/draft/2020-12/schema"}, inexact="residual")


def test_a_document_of_the_caller_is_held_to_the_same_rules() -> None:
    """Its errors carry its URI."""
    uri = "https://example.com/b"
    assert refusal({"$ref": uri}, {uri: nested(10_000)}).limit == "depth"
    assert str(refusal({"$ref": uri}, {uri: {"type": 5}})).startswith(f"{uri}#/type: not a valid schema")
    assert "twice" in str(refusal({"$ref": uri}, {uri: '{"a":1,"a":1}'}))
    assert read({"$ref": uri + "#/$defs/x"}, {uri: b'{"$defs":{"x":{"type":"string"}}}'})


def test_a_schema_is_neither_kept_nor_changed() -> None:
    """What the caller does to a schema after compiling it changes nothing, and compiling it leaves it as it was."""
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"type": "string"}}}
    before = json.dumps(schema)
    front = FrontEnd(schema, Options(), {})
    assert json.dumps(schema) == before
    schema["properties"] = {"a": {"type": "number"}}
    assert front.lower([front.lowering.root + 1]) == [[(2, 8)]]


@pytest.mark.parametrize("name", hostile.CASES)
def test_a_hostile_schema_ends_as_it_must_within_time_and_memory(name: str) -> None:
    """Compiled and walked in a process of its own: a value or a SchemaError, never a crash, a hang or a socket."""
    found = hostile.outcome(name)
    assert (found.stage, found.limit) == hostile.EXPECTED[name], found
    assert found.megabytes < 500
    assert found.unwatched < 1.0  # a tenth of limits.seconds


WORDS = st.sampled_from(sorted(set().union(*(d.keywords for d in keywords.DIALECTS.values()))))
VALUES = st.recursive(
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            1,
            -1,
            2.5,
            1e300,
            10**30,
            "",
            "a",
            "#",
            "#/a",
            "#/$defs/a",
            "string",
            "object",
            "(",
            "^a$",
            "date",
            "\ud800",
            "http://x/",
            "https://json-schema.org/draft/2020-12/schema",
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.sampled_from(["a", "b"]), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([None, *keywords.DIALECTS]), st.sampled_from(["refuse", "residual"]), st.booleans())
def test_any_json_is_compiled_or_refused(value: Any, draft: str | None, inexact: Any, formats: bool) -> None:
    """Nothing but SchemaError comes out of the front end, whatever the JSON, the draft and the options."""
    if isinstance(value, (dict, bool)):
        try:
            read(value, {"http://x/": value}, draft=draft, inexact=inexact, formats=formats)
        except SchemaError as error:
            assert error.findings  # noqa: PT017 - a refusal is as good as a success
