"""The walk through the schemas of a schema: what is changed, what is left alone, and that nobody else has a walk."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from strategies import Case, cases

from guard.output import judge, provider_schema, target
from guard.schemas import leniency, rewriting
from guard.schemas.documents import subschemas
from guard.schemas.keywords import BY_NAME, DIALECTS, IN_PLACE, INSTANCES, Holds

ROOT = Path(__file__).parents[2]
#: Names that a rewriter could take for keywords.
NAMES = ("default", "const", "enum", "examples", "$ref", "id", "pattern", "required", "properties", "nullable")
#: Files that list keywords that hold schemas for another reason than to walk through them.
LISTS = {
    "schemas/keywords.py": "the table itself",
    "schemas/metaschemas.py": "what each value must be, by a draft's metaschema",
    "schemas/ops.py": "the names of what the engine executes, for people",
    "guard/testing/strategies/near_misses.py": "keywords that a validator names in a finding",
    "schemas/structural/tagged.py": "what a tagged style can keep of an object",
    "schemas/grounding/walk.py": "keywords that apply to the value itself: it walks a value, not a schema",
    "guard/output/optional_nulls.py": "which say what an object with one member must have beside it",
    "guard/calls/by_field.py": "what may stand at the root of a schema whose members are asked for alone",
    "guard/sidecar/endpoints/tool_calls.py": "by which a schema says which other members it has",
    "guard/testing/comparing.py": "the order of keys, which definitions have by their names",
}


@given(cases())
def test_what_nobody_changes_is_equal(case: Case) -> None:
    assert rewriting.rewritten(case.schema, lambda part: part) == case.schema


@given(cases())
def test_every_schema_of_the_table_is_walked_through(case: Case) -> None:
    """The judge is the compiler's own walk, by the keywords of the default draft."""
    expected, todo = [], [case.schema]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            expected.append(id(part))
            todo += [child for _, child in subschemas(part, DIALECTS["draft2020-12"].keywords)]
    assert set(expected) <= {id(part) for part in rewriting.each(case.schema)}


def test_each_schema_is_changed_once_and_the_inner_ones_first() -> None:
    seen: list[Any] = []

    def rewrite(part: dict[str, Any]) -> dict[str, Any]:
        seen.append(part["title"])
        return {"title": part["title"].upper(), **{key: value for key, value in part.items() if key != "title"}}

    schema = {
        "title": "a",
        "items": {"title": "b"},
        "anyOf": [{"title": "c"}, True],
        "properties": {"title": {"title": "d"}, "const": {"title": "e"}},
        "x-mine": {"title": "f"},
        "const": {"title": "g"},
        "default": [{"title": "h"}],
    }
    assert rewriting.rewritten(schema, rewrite) == {
        "title": "A",
        "items": {"title": "B"},
        "anyOf": [{"title": "C"}, True],
        "properties": {"title": {"title": "D"}, "const": {"title": "E"}},
        "x-mine": {"title": "F"},
        "const": {"title": "g"},
        "default": [{"title": "h"}],
    }
    assert seen == ["b", "c", "d", "e", "f", "a"]
    assert [part["title"] for part in rewriting.each(schema)].count("a") == 1
    assert schema["title"] == "a"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_no_keyword_for_any_rewriter(name: str) -> None:
    inner = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A B"}}, "required": []}
    schema = {"properties": {name: inner}, "$defs": {name: {"pattern": r"\Aa"}, "A B": {"type": "null"}}}
    assert target.closed(schema)["properties"][name]["additionalProperties"] is False
    standard = leniency.as_standard(schema, wants_names=True)
    assert standard["properties"][name] == {"type": "object", "properties": {"a": {"$ref": "#/$defs/A%20B"}}}
    assert judge.judged(schema, "draft2020-12", {})["$defs"][name] == {"pattern": "^a"}
    sent = provider_schema.loose(schema).schema["properties"]["value"]
    assert sent["properties"][name]["properties"]["a"] == {"$ref": "#/properties/value/$defs/A B"}


def test_the_groups_are_those_of_the_table() -> None:
    every = {keyword: holds for dialect in DIALECTS.values() for keyword, holds in dialect.keywords.items()}
    with_schemas = {Holds.CHILD, Holds.LIST, Holds.MAP, Holds.DEPENDENCIES}
    assert {every[keyword] for keyword in IN_PLACE} <= with_schemas
    assert {keyword for keyword, holds in every.items() if holds is Holds.VALUES} <= INSTANCES <= every.keys()
    assert BY_NAME.isdisjoint(INSTANCES)


def lists(path: Path) -> Iterator[set[str]]:
    """Yield the keywords of each set, tuple or list that is written in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Set | ast.Tuple | ast.List):
            parts = [part.value if isinstance(part, ast.Starred) else part for part in node.elts]
            yield {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}


@pytest.mark.parametrize("folder", ["guard", "schemas", "kernels"])
def test_no_other_place_lists_keywords_that_hold_schemas_by_name_or_values(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {sorted(words)}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in LISTS
        for words in lists(path)
        if len(words & BY_NAME) > 1 or len(words & IN_PLACE) > 4 or {"default", "enum"} <= words
    ]
    assert found == []
