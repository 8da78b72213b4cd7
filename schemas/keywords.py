"""Keywords and dialects: the one table of what each keyword holds, and of what is supported.

A keyword has a `Holds`: what its value is made of, which is all that scanning and indexing need to know. A dialect is
the set of keywords of one draft (or of one metaschema's vocabularies) with the few switches that drafts differ in.
`SUPPORTED` says which assertions the engine enforces today: a keyword is turned on by one line there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cache
from itertools import islice
from typing import Any

from guard.kernels._native import DialectTables
from guard.kernels.cached import cached_property
from guard.schemas import ops
from guard.schemas.grounding.keyword import KEYWORD


class Holds(IntEnum):
    """What the value of a keyword is made of, as far as a scan cares."""

    __hash__ = int.__hash__  # an enum's own, by name, is slow

    NOTE = 0  # nothing that constrains: title, description
    PLAIN = 1  # an assertion that needs no further look: type, required, minLength
    CHILD = 2  # a schema
    LIST = 3  # a list of schemas
    MAP = 4  # schemas by name
    DEFS = 5  # schemas by name that apply only where they are referred to
    EITHER = 6  # a schema or a list of schemas: items before 2020-12
    DEPENDENCIES = 7  # by name a schema or a list of names
    REFERENCE = 8
    NUMBER = 9
    VALUES = 10  # const, enum
    PATTERN = 11
    PATTERNS = 12  # schemas by regex
    FORMAT = 13
    CONTENT = 14  # a schema that never applies: contentSchema
    IDENTITY = 15  # what names a place: $id, $anchor, $schema
    SOURCE = 16  # of a value that comes from the inputs of a call: x-guard-from


#: Assertions that are enforced today. What a keyword means is known for all of them; this is what the engine can do.
SUPPORTED = frozenset(
    {
        "type",
        "nullable",
        "enum",
        "const",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "prefixItems",
        "additionalItems",
        "minItems",
        "maxItems",
        "contains",
        "minContains",
        "maxContains",
        "uniqueItems",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "multipleOf",
        "unevaluatedProperties",
        "unevaluatedItems",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
        KEYWORD,
    }
)

NOT_SUPPORTED_YET = "is not supported yet"

_CORE = "core"
_APPLICATOR = "applicator"
_VALIDATION = "validation"
_UNEVALUATED = "unevaluated"
_FORMAT = "format"
_META = "meta-data"
_CONTENT = "content"

#: Every keyword of every draft: what it holds, and its vocabulary since 2019-09.
_KEYWORDS: dict[str, tuple[Holds, str]] = {
    "$schema": (Holds.IDENTITY, _CORE),
    "$id": (Holds.IDENTITY, _CORE),
    "id": (Holds.IDENTITY, _CORE),
    "$anchor": (Holds.IDENTITY, _CORE),
    "$dynamicAnchor": (Holds.IDENTITY, _CORE),
    "$recursiveAnchor": (Holds.IDENTITY, _CORE),
    "$vocabulary": (Holds.IDENTITY, _CORE),
    "$comment": (Holds.NOTE, _CORE),
    "$defs": (Holds.DEFS, _CORE),
    "definitions": (Holds.DEFS, _CORE),
    "$ref": (Holds.REFERENCE, _CORE),
    "$dynamicRef": (Holds.REFERENCE, _CORE),
    "$recursiveRef": (Holds.REFERENCE, _CORE),
    "properties": (Holds.MAP, _APPLICATOR),
    "patternProperties": (Holds.PATTERNS, _APPLICATOR),
    "additionalProperties": (Holds.CHILD, _APPLICATOR),
    "propertyNames": (Holds.CHILD, _APPLICATOR),
    "dependencies": (Holds.DEPENDENCIES, _APPLICATOR),
    "dependentSchemas": (Holds.MAP, _APPLICATOR),
    "prefixItems": (Holds.LIST, _APPLICATOR),
    "items": (Holds.EITHER, _APPLICATOR),
    "additionalItems": (Holds.CHILD, _APPLICATOR),
    "contains": (Holds.CHILD, _APPLICATOR),
    "allOf": (Holds.LIST, _APPLICATOR),
    "anyOf": (Holds.LIST, _APPLICATOR),
    "oneOf": (Holds.LIST, _APPLICATOR),
    "not": (Holds.CHILD, _APPLICATOR),
    "if": (Holds.CHILD, _APPLICATOR),
    "then": (Holds.CHILD, _APPLICATOR),
    "else": (Holds.CHILD, _APPLICATOR),
    "unevaluatedProperties": (Holds.CHILD, _UNEVALUATED),
    "unevaluatedItems": (Holds.CHILD, _UNEVALUATED),
    "type": (Holds.PLAIN, _VALIDATION),
    "nullable": (Holds.PLAIN, _VALIDATION),
    "enum": (Holds.VALUES, _VALIDATION),
    "const": (Holds.VALUES, _VALIDATION),
    "multipleOf": (Holds.NUMBER, _VALIDATION),
    "minimum": (Holds.NUMBER, _VALIDATION),
    "maximum": (Holds.NUMBER, _VALIDATION),
    "exclusiveMinimum": (Holds.NUMBER, _VALIDATION),
    "exclusiveMaximum": (Holds.NUMBER, _VALIDATION),
    "minLength": (Holds.PLAIN, _VALIDATION),
    "maxLength": (Holds.PLAIN, _VALIDATION),
    "pattern": (Holds.PATTERN, _VALIDATION),
    "minItems": (Holds.PLAIN, _VALIDATION),
    "maxItems": (Holds.PLAIN, _VALIDATION),
    "uniqueItems": (Holds.PLAIN, _VALIDATION),
    "minContains": (Holds.PLAIN, _VALIDATION),
    "maxContains": (Holds.PLAIN, _VALIDATION),
    "minProperties": (Holds.PLAIN, _VALIDATION),
    "maxProperties": (Holds.PLAIN, _VALIDATION),
    "required": (Holds.PLAIN, _VALIDATION),
    "dependentRequired": (Holds.PLAIN, _VALIDATION),
    "format": (Holds.FORMAT, _FORMAT),
    "contentEncoding": (Holds.NOTE, _CONTENT),
    "contentMediaType": (Holds.NOTE, _CONTENT),
    "contentSchema": (Holds.CONTENT, _CONTENT),
    "title": (Holds.NOTE, _META),
    "description": (Holds.NOTE, _META),
    "default": (Holds.NOTE, _META),
    "examples": (Holds.NOTE, _META),
    "deprecated": (Holds.NOTE, _META),
    "readOnly": (Holds.NOTE, _META),
    "writeOnly": (Holds.NOTE, _META),
    "example": (Holds.NOTE, _META),
    "discriminator": (Holds.NOTE, _META),
    "xml": (Holds.NOTE, _META),
    "externalDocs": (Holds.NOTE, _META),
    KEYWORD: (Holds.SOURCE, _CORE),  # of every draft, though of none
}

#: What hangs on the keywords beside it.
UNEVALUATED = frozenset({"unevaluatedProperties", "unevaluatedItems"})
#: What says something about a schema and nothing about a value; $defs apply only where they are referred to.
SILENT = frozenset({Holds.NOTE, Holds.CONTENT, Holds.IDENTITY, Holds.DEFS})
#: What a keyword has that holds schemas by name.
NAMED = frozenset({Holds.MAP, Holds.DEFS, Holds.PATTERNS, Holds.DEPENDENCIES})

#: Keywords of any draft that hold schemas by name: the names are no keywords.
BY_NAME = frozenset(keyword for keyword, (holds, _) in _KEYWORDS.items() if holds in NAMED)
#: Keywords of any draft that hold values, which are no schemas, however much they look like some.
INSTANCES = frozenset({"const", "enum", "default", "example", "examples"})
#: Keywords of any draft that mean nothing to validation.
ANNOTATIONS = frozenset(keyword for keyword, (holds, _) in _KEYWORDS.items() if holds in SILENT)
#: All others, of any draft.
ASSERTIONS = frozenset(_KEYWORDS) - ANNOTATIONS
#: Keywords whose schemas apply to the very value that the schema around them applies to.
IN_PLACE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"})

_DRAFT_4 = frozenset(
    {
        *("$schema", "id", "$ref", "definitions", "title", "description", "default", "format"),
        *("type", "enum", "allOf", "anyOf", "oneOf", "not"),
        *("properties", "patternProperties", "additionalProperties", "dependencies", "required", "minProperties"),
        *("maxProperties", "items", "additionalItems", "minItems", "maxItems", "uniqueItems"),
        *("minLength", "maxLength", "pattern"),
        *("multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)
_DRAFT_6 = _DRAFT_4 - {"id"} | {"$id", "const", "contains", "propertyNames", "examples"}
_DRAFT_7 = _DRAFT_6 | {"if", "then", "else", "$comment", "readOnly", "writeOnly", "contentEncoding", "contentMediaType"}
#: `dependencies` left the specification in 2019-09 but stays in its metaschema, in use, and in the validators.
_DRAFT_2019 = _DRAFT_7 | {
    "$anchor",
    "$defs",
    "$recursiveAnchor",
    "$recursiveRef",
    "$vocabulary",
    "contentSchema",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "maxContains",
    "minContains",
    "unevaluatedItems",
    "unevaluatedProperties",
}
_DRAFT_2020 = _DRAFT_2019 - {"$recursiveAnchor", "$recursiveRef", "additionalItems"} | {
    "$dynamicAnchor",
    "$dynamicRef",
    "prefixItems",
}
_OPENAPI_NOTES = {"example", "discriminator", "xml", "externalDocs"}
_OPENAPI_3_0 = _DRAFT_4 - {"id", "$schema"} | _OPENAPI_NOTES | {"nullable", "readOnly", "writeOnly", "deprecated"}


_SAYS_NOTHING = (Holds.NOTE, Holds.CONTENT, Holds.IDENTITY)  # to a scan


@dataclass(frozen=True, eq=False)
class Dialect:
    """The keywords of one draft, and what else differs between drafts."""

    name: str  # the `draft=` that chooses it
    metaschema: str  # its URI, without a fragment
    keywords: dict[str, Holds]
    identifier: str = "$id"  # the keyword that names a resource
    ref_alone: bool = False  # `$ref` hides its siblings
    integer: int = ops.INTEGER  # the type bit of "integer"
    boolean_bounds: bool = False  # exclusiveMinimum: true
    minus: frozenset[str] = field(default=frozenset())  # vocabularies that a metaschema of its own left out

    @cached_property
    def looked_into(self) -> dict[str, Holds]:
        """Return the keywords that a scan must look into: those that hold schemas or texts, or aren't enforced."""
        idle = {keyword for keyword, holds in self.keywords.items() if holds == Holds.PLAIN and keyword in SUPPORTED}
        return {k: h for k, h in self.keywords.items() if h not in _SAYS_NOTHING and k not in idle}

    @cached_property
    def tables(self) -> DialectTables:
        """Return the same for the walks over a schema."""
        return DialectTables(
            self.name, self.keywords, self.looked_into, self.integer, self.ref_alone, self.boolean_bounds
        )

    def idle(self, schema: Mapping[str, Any]) -> set[str]:
        """Return the keywords of a schema that are assertions elsewhere, and say nothing in this dialect."""
        if self.ref_alone and "$ref" in schema:
            return (schema.keys() & ASSERTIONS) - {"$ref"}
        return {key for key in schema.keys() & ASSERTIONS if key not in self.keywords}

    def without(self, vocabularies: frozenset[str]) -> Dialect:
        """Return the dialect of a metaschema that leaves these vocabularies out."""
        kept = {k: h for k, h in self.keywords.items() if _KEYWORDS[k][1] not in vocabularies}
        return replace(self, keywords=kept, minus=vocabularies)


def _table(names: frozenset[str], **other: Holds) -> dict[str, Holds]:
    return {name: _KEYWORDS[name][0] for name in (*names, KEYWORD)} | other


#: By the name that `draft=` takes.
DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "draft4",
            "http://json-schema.org/draft-04/schema",
            _table(_DRAFT_4, exclusiveMinimum=Holds.PLAIN, exclusiveMaximum=Holds.PLAIN),
            identifier="id",
            ref_alone=True,
            integer=ops.INTEGER_TEXT,
            boolean_bounds=True,
        ),
        Dialect("draft6", "http://json-schema.org/draft-06/schema", _table(_DRAFT_6), ref_alone=True),
        Dialect("draft7", "http://json-schema.org/draft-07/schema", _table(_DRAFT_7), ref_alone=True),
        Dialect("draft2019-09", "https://json-schema.org/draft/2019-09/schema", _table(_DRAFT_2019)),
        Dialect(
            "draft2020-12",
            "https://json-schema.org/draft/2020-12/schema",
            _table(_DRAFT_2020, items=Holds.CHILD),
        ),
        Dialect(
            "openapi3.0",
            "http://json-schema.org/draft-04/schema",  # what the OpenAPI document calls "an extended subset" of draft 5
            _table(_OPENAPI_3_0, exclusiveMinimum=Holds.PLAIN, exclusiveMaximum=Holds.PLAIN),
            identifier="",
            ref_alone=True,
            integer=ops.INTEGER_TEXT,
            boolean_bounds=True,
        ),
        Dialect(
            "openapi3.1",
            "https://json-schema.org/draft/2020-12/schema",
            _table(_DRAFT_2020 | _OPENAPI_NOTES, items=Holds.CHILD),
        ),
    )
}

#: The dialect where neither `$schema` nor `draft=` names one.
DEFAULT_DIALECT = DIALECTS["draft2020-12"]

_SHORT = 16  #: Characters of a draft's bare name: "draft-07", "2020-12".
_BY_URI = {d.metaschema.partition("://")[2]: d for d in DIALECTS.values() if not d.name.startswith("openapi")} | {
    "json-schema.org/schema": DEFAULT_DIALECT,  # "the latest"
    "spec.openapis.org/oas/3.1/dialect/base": DIALECTS["openapi3.1"],
}


def dialect_of(uri: str) -> Dialect | None:
    """Return the dialect that a `$schema` names, whether http or https, with or without an empty fragment."""
    scheme, _, rest = uri.rstrip("#").partition("://")
    return _BY_URI.get(rest) if scheme in ("http", "https") else None


#: Likeness from which a name is taken for a slip of the pen: "require", "minLenght" and "maxlength" are alike enough.
ALIKE = 0.75

#: How each draft is called in the URIs that people write.
_CALLED = re.compile(r"draft[-/]?0?([467])(?![0-9])|(2019-09|2020-12)|v?(3\.[01])")


def nearest(name: str, among: Iterable[str]) -> str | None:
    """Return the name that another one is probably meant to be, of the first thousand."""
    by_case = {known.lower(): known for known in islice(among, 1000)}
    near = difflib.get_close_matches(name.lower()[:80], by_case, 1, ALIKE)
    return by_case[near[0]] if near else None


def nearest_metaschema(uri: str) -> str | None:
    """Return the URI that a `$schema` which is none is probably meant to be, as its draft writes it."""
    called = _CALLED.search(uri.lower())
    of_json_schema = "json" in uri.lower() and "schema" in uri.lower()
    if called and called[3]:
        return _written(DIALECTS["openapi3.1"]) if "openapi" in uri.lower() and called[3] == "3.1" else None
    if called and (of_json_schema or len(uri) < _SHORT):
        return _written(DIALECTS["draft" + (called[1] or called[2])])
    near = difflib.get_close_matches(uri, [_written(dialect) for dialect in DIALECTS.values()], 1, 0.8)
    return near[0] if near else None


def _written(dialect: Dialect) -> str:
    if dialect.name == "openapi3.1":
        return "https://spec.openapis.org/oas/3.1/dialect/base"
    return dialect.metaschema + ("#" if "draft-0" in dialect.metaschema else "")


@cache
def vocabulary_of(uri: str) -> str | None:
    """Return the name of a standard vocabulary ("validation"), or None for one that is not of the standard."""
    head, _, name = uri.rpartition("/vocab/")
    if head not in ("https://json-schema.org/draft/2019-09", "https://json-schema.org/draft/2020-12"):
        return None
    return _FORMAT if name.startswith("format") else name


def vocabularies() -> frozenset[str]:
    """Return the names of all vocabularies that a metaschema may leave out."""
    return frozenset({_APPLICATOR, _VALIDATION, _UNEVALUATED, _FORMAT, _META, _CONTENT})
