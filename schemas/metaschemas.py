"""Metaschemas as rules: what is plainly a valid schema needs no validator, which takes longer than most scans.

Each keyword that a draft's metaschema constrains has a rule, which accepts no more than the metaschema does. Most real
schemas keep to the rules; of the others a validator decides (jsontext.check_metaschema), and words what is wrong.
"""

from __future__ import annotations

from enum import IntEnum

from guard.kernels._native import JsonTree, KeywordTable, is_plainly_valid
from guard.schemas.keywords import Dialect


class Rule(IntEnum):
    """What a keyword's value is, plainly; kernels/cpu/python/validate_fast.cpp has the same numbers."""

    ASK = 0  # nothing is plain
    TEXT = 1
    FLAG = 2
    COUNT = 3  # an integer of 64 bits, from 0
    NUMBER = 4
    POSITIVE = 5
    LIST = 6
    NAMES = 7  # a few ASCII texts that differ
    TYPE = 8  # a type's name, or at least one
    SCHEMA = 9
    SCHEMAS = 10  # at least one
    EITHER = 11  # a schema, or schemas
    MAP = 12  # schemas by any name
    PATTERN = 13  # a regular expression that every dialect reads alike
    PATTERNS = 14  # schemas by such
    REFERENCE = 15  # a URI or a relative reference, of letters and digits
    IDENTIFIER = 16  # the same without a fragment
    URI = 17  # the same with http or https, with or without a fragment
    SCHEMA_OR_FLAG = 18
    SOME_NAMES = 19  # names, at least one


_NOTES = dict.fromkeys(("title", "description", "format"), Rule.TEXT)
_COUNTS = dict.fromkeys(
    ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), Rule.COUNT
)
_NUMBERS = {"multipleOf": Rule.POSITIVE, "minimum": Rule.NUMBER, "maximum": Rule.NUMBER}

_DRAFT_4 = (
    _NOTES
    | _COUNTS
    | _NUMBERS
    | dict.fromkeys(("id", "$schema"), Rule.TEXT)
    | dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum", "dependencies"), Rule.ASK)
    | dict.fromkeys(("allOf", "anyOf", "oneOf"), Rule.SCHEMAS)
    | dict.fromkeys(("properties", "patternProperties", "definitions"), Rule.MAP)
    | dict.fromkeys(("additionalItems", "additionalProperties"), Rule.SCHEMA_OR_FLAG)
    | {
        "type": Rule.TYPE,
        "enum": Rule.LIST,
        "not": Rule.SCHEMA,
        "items": Rule.EITHER,
        "uniqueItems": Rule.FLAG,
        "required": Rule.SOME_NAMES,  # of none schemas/leniency.py tells
        "pattern": Rule.PATTERN,
    }
)
_DRAFT_6 = (
    {keyword: rule for keyword, rule in _DRAFT_4.items() if keyword != "id"}
    | dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), Rule.NUMBER)
    | dict.fromkeys(("additionalItems", "additionalProperties", "contains", "propertyNames"), Rule.SCHEMA)
    | dict.fromkeys(("$id", "$ref"), Rule.REFERENCE)
    | {"$schema": Rule.URI, "patternProperties": Rule.PATTERNS, "required": Rule.NAMES, "examples": Rule.LIST}
)
_DRAFT_7 = (
    _DRAFT_6
    | dict.fromkeys(("if", "then", "else"), Rule.SCHEMA)
    | dict.fromkeys(("$comment", "contentEncoding", "contentMediaType"), Rule.TEXT)
    | dict.fromkeys(("readOnly", "writeOnly"), Rule.FLAG)
)
_DRAFT_2019 = (
    _DRAFT_7
    | dict.fromkeys(("$anchor", "$recursiveAnchor", "$recursiveRef", "$vocabulary", "dependentRequired"), Rule.ASK)
    | dict.fromkeys(("$schema", "$ref", "pattern"), Rule.TEXT)
    | dict.fromkeys(("unevaluatedItems", "unevaluatedProperties", "contentSchema"), Rule.SCHEMA)
    | dict.fromkeys(("$defs", "dependentSchemas", "patternProperties"), Rule.MAP)
    | dict.fromkeys(("minContains", "maxContains"), Rule.COUNT)
    | {"$id": Rule.IDENTIFIER, "deprecated": Rule.FLAG}
)
_DRAFT_2020 = (
    {keyword: rule for keyword, rule in _DRAFT_2019.items() if keyword != "additionalItems"}
    | dict.fromkeys(("$dynamicAnchor", "$dynamicRef"), Rule.ASK)
    | {"items": Rule.SCHEMA, "prefixItems": Rule.SCHEMAS}
)

#: By the metaschema's URI, without a fragment.
RULES: dict[str, dict[str, Rule]] = {
    "http://json-schema.org/draft-04/schema": _DRAFT_4,
    "http://json-schema.org/draft-06/schema": _DRAFT_6,
    "http://json-schema.org/draft-07/schema": _DRAFT_7,
    "https://json-schema.org/draft/2019-09/schema": _DRAFT_2019,
    "https://json-schema.org/draft/2020-12/schema": _DRAFT_2020,
}


_TABLES = {uri: KeywordTable(rules) for uri, rules in RULES.items()}


def is_plain(tree: JsonTree, dialect: Dialect) -> bool:
    """Say whether a schema is valid by the rules."""
    return is_plainly_valid(tree, _TABLES[dialect.metaschema], not dialect.boolean_bounds)
