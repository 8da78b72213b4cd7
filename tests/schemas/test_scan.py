"""The scan alone decides, and says where, what and how to go on."""

from __future__ import annotations

import pickle
from random import Random
from typing import Any

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from guard.kernels import json_pointer
from guard.kernels._native import KeywordTable
from guard.kernels.errors import Finding, SchemaError
from guard.schemas import keywords, scan
from guard.schemas.compiled import FrontEnd, Options


def report(schema: Any, **options: Any) -> list[tuple[str, str, str]]:
    """(pointer, status, note) of each line of a report."""
    front = FrontEnd(schema, Options(**options), {})
    lines = scan.report(front.documents, front.scan, assert_formats=front.options.formats)
    return [(line.pointer, line.status, line.note) for line in lines]


def test_every_keyword_has_its_line() -> None:
    """Enforced, or an annotation with the reason."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "t",
        "properties": {"a": {"$ref": "#/definitions/d", "type": "null"}, "b": {"format": "colour", "then": {}}},
        "definitions": {"d": {"type": "string", "format": "date", "x-order": 1}, "unused": {"minimum": 1}},
    }
    assert report(schema) == [
        ("/$schema", "annotation", ""),
        ("/title", "annotation", ""),
        ("/properties", "enforced", ""),
        ("/definitions", "annotation", ""),
        ("/properties/a/$ref", "enforced", ""),
        ("/properties/a/type", "annotation", "$ref hides its siblings in draft7"),
        ("/properties/b/format", "annotation", 'the format "colour" is not known'),
        ("/properties/b/then", "annotation", "then means nothing without if"),
        ("/definitions/d/type", "enforced", ""),
        ("/definitions/d/format", "enforced", ""),
        ("/definitions/d/x-order", "annotation", "x-order is no keyword of draft7"),
    ]


def test_formats_off_makes_every_format_an_annotation() -> None:
    """Known ones too."""
    assert report({"format": "date"}, formats=False) == [("/format", "annotation", "formats=False")]


DRAFT_7 = "http://json-schema.org/draft-07/schema#"
BACK = {"pattern": r"(a)\1"}
REFUSED = 'the back-reference at character 3 of "(a)\\\\1" is beyond any regular language'


def test_all_refusals_are_in_one_error_with_pointers() -> None:
    """A person mends them in one go."""
    with pytest.raises(SchemaError) as error:
        FrontEnd({"properties": {"a": BACK}, "items": {"patternProperties": {r"(b)\1": True}}}, Options(), {})
    fix = (
        'write the pattern without it, leave it out, or compile with inexact="residual" and validate the finished value'
    )
    assert error.value.findings == (
        Finding("/properties/a/pattern", "pattern", REFUSED, fix),
        Finding("/items/patternProperties", "patternProperties", REFUSED.replace("(a)", "(b)"), fix),
    )
    assert (error.value.pointer, error.value.keyword, error.value.limit) == ("/properties/a/pattern", "pattern", None)
    assert str(error.value).splitlines()[0] == f"/properties/a/pattern: {REFUSED}; {fix}"
    assert pickle.loads(pickle.dumps(error.value)).findings == error.value.findings


def test_residual_keywords_are_marked_and_what_stands_above_them_is_widened() -> None:
    """`not` of something that is only half enforced is not enforced at all."""
    schema = {"not": BACK, "anyOf": [BACK, {"type": "null"}], "oneOf": [BACK, {"type": "string"}]}
    assert report(schema, inexact="residual") == [
        ("/not", "residual", "only in part: something that it depends on is left to validation"),
        ("/anyOf", "enforced", ""),
        ("/oneOf", "residual", "only in part: something that it depends on is left to validation"),
        ("/not/pattern", "residual", REFUSED),
        ("/anyOf/0/pattern", "residual", REFUSED),
        ("/anyOf/1/type", "enforced", ""),
        ("/oneOf/0/pattern", "residual", REFUSED),
        ("/oneOf/1/type", "enforced", ""),
    ]


def test_a_keyword_that_is_not_supported_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it says nothing: what can't be enforced is refused, never ignored."""
    missing = {"uniqueItems", "if", "minProperties", "unevaluatedItems", "unevaluatedProperties"}
    for module in (keywords, scan):
        monkeypatch.setattr(module, "SUPPORTED", keywords.SUPPORTED - missing)
    monkeypatch.setattr(scan, "_PLAIN", KeywordTable(dict.fromkeys(keywords.SUPPORTED - missing, 0)))
    for name in ("looked_into", "tables"):  # anew
        made = getattr(type(keywords.DEFAULT_DIALECT), name).func(keywords.DEFAULT_DIALECT)
        monkeypatch.setitem(vars(keywords.DEFAULT_DIALECT), name, made)
    with pytest.raises(SchemaError, match=r"^/uniqueItems: uniqueItems is not supported yet; leave it out, or compile"):
        FrontEnd({"uniqueItems": True}, Options(), {})
    for harmless in ({"uniqueItems": False}, {"if": {"type": "null"}}, {"minProperties": 0}):
        assert FrontEnd(harmless, Options(), {})
    for harmless in ({"unevaluatedItems": True}, {"unevaluatedProperties": {}}):
        front = FrontEnd(harmless, Options(), {})
        assert front.lower([front.lowering.root]) == [[]]


def scanned(schema: Any, draft: str | None) -> tuple[Any, ...]:
    """All that a scan leaves behind, or the error that it ends in."""
    try:
        front = FrontEnd(schema, Options(draft=draft, inexact="residual"), {})
    except SchemaError as error:
        return (str(error),)
    documents = front.documents
    homes = [home.uri for home in documents.homes]
    schemas = [(schema, documents.schemas.trail(at)) for at, schema in enumerate(documents.schemas)]
    return schemas, homes, documents.targets, documents.dynamic, front.scan


@given(seed=st.integers(0, 2**32), draft=st.sampled_from([None, *keywords.DIALECTS]))
def test_the_fast_scan_leaves_behind_what_python_does(seed: int, draft: str | None) -> None:
    """Where nothing is plain to it, Python looks at every keyword."""
    schema = strategies.case(Random(seed)).schema
    fast = scanned(schema, draft)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_PLAIN", KeywordTable({}))
        assert scanned(schema, draft) == fast


@pytest.mark.parametrize(
    "schema",
    [
        {"$id": "https://a.b/c", "properties": {"a": {"$id": "d", "items": {"$ref": "#"}}}, "$dynamicRef": "#x"},
        {"$dynamicAnchor": "x", "anyOf": [{"items": {"$dynamicRef": "#x"}}, {"$anchor": "y", "not": {"type": "null"}}]},
        {"enum": [[1e300, "a"], {"b": [10**20]}, 10**15, 0.1], "const": 10**15 - 1, "minimum": 10**15, "maximum": 0.5},
        {"unevaluatedItems": {"type": "null"}, "pattern": "^a", "patternProperties": {"(b)": {"type": "null"}}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a", "definitions": {"a": BACK}},
        {"items": [{"type": "null"}, True], "dependencies": {"a": ["b"], "c": {"type": "null"}}, "$schema": DRAFT_7},
        {
            "properties": {name: {"type": "null"} for name in "abc"},
            "additionalProperties": {},
            "prefixItems": [{}, False],
        },
    ],
)
def test_the_fast_scan_leaves_the_rare_to_python(schema: Any) -> None:
    """Resources, anchors, long numbers, patterns, lists of names."""
    fast = scanned(schema, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_PLAIN", KeywordTable({}))
        assert scanned(schema, None) == fast


@given(seed=st.integers(0, 2**32))
def test_the_pointer_of_a_position_leads_to_its_schema(seed: int) -> None:
    """Of members, of items, and of what a reference led to first."""
    schema = strategies.case(Random(seed)).schema
    try:
        documents = FrontEnd(schema, Options(inexact="residual"), {}).documents
    except SchemaError:
        return
    for position in range(2, len(documents.schemas)):
        part = documents.root_home.document.contents
        for step in json_pointer.steps(documents.pointer(position)):
            part = part[int(step)] if isinstance(part, list) else part[step]
        assert part is documents.schemas[position]


def test_what_nothing_refers_to_is_not_judged() -> None:
    """A definition that is never used needs no support."""
    assert FrontEnd({"$defs": {"a": BACK}}, Options(), {})
    with pytest.raises(SchemaError, match=r"/\$defs/a/pattern"):
        FrontEnd({"$defs": {"a": BACK}, "$ref": "#/$defs/a"}, Options(), {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("key_order", "sorted"), ("whitespace", ""), ("spelling", None), ("inexact", "ignore"), ("draft", "draft3")],
)
def test_an_option_that_is_not_one_is_a_value_error(name: str, value: Any) -> None:
    """It shows the argument and what there is."""
    with pytest.raises(ValueError, match=f"^{name}={value!r} must be one of "):
        Options(**{name: value})


@pytest.mark.parametrize("source", [r"^\pL$", r"^\p{InGreek}$", r"^\p{IsBasicLatin}+$", r"[\PL]", r"^\p{L}\p{Nope}$"])
def test_a_property_that_is_none_is_told(source: str) -> None:
    """ECMA-262 reads it as a letter where the flag `u` is not given, and so do the masks: few mean that."""
    first = {r"^\pL$": r"\p", r"[\PL]": r"\P", r"^\p{L}\p{Nope}$": r"\p{Nope}"}.get(source, source.strip("^$+"))
    note = (
        f"{first} names no property of Unicode: it is read as the letter; "
        r"write \p{L} or \p{Script=Greek} where a property is meant"
    )
    for schema in ({"pattern": source}, {"patternProperties": {"a": True, source: True}}):
        (line,) = FrontEnd(schema, Options(), {}).report()
        assert (line.status, line.note) == ("enforced", note)


@pytest.mark.parametrize("source", [r"\p{L}", r"\p{IsGreek}", r"\\p", "p{L}", r"\p{Script=Greek}\-"])
def test_a_property_that_is_one_is_not_told(source: str) -> None:
    assert [line.note for line in FrontEnd({"pattern": source}, Options(), {}).report()] == [""]
