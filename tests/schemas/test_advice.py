"""Advice names what a person probably means otherwise, and leaves alone what is someone's own."""

from __future__ import annotations

from typing import Any

import pytest

from guard.schemas.advice import advice, unknown_names
from guard.schemas.compiled import FrontEnd, Options


def advised(schema: Any, **options: Any) -> list[tuple[str, str]]:
    """(pointer, fix) of each piece of advice."""
    front = FrontEnd(schema, Options(**options), {})
    return [(f.pointer, f.fix) for f in advice(front.documents, assert_formats=front.options.formats)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("require", "required"),
        ("minLenght", "minLength"),
        ("maxlength", "maxLength"),
        ("additionalproperties", "additionalProperties"),
        ("propeties", "properties"),
        ("minimun", "minimum"),
        ("patern", "pattern"),
        ("oneof", "oneOf"),
    ],
)
def test_a_slip_of_the_pen_is_told_with_what_is_meant(written: str, meant: str) -> None:
    assert advised({"properties": {"a": {written: 1}}}) == [
        (f"/properties/a/{written}", f"write {meant} if that is meant")
    ]


def test_what_is_no_slip_is_left_alone() -> None:
    own = {"x-order": 1, "X-Y": 2, "markdownDescription": "…", "enumNames": [], "$comment": "c", "title": "t"}
    assert advised({"type": "string", "format": "date", **own}) == []


def test_a_keyword_of_another_draft_is_told_with_the_drafts_that_have_it() -> None:
    fix = "name a draft that has it, with $schema or draft=: draft2019-09, draft2020-12, openapi3.1"
    assert advised({"dependentRequired": {}, "type": "object"}, draft="draft7") == [("/dependentRequired", fix)]


def test_siblings_that_a_reference_hides_are_told() -> None:
    schema = {
        "properties": {"a": {"$ref": "#/definitions/d", "minLength": 2, "title": "t"}},
        "definitions": {"d": True},
    }
    fix = "put both into allOf, or name a later draft with $schema"
    assert advised(schema, draft="draft7") == [("/properties/a/minLength", fix)]
    assert advised(schema) == []


def test_a_property_outside_of_properties_a_lonely_then_and_an_unknown_format_are_told() -> None:
    schema = {"type": "object", "address": {"type": "string", "format": "e-mail"}, "then": {}, "format": "colour"}
    assert advised(schema) == [
        ("/address", "move it into properties, where its schema counts"),
        ("/then", "add if beside it, or leave it out"),
        ("/format", "leave it as a note, or say it with a pattern"),
    ]
    assert advised({"format": "e-mail"}) == [("/format", "write email if that is meant")]
    front = FrontEnd({"allOf": [schema]}, Options(), {})
    assert unknown_names(front.documents) == (["/allOf/0/address"], ["/allOf/0/format"])
