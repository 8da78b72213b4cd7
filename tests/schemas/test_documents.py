"""References lead where the `referencing` library says, and positions have the pointers that a person would write."""

from __future__ import annotations

from typing import Any

import pytest
import referencing
import suite
from jsonschema_specifications import REGISTRY
from referencing.jsonschema import DRAFT4, DRAFT6, DRAFT7, DRAFT201909, DRAFT202012

from guard.kernels.errors import SchemaError
from guard.schemas import documents
from guard.schemas.compiled import FrontEnd, Options
from guard.schemas.documents import Documents
from guard.schemas.keywords import DIALECTS
from guard.schemas.limits import Limits

SPECIFICATIONS = {
    "draft4": DRAFT4,
    "draft6": DRAFT6,
    "draft7": DRAFT7,
    "draft2019-09": DRAFT201909,
    "draft2020-12": DRAFT202012,
}
FILES = ("ref.json", "refRemote.json", "id.json", "anchor.json", "defs.json", "infinite-loop-detection.json")


def references(schema: Any, resolver: Any, specification: Any) -> list[tuple[Any, str]]:
    """Every `$ref` of a schema as `referencing` sees it: (its target's contents, the reference)."""
    found = []
    resource = specification.create_resource(schema)
    inner = resolver.in_subresource(resource)
    if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
        found.append((inner.lookup(schema["$ref"]).contents, schema["$ref"]))
    for sub in resource.subresources():
        found += references(sub.contents, inner, specification)
    return found


@pytest.mark.parametrize("draft", suite.DRAFTS)
def test_references_lead_where_the_referencing_library_says(draft: str) -> None:
    """Every reference that the root of a suite's schema reaches, compared by the contents of its target."""
    specification, compared = SPECIFICATIONS[draft], 0
    registry: referencing.Registry[Any] = referencing.Registry(
        retrieve=lambda uri: referencing.Resource.from_contents(documents[uri], default_specification=specification)
    )
    documents = suite.remotes(draft)
    for group in suite.groups(draft):
        if not group.name.startswith(tuple(f"{name.removesuffix('.json')}:" for name in FILES)):
            continue
        ours = Documents(group.schema, documents, DIALECTS[draft], Limits())
        front = FrontEnd(group.schema, Options(draft=draft, inexact="residual"), documents)
        assert front.documents.schemas[ours.root] == ours.schemas[ours.root]
        resource = specification.create_resource(group.schema)
        resolver = registry.with_resource("", resource).crawl().resolver()
        try:
            theirs = references(group.schema, resolver, specification)
        except referencing.exceptions.Unresolvable:
            continue  # it walks schemas that the root doesn't reach
        reached = [
            (front.documents.schemas[target.position], front.documents.schemas[position]["$ref"])
            for (position, keyword), target in front.documents.targets.items()
            if keyword == "$ref"
        ]
        for contents, reference in reached:
            same = [other for other, text in theirs if text == reference]
            if same:
                compared += 1
                assert any(
                    (contents if contents is not True else {}) in (other, {}) or contents == other for other in same
                )
    assert compared > 20


def test_pointers_are_those_of_the_document_however_a_place_was_reached() -> None:
    """A place that a reference reaches first has its own pointer, not the reference's."""
    schema = {
        "properties": {"a": {"$ref": "#/properties/b~1c/items"}, "b/c": {"items": {"type": "string"}}},
        "$ref": "http://x/d#/$defs/~0e",
    }
    front = FrontEnd(schema, Options(), {"http://x/d": {"$defs": {"~e": {"not": {"type": "null"}}}}})
    pointers = [front.documents.pointer(position) for position in range(2, len(front.documents.schemas))]
    assert sorted(pointers) == [
        "",
        "/properties/a",
        "/properties/b~1c",
        "/properties/b~1c/items",
        "http://x/d#/$defs/~0e",
        "http://x/d#/$defs/~0e/not",
    ]


@pytest.mark.parametrize(
    ("schema", "draft", "name"),
    [
        ({}, None, "draft2020-12"),
        ({}, "draft4", "draft4"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, None, "draft4"),
        ({"$schema": "https://json-schema.org/draft-07/schema"}, None, "draft7"),
        ({"$schema": "http://json-schema.org/draft-06/schema"}, "draft4", "draft6"),
        ({"$schema": "http://json-schema.org/schema#"}, None, "draft2020-12"),
        ({"$schema": "https://json-schema.org/draft/2019-09/schema#"}, None, "draft2019-09"),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema"}, "openapi3.1", "openapi3.1"),
        ({}, "openapi3.0", "openapi3.0"),
    ],
)
def test_the_dialect_is_that_of_schema_or_else_of_the_option(
    schema: dict[str, Any], draft: str | None, name: str
) -> None:
    """`draft=` is for documents that don't say."""
    assert FrontEnd(schema, Options(draft=draft), {}).documents.root_home.dialect.name == name


@pytest.mark.parametrize(
    ("schema", "draft", "record"),
    [
        ({"type": "string", "nullable": True}, "openapi3.0", [(2, 9)]),
        ({"type": "string", "nullable": True}, None, [(2, 8)]),
        ({"nullable": True}, "openapi3.0", []),
        ({"minimum": 1, "exclusiveMinimum": True}, "openapi3.0", [(11, "1", 0, True)]),
        ({"maximum": 1, "exclusiveMaximum": False}, "draft4", [(12, "1", 0, False)]),
        ({"minimum": 1, "exclusiveMinimum": 1.5}, "draft6", [(11, "1", 0, False), (11, "15", -1, True)]),
        ({"type": "integer"}, "draft4", [(2, 128)]),
        ({"type": ["integer", "number", "null"]}, "draft6", [(2, 5)]),
        ({"$ref": "#/definitions/a", "type": "null", "definitions": {"a": {}}}, "draft7", []),
        ({"$ref": "#/definitions/a", "type": "null", "definitions": {"a": {}}}, "draft2019-09", [(2, 1)]),
        ({"items": [{"type": "null"}], "additionalItems": False}, "draft7", [(25, 0, 1, 3), (25, 1, -1, 1)]),
        ({"prefixItems": [{"type": "null"}], "items": False}, None, [(25, 0, 1, 3), (25, 1, -1, 1)]),
        ({"dependencies": {"a": ["b"], "c": False}}, "draft7", [(23, [("a", ["b"])]), (24, [("c", 1)])]),
        ({"const": 1.50}, "draft4", []),
        ({"const": 1.50}, "draft6", [(3, ("d", "15", -1))]),
        ({"maxLength": 3, "minLength": 1}, None, [(14, 1, 3)]),
        ({"minLength": 3, "maxLength": 1}, None, [(2, 55)]),
        (
            {"required": ["a"], "type": "object", "properties": {"b": True}},
            None,
            [(17, [("b", 0)]), (20, ["a"]), (2, 32)],
        ),
    ],
)
def test_differences_between_drafts_are_gone_in_a_record(schema: Any, draft: str | None, record: Any) -> None:
    """Known records, whole and literal."""
    front = FrontEnd(schema, Options(draft=draft), {})
    assert front.lower([front.lowering.root]) == [record]


def test_a_dynamic_reference_is_a_plain_one_between_nodes() -> None:
    """The suite's tree: the strict tree's children are strict, wherever the loose tree recurs."""
    tree = {
        "$id": "http://x/tree",
        "$dynamicAnchor": "node",
        "properties": {"children": {"items": {"$dynamicRef": "#node"}}},
    }
    strict = {"$id": "http://x/strict", "$dynamicAnchor": "node", "$ref": "tree", "required": ["name"]}
    front = FrontEnd(strict, Options(), {"http://x/tree": tree})
    seen: dict[int, Any] = {}
    todo = [front.lowering.root]
    while todo:
        node = todo.pop()
        if node not in seen:
            seen[node] = front.lower([node])[0]
            todo += [e[1] for e in seen[node] if e[0] == 5] + [e[3] for e in seen[node] if e[0] == 25]
            todo += [child for e in seen[node] if e[0] == 17 for _, child in e[1]]
    back = [e[1] for record in seen.values() for e in record if e[0] == 5]
    assert front.lowering.root in back
    assert len(seen) == 4


def test_a_metaschema_of_the_caller_may_leave_vocabularies_out() -> None:
    """Without the validation vocabulary `type` says nothing; an unknown vocabulary that is required is refused."""
    core = "https://json-schema.org/draft/2020-12/vocab/core"
    mine: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$vocabulary": {core: True}}
    schema = {"$schema": "http://x/meta", "type": "string"}
    front = FrontEnd(schema, Options(), {"http://x/meta": mine})
    assert front.lower([front.lowering.root]) == [[]]
    mine["$vocabulary"]["http://x/vocabulary"] = True
    with pytest.raises(SchemaError, match="'http://x/vocabulary' that it requires is not known"):
        FrontEnd(schema, Options(), {"http://x/meta": mine})


def test_metaschemas_are_those_of_the_jsonschema_specifications_library() -> None:
    assert len(REGISTRY) == 20
    for uri in REGISTRY:
        assert documents._metaschema(uri) == REGISTRY[uri].contents, uri
    assert documents._metaschema("http://json-schema.org/draft-07/schema#") == REGISTRY.contents(
        "http://json-schema.org/draft-07/schema"
    )
    assert documents._metaschema("https://example.com/schema") is None


DRAFT7 = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            {"$ref": "#/definitions/User", "$defs": {"User": {}}},
            (
                "'/definitions/User' leads to nothing: there is no 'definitions'; "
                "write '$defs' if that is meant, or put a schema there"
            ),
        ),
        (
            {"$ref": "#/$defs/user", "$defs": {"User": {}}},
            "'/$defs/user' leads to nothing: there is no 'user'; write 'User' if that is meant, or put a schema there",
        ),
        ({"$ref": "#/$defs/a"}, "'/$defs/a' leads to nothing: there is no '$defs'; put a schema there"),
        (
            {"$ref": "#/allOf/01", "allOf": [{}, {"type": "null"}]},
            "'/allOf/01' leads to nothing: there is no '01'; write 1: an index has no zeros in front",
        ),
        (
            {"$ref": "#/allOf/2", "allOf": [{}, {}]},
            "'/allOf/2' leads to nothing: there is no 2; write an index from 0 to 1",
        ),
        (
            {"$ref": "#/minimum/x", "minimum": 1},
            (
                "'/minimum/x' leads to nothing: there is no 'x'; "
                "end the reference before it: what it has reached is no object and no list"
            ),
        ),
        (
            {"$ref": "#User", "$defs": {"User": {}}},
            "no anchor is named 'User'; write \"#/$defs/User\" if that is meant",
        ),
        (
            {"$ref": "#addres", "$defs": {"a": {"$anchor": "address"}}},
            (
                "no anchor is named 'addres'; write \"#address\" if that is meant, "
                'or say "$anchor": "addres" in the schema that is meant'
            ),
        ),
        (
            {"$schema": DRAFT7, "$ref": "#x"},
            'no anchor is named \'x\'; say "$id": "#x" in the schema that is meant',
        ),
    ],
)
def test_a_reference_to_nothing_is_refused_with_a_way_out(schema: Any, message: str) -> None:
    with pytest.raises(SchemaError) as error:
        FrontEnd(schema, Options(), {})
    assert str(error.value) == "/$ref: " + message


def test_a_key_that_is_no_text_is_refused_with_a_way_out() -> None:
    with pytest.raises(SchemaError) as error:
        FrontEnd({"properties": {1: {}}}, Options(), {})
    assert str(error.value).endswith("the key 1 is no string; write every key of the schema as text, as JSON has it")


TWICE = "give each a name of its own, or refer to one by its place"


@pytest.mark.parametrize(
    ("names", "keyword", "reference"),
    [
        ({"$id": "http://x/1"}, "$ref", "http://x/1"),
        ({"$anchor": "x"}, "$ref", "#x"),
        ({"$dynamicAnchor": "x"}, "$ref", "#x"),
        ({"$dynamicAnchor": "x"}, "$dynamicRef", "#x"),
    ],
)
def test_a_reference_to_one_of_two_schemas_of_a_name_is_refused(
    names: dict[str, str], keyword: str, reference: str
) -> None:
    """The validators take one or the other. Where both are alike, or no reference asks, nothing is in doubt."""
    two = {"a": {**names, "type": "integer"}, "b": {**names, "type": "string"}}
    with pytest.raises(SchemaError) as error:
        FrontEnd({"$defs": two, keyword: reference}, Options(), {})
    name = reference.removeprefix("#")
    message = f"two different schemas are named {name!r}: '#/$defs/a' and '#/$defs/b'; {TWICE}"
    assert str(error.value) == f"/{keyword}: {message}"
    FrontEnd({"properties": two}, Options(), {})
    alike = {"$defs": {"a": two["a"], "b": dict(reversed(two["a"].items()))}, keyword: reference}
    assert FrontEnd(alike, Options(), {}).documents.targets[2, keyword].position > 2
    with pytest.raises(SchemaError, match="two different schemas are named"):  # true is not 1
        FrontEnd({"$defs": {n: {**names, "const": c} for n, c in (("a", 1), ("b", True))}, keyword: reference},
                 Options(), {})  # fmt: skip


def test_a_dynamic_anchor_that_another_resource_has_twice_is_refused() -> None:
    """Which of them a `$dynamicRef` means there is undefined."""
    inner = {"$id": "http://x/inner", "$dynamicRef": "#x", "$defs": {"d": {"$dynamicAnchor": "x"}}}
    two = {"a": {"$dynamicAnchor": "x", "type": "integer"}, "b": {"$dynamicAnchor": "x", "type": "string"}}
    with pytest.raises(SchemaError, match="two different schemas are named 'x'"):
        FrontEnd({"$id": "http://x/outer", "$ref": "inner", "$defs": {**two, "i": inner}}, Options(), {})


@pytest.mark.parametrize("name", ["http://x/1", "urn:a:b"])
def test_a_document_that_names_itself_as_it_is_handed_in_is_one(name: str) -> None:
    other = {"$id": name, "$anchor": "x", "type": "integer"}
    FrontEnd({"$ref": name, "allOf": [{"$ref": name + "#x"}]}, Options(), {name: other})
