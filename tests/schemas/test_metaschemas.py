"""A schema that is plainly valid by the rules is valid, whatever its draft; jsonschema-rs is the judge."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema_specifications import REGISTRY

import guard
from guard.kernels._native import JsonTree
from guard.schemas import metaschemas, regex
from guard.schemas.keywords import DIALECTS
from guard.schemas.metaschemas import RULES, Rule

DRAFTS = {name: dialect for name, dialect in DIALECTS.items() if name.startswith("draft")}
KEYWORDS = sorted({keyword for rules in RULES.values() for keyword in rules} | {"unknown", "$defs", "nullable"})
TEXTS = st.sampled_from(
    [
        *("", "a", "string", "null", "^a-b_C$", "^", "(", "a(", "é", "a b", "%", "?", "..", "/"),
        *("#", "#/a", "#/$defs/a", "a#b", "a#b#c", "x/y.json", "//a", "a:b", "1:"),
        *("http://a.b/c#", "http://a.b/c#d", "https://", "http:///", "http://-", "HTTP://a"),
    ]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.sampled_from([2**64, -(2**64), 0.0, 1.0, -0.5, 1e300]), TEXTS
)
VALUES = st.recursive(
    SCALARS | st.lists(TEXTS, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS, inner, max_size=2)
        | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=3)
    ),
    max_leaves=8,
)
SCHEMAS = st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=4)


def is_plain(schema: Any, name: str) -> bool:
    """Say whether the rules take a schema."""
    tree = JsonTree.of(schema, 90, 100_000)
    return tree is not None and metaschemas.is_plain(tree, DRAFTS[name])


def is_valid(schema: Any, name: str) -> bool:
    """Ask the validator that decides where nothing is plain."""
    metaschema = DRAFTS[name].metaschema + ("#" if "draft-0" in DRAFTS[name].metaschema else "")
    if isinstance(schema, bool):
        return name != "draft4"
    return jsonschema_rs.meta.is_valid(schema | {"$schema": metaschema})


@settings(max_examples=1500)
@given(name=st.sampled_from(list(DRAFTS)), schema=SCHEMAS | st.booleans())
@example(name="draft7", schema={"items": {"$schema": "a"}})
@example(name="draft2019-09", schema={"items": {"$id": "a#b"}})
@example(name="draft7", schema={"items": {"$ref": "//a"}})
@example(name="draft6", schema={"required": ["a", "a"]})
@example(name="draft4", schema={"type": []})
@example(name="draft4", schema={"maxLength": True})
@example(name="draft4", schema={"items": [True]})
def test_what_is_plainly_valid_is_valid(name: str, schema: Any) -> None:
    """Of schemas of several keywords, and of each keyword below the root, where all are alike."""
    below = [] if isinstance(schema, bool) else [{"not": {keyword: value}} for keyword, value in schema.items()]
    for one in (schema, *below):
        if is_plain(one, name):
            assert is_valid(one, name)


PIECES = re.findall(
    r"\S+",
    "a Z 5 - _ . ^ $ | ( (?: (? (?= (?i) ) [ [^ ] * + ? {2} {2,} {1,3} {3,1} {,2} { } {999} {1000} , a-z 0-9 z-a"
    r" \d \w \S \. \- \/ \\ \] \[ \( \{ \1 \b \n \q \ && ~ -- : / é",
)
PATTERNS = st.lists(st.sampled_from([*PIECES, " "]), min_size=1, max_size=9).map("".join)


@settings(max_examples=3000)
@given(name=st.sampled_from(["draft4", "draft6", "draft7"]), pattern=PATTERNS)
@example(name="draft7", pattern="^[a-f0-9]{8}-[1-5][a-f0-9]{3}$")
@example(name="draft7", pattern="(a{1000}){1000}")
@example(name="draft7", pattern="[a&&b]")
@example(name="draft7", pattern="[^]")
@example(name="draft7", pattern="a**")
@example(name="draft7", pattern="()*")
@example(name="draft7", pattern=r"\w{50}")
@example(name="draft7", pattern=r"[\w.-]{40}")
def test_what_every_dialect_reads_alike_is_read_by_each(name: str, pattern: str) -> None:
    """By the validator that decides what is a `regex`, and by ours, which finds no back-reference."""
    if not is_plain({"pattern": pattern}, name):
        return
    assert is_valid({"pattern": pattern}, name)
    assert regex.parse(pattern).back_reference is None
    # The same text as a name of patternProperties, which draft 4's metaschema leaves alone.
    assert is_valid({"patternProperties": {pattern: {}}}, name)


@pytest.mark.parametrize(
    ("pattern", "usual"),
    [
        ("^[A-Za-z_][A-Za-z0-9_]*$", True),
        (r"^\d{4}-\d{2}-\d{2}$", True),
        (r"^(https?|ftp)://[^\s/$.?#].[^\s]*$", True),
        (r"^#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$", True),
        ("^(?:a|b)+$", True),
        (r"(a)\1", False),
        ("(?=a)b", False),
        ("(?i)a", False),
        ("a+?", False),
        ("é", False),
        ("a{2,1}", False),
        ("(" * 12 + "a" + ")" * 12, False),
    ],
)
def test_most_patterns_are_read_alike(pattern: str, usual: bool) -> None:
    """What real schemas write; not what dialects differ in."""
    assert is_plain({"pattern": pattern}, "draft7") == usual


@pytest.mark.parametrize("name", DRAFTS)
def test_every_keyword_that_a_metaschema_constrains_has_a_rule(name: str) -> None:
    """Whatever a metaschema says of a keyword; those it only names need none."""
    todo, constrained = [REGISTRY.resolver().lookup(DRAFTS[name].metaschema).contents], set[str]()
    while todo:
        meta = todo.pop()
        constrained |= {word for word, about in meta.get("properties", {}).items() if about not in (True, {})}
        constrained |= set(meta.get("dependencies", ()))
        todo += [REGISTRY.resolver(meta["$id"]).lookup(part["$ref"]).contents for part in meta.get("allOf", ())]
    assert constrained <= set(RULES[DRAFTS[name].metaschema])


@pytest.mark.parametrize("name", DRAFTS)
def test_most_of_what_schemas_say_is_plain(name: str) -> None:
    """The rules are of no use if they never hold."""
    item = {"type": ["string", "null"], "maxLength": 5, "description": "é", "enum": ["a", None]}
    schema = {
        "$schema": DRAFTS[name].metaschema,
        "type": "object",
        "properties": {"a": item, "b": {"$ref": "#/definitions/b"}},
        "required": ["a", "b"],
        "definitions": {"b": {"type": "array", "items": {"anyOf": [item, {"minimum": 0}]}}},
        "additionalProperties": False,
    }
    assert is_plain(schema, name)
    assert is_valid(schema, name)
    assert set(map(int, Rule)) == set(range(len(Rule)))


def test_a_lone_surrogate_is_no_more_than_text() -> None:
    """Where a text must be of a kind it is none; elsewhere the rules take what the validator takes."""
    with pytest.raises(guard.SchemaError, match="a lone surrogate"):
        guard.compile({"type": "\ud800"})
    assert guard.compile({"description": "\ud800", "\udfff": [], "properties": {"\udc00é": {}}})


def test_errors_are_told_in_the_order_of_the_schema() -> None:
    """jsonschema goes through a set of names, so that another process met them in another order."""
    wrong = {
        "é": {"minLength": -1},
        "c": {"oneOf": [{"$id": 5}]},
        "": {"not": 5},
        "a": {"items": []},
        "b": {"type": "x"},
    }
    with pytest.raises(guard.SchemaError) as error:
        guard.compile({"$defs": wrong, "properties": {f"p{number}": {"type": "y"} for number in range(40)}})
    told = [finding.pointer for finding in error.value.findings]
    assert told[:5] == ["/$defs/é/minLength", "/$defs/c/oneOf/0/$id", "/$defs//not", "/$defs/a/items", "/$defs/b/type"]
    assert told[5:] == [f"/properties/p{number}/type" for number in range(15)]
