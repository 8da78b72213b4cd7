"""Advice: what of a schema constrains nothing although it looks as if it should, each with a way to mend it.

The scan (scan.py) decides what is enforced; nothing here changes that. `guard check` shows it to people.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from guard.kernels import json_pointer
from guard.kernels.errors import Finding
from guard.schemas import jsontext, string_formats
from guard.schemas.documents import Documents
from guard.schemas.keywords import DIALECTS, SILENT, Dialect, Holds, nearest
from guard.schemas.scan import HAS_NO_SENSE_ALONE


def advice(documents: Documents, *, assert_formats: bool) -> list[Finding]:
    """Return a finding for each keyword of each reached schema that a person probably means otherwise."""
    found: list[Finding] = []
    for position in range(2, len(documents.schemas)):
        schema, dialect = documents.schemas[position], documents.homes[position].dialect
        for keyword, message, fix in _of_schema(schema, dialect, assert_formats):
            at = documents.pointer(position) + json_pointer.pointer([keyword])
            found.append(Finding(at, keyword, message, fix))
    return found


def unknown_names(documents: Documents) -> tuple[list[str], list[str]]:
    """Return the pointers of all keywords that are not known, and of all formats that are not."""
    keywords: list[str] = []
    names: list[str] = []
    for position in range(2, len(documents.schemas)):
        table = documents.homes[position].dialect.keywords
        for keyword, value in documents.schemas[position].items():
            if keyword not in table:
                keywords.append(documents.pointer(position) + json_pointer.pointer([keyword]))
            elif table[keyword] == Holds.FORMAT and not string_formats.is_known(value):
                names.append(documents.pointer(position) + json_pointer.pointer([keyword]))
    return keywords, names


def _of_schema(schema: dict[str, Any], dialect: Dialect, assert_formats: bool) -> Iterator[tuple[str, str, str]]:
    alone = dialect.ref_alone and "$ref" in schema
    for keyword, value in schema.items():
        holds = dialect.keywords.get(keyword)
        if holds is None:
            yield from _unknown(keyword, value, schema, dialect)
        elif alone and keyword != "$ref" and holds not in SILENT:
            message = f"{keyword} is ignored, because $ref hides its siblings in {dialect.name}"
            yield keyword, message, "put both into allOf, or name a later draft with $schema"
        elif keyword in HAS_NO_SENSE_ALONE and HAS_NO_SENSE_ALONE[keyword] not in schema:
            needed = HAS_NO_SENSE_ALONE[keyword]
            yield keyword, f"{keyword} means nothing without {needed}", f"add {needed} beside it, or leave it out"
        elif holds == Holds.FORMAT and assert_formats and not string_formats.is_known(value):
            yield keyword, *_unknown_format(value)


def _unknown(keyword: str, value: Any, schema: dict[str, Any], dialect: Dialect) -> Iterator[tuple[str, str, str]]:
    """Yield what to do about a name that is no keyword; nothing where it looks like an annotation of someone's own."""
    nothing = f"{keyword} is no keyword of {dialect.name} and constrains nothing"
    if keyword[:2].lower() == "x-":
        return
    alike = nearest(keyword, dialect.keywords)
    homes = [d.name for d in DIALECTS.values() if keyword in d.keywords and d.keywords[keyword] not in SILENT]
    if homes:
        yield keyword, nothing, f"name a draft that has it, with $schema or draft=: {', '.join(homes)}"
    elif alike is not None:
        yield keyword, nothing, f"write {alike} if that is meant"
    elif isinstance(value, dict) and value.keys() & {"type", "$ref", "properties", "enum", "anyOf", "allOf", "oneOf"}:
        place = "properties" if "properties" in schema or schema.get("type") == "object" else "$defs"
        yield keyword, nothing, f"move it into {place}, where its schema counts"


def _unknown_format(value: Any) -> tuple[str, str]:
    alike = nearest(value, string_formats.KNOWN) if isinstance(value, str) else None
    fix = f"write {alike} if that is meant" if alike else "leave it as a note, or say it with a pattern"
    return f"the format {jsontext.clip(value)} is not known and constrains nothing", fix
