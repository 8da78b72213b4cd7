"""What nothing can meet: branches that are dead where they stand, and keywords that contradict each other.

The judge asks the same in JSON Schema's own words: a schema of references to the whole and to the part, which is
compiled like any other and has a value or has none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from strategies import Case, cases

import guard
from guard.kernels.json_pointer import pointer
from guard.schemas import contradictions

NEVER = {"type": "string", "maxLength": 1, "minLength": 2}
#: Keywords that hold one schema, a list of them, or several by name.
ONE = ("additionalProperties", "propertyNames", "items", "contains", "not", "if", "then", "else")
ONE_MORE = ("unevaluatedProperties", "unevaluatedItems")
LISTS, MAPS = ("allOf", "anyOf", "oneOf", "prefixItems"), ("properties", "patternProperties", "dependentSchemas")


def inside(schema: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all schemas of a schema that are objects, by their JSON Pointers."""
    if not isinstance(schema, dict):
        return
    yield at, schema
    for keyword in (*ONE, *ONE_MORE):
        yield from inside(schema.get(keyword), f"{at}/{keyword}")
    for keyword in LISTS:
        for index, child in enumerate(schema.get(keyword, ())):
            yield from inside(child, f"{at}/{keyword}/{index}")
    for keyword in MAPS:
        for name, child in schema.get(keyword, {}).items():
            yield from inside(child, at + pointer([keyword, name]))


def branches(schema: Mapping[str, Any], at: str) -> Iterator[tuple[str, Any]]:
    """Yield the branches of one schema, each with a schema that holds where a value takes that branch."""

    def refer(place: str) -> dict[str, Any]:
        return {"$ref": f"urn:whole#{place}"}

    for keyword in ("anyOf", "oneOf"):
        for index, _ in enumerate(schema.get(keyword, ())):
            yield f"{at}/{keyword}/{index}", refer(f"{at}/{keyword}/{index}")
    for index, value in enumerate(schema.get("enum", ())):
        yield f"{at}/enum/{index}", {"const": value}
    if "if" in schema:
        if schema.get("then", False) is not False:
            yield f"{at}/then", refer(f"{at}/if")
        if schema.get("else", False) is not False:
            yield f"{at}/else", {"not": refer(f"{at}/if")}
    for name, child in schema.get("properties", {}).items():
        if child is not False:
            yield at + pointer(["properties", name]), {"type": "object", "required": [name]}
    heads = schema.get("prefixItems", ())
    for index, child in enumerate(heads):
        if child is not False:
            yield f"{at}/prefixItems/{index}", {"type": "array", "minItems": index + 1}
    if schema.get("items", False) is not False:
        yield f"{at}/items", {"type": "array", "minItems": len(heads) + 1}


def has_value(schema: Any, whole: Any) -> bool:
    compiled = guard.compile(schema, documents={"urn:whole": whole})
    try:
        compiled.check_satisfiable()
    except guard.SchemaError:
        return False
    return True


@given(cases(without="$dynamicRef"))
def test_a_branch_is_told_where_and_only_where_nothing_takes_it(case: Case) -> None:
    told, unasked = contradictions.dead_branches(case.compile()._front, 20.0)
    if unasked:
        return
    found = {finding.pointer for finding in told}
    for at, schema in inside(case.schema):
        itself = {"$ref": f"urn:whole#{at}"}
        is_alive = has_value(itself, case.schema)
        for place, taken in branches(schema, at):
            is_dead = is_alive and not has_value({"allOf": [itself, taken]}, case.schema)
            assert (place in found) == is_dead, place
            found.discard(place)
    assert all(place.startswith("/$defs/") for place in found)


@pytest.mark.parametrize(
    ("schema", "places"),
    [
        ({"anyOf": [{"type": "string"}, NEVER]}, ["/anyOf/1"]),
        ({"type": "string", "anyOf": [{"type": "integer"}, {"minLength": 2}]}, ["/anyOf/0"]),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ["/oneOf/0"]),
        ({"type": "integer", "maximum": 2, "enum": [1, "a", 2.5, 3.0]}, ["/enum/1", "/enum/2", "/enum/3"]),
        ({"if": {"type": "integer"}, "then": {"type": "string"}}, ["/then"]),
        ({"type": "integer", "if": {"minimum": 0}, "then": True, "else": {"maximum": 9}}, []),
        ({"type": "integer", "if": {"type": "integer"}, "then": True, "else": {"maximum": 9}}, ["/else"]),
        ({"if": {"type": "integer"}, "then": False}, []),
        (
            {"properties": {"a": NEVER, "b": False, "c/d": {"items": NEVER}}},
            ["/properties/a", "/properties/c~1d/items"],
        ),
        ({"required": ["a"], "properties": {"a": NEVER, "b": NEVER}}, ["/properties/a", "/properties/b"]),
        ({"type": "object", "properties": {"a": {}}, "maxProperties": 0}, ["/properties/a"]),
        ({"prefixItems": [{}, NEVER, {}]}, ["/prefixItems/1", "/prefixItems/2"]),
        ({"$defs": {"n": {"anyOf": [NEVER, {}]}}, "items": {"$ref": "#/$defs/n"}}, ["/$defs/n/anyOf/0"]),
        ({"anyOf": [{"properties": {"a": NEVER}, "required": ["a"], "type": "object"}, {}]}, ["/anyOf/0"]),
    ],
)
def test_dead_branches_are_told_by_their_places(schema: Any, places: list[str]) -> None:
    advice = guard.compile(schema).explore().advice
    assert [finding.pointer for finding in advice] == places
    assert all(finding.message.startswith("nothing can meet it") for finding in advice)


def test_dead_items_of_earlier_drafts_are_told() -> None:
    schema = {"items": [{"type": "integer"}, NEVER], "additionalItems": {"type": "string"}}
    advice = guard.compile(schema, draft="draft7").explore().advice
    assert [finding.pointer for finding in advice] == ["/items/1", "/additionalItems"]


def test_branches_of_a_format_are_told_by_their_places_in_it() -> None:
    form = {"type": "json_schema", "json_schema": {"anyOf": [{"type": "string"}, NEVER]}}
    tag = {"type": "structural_tag", "format": {"type": "sequence", "elements": [form, form]}}
    advice = guard.compile(tag).explore().advice
    assert {finding.pointer for finding in advice} == {
        f"/format/elements/{n}/json_schema/anyOf/1" for n in (0, 1)
    }  # the two are one schema, or each has its own


@pytest.mark.parametrize(
    ("schema", "pointer", "keywords"),
    [
        (NEVER, "", ["type", "maxLength", "minLength"]),
        ({"type": "integer", "enum": ["a"]}, "", ["type", "enum"]),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "", ["allOf"]),
        ({"type": "object", "required": ["a"], "properties": {"a": NEVER}}, "/properties/a", [*NEVER]),
        ({"enum": []}, "", ["enum"]),
        ({"enum": [], "not": {}}, "", []),  # each does alone
    ],
)
def test_keywords_that_contradict_each_other_are_named(schema: Any, pointer: str, keywords: list[str]) -> None:
    with pytest.raises(guard.SchemaError) as raised:
        guard.compile(schema).check_satisfiable()
    (finding,) = raised.value.findings
    named = ": " + ", ".join(keywords) if keywords else ""
    assert (finding.pointer, finding.fix) == (pointer, f"correct what contradicts itself{named}")
    assert finding.keyword == (keywords[-1] if keywords else None)


def test_so_many_branches_take_no_longer_than_they_may() -> None:
    many = {"type": "object", "properties": {f"p{n}": {"enum": list(range(50))} for n in range(2000)}}
    compiled = guard.compile(many)
    began = time.monotonic()
    found = compiled.explore(1.0)
    assert time.monotonic() - began < 8
    assert (found.complete, found.waiting > 0) == (False, True)


def test_a_part_that_nothing_can_meet_is_refused_beside_others() -> None:
    compiled = guard.compile({"anyOf": [{"type": "integer"}, {"properties": {"a": NEVER}, "required": ["a"]}, NEVER]})
    compiled.check_satisfiable()
    compiled.check_satisfiable(["/anyOf/0", "/anyOf/1"])  # what is no object meets it
    with pytest.raises(guard.SchemaError, match="/anyOf/2: nothing can meet it; correct what contradicts itself: type"):
        compiled.check_satisfiable(["/anyOf/1", "/anyOf/2"])


@pytest.mark.parametrize(
    ("schema", "at"),
    [
        ({"type": "array", "minItems": 2**31}, "/minItems"),
        ({"type": "string", "minLength": 2**31}, "/minLength"),
        ({"type": "object", "minProperties": 10**22}, "/minProperties"),
        ({"type": "array", "contains": {}, "minContains": 2**31}, "/minContains"),
        ({"type": "array", "items": {"type": "string", "minLength": 2**31}, "minItems": 1}, "/items/minLength"),
    ],
)
def test_a_count_that_the_engine_does_not_reach_is_no_contradiction(schema: dict[str, Any], at: str) -> None:
    keyword = at.rpartition("/")[2]
    with pytest.raises(guard.SchemaError) as caught:
        guard.compile(schema).check_satisfiable()
    words = f"{keyword} asks for more than 2,147,483,647, and the engine counts no further; lower it, or leave it out"
    assert str(caught.value) == f"{at}: {words}"


def test_the_largest_count_is_enforced() -> None:
    guard.compile({"type": "array", "minItems": 2**31 - 1}).check_satisfiable()
    guard.compile({"type": "array", "maxItems": 2**70}).check_satisfiable()


def test_a_branch_that_asks_for_too_many_is_told_so() -> None:
    schema = {"anyOf": [{"type": "string", "minLength": 2**31}, {"type": "integer"}]}
    notes = {line.pointer: line.note for line in guard.compile(schema).report}
    words = "nothing can meet it: it asks for more than 2,147,483,647, and the engine counts no further"
    assert notes["/anyOf/0/minLength"] == words
