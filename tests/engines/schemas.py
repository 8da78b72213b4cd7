"""Forty schemas for engines: twenty of MaskBench, and twenty with keywords that masks of engines often leave out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

MASKBENCH = 20
LONGEST = 1_500  #: Characters of a schema of MaskBench: a model this small writes nothing of larger ones.


def _object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }


_STRING, _INTEGER = {"type": "string", "maxLength": 12}, {"type": "integer", "minimum": 0, "maximum": 99}
OWN: dict[str, Any] = {
    "pattern with length": _object({"code": {"type": "string", "pattern": "^[A-Z]+-[0-9]+$", "maxLength": 8}}),
    "pattern with minLength": _object(
        {"key": {"type": "string", "pattern": "^[a-f0-9]+$", "minLength": 6, "maxLength": 9}}
    ),
    "multipleOf": _object({"price": {"type": "integer", "multipleOf": 25, "minimum": 100, "maximum": 900}}),
    "multipleOf of a fraction": _object({"share": {"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 4}}),
    "uniqueItems": {"type": "array", "items": {"enum": [1, 2, 3, 4]}, "uniqueItems": True, "minItems": 3},
    "uniqueItems of objects": {
        "type": "array",
        "items": _object({"x": {"enum": [1, 2]}, "y": {"enum": [1, 2]}}),
        "uniqueItems": True,
        "minItems": 2,
        "maxItems": 3,
    },
    "if, then, else": _object(
        {"kind": {"enum": ["card", "cash"]}, "number": {"type": ["string", "null"], "maxLength": 6}},
        **{
            "if": {"properties": {"kind": {"const": "card"}}},
            "then": {"properties": {"number": {"type": "string", "pattern": "^[0-9]{4}$"}}},
            "else": {"properties": {"number": {"type": "null"}}},
        },
    ),
    "if, then with required": {
        "type": "object",
        "properties": {"paid": {"type": "boolean"}, "on": {"type": "string", "format": "date"}},
        "required": ["paid"],
        "additionalProperties": False,
        "if": {"properties": {"paid": {"const": True}}},
        "then": {"required": ["on"]},
    },
    "dependentRequired": {
        "type": "object",
        "properties": {"name": _STRING, "card": _INTEGER, "address": _STRING},
        "required": ["name"],
        "dependentRequired": {"card": ["address"]},
        "additionalProperties": False,
    },
    "unevaluatedProperties": {
        "allOf": [{"type": "object", "properties": {"a": _INTEGER}, "required": ["a"]}],
        "properties": {"b": {"type": "boolean"}},
        "required": ["b"],
        "unevaluatedProperties": False,
    },
    "unevaluatedItems": {
        "type": "array",
        "prefixItems": [{"const": "total"}, _INTEGER],
        "minItems": 2,
        "unevaluatedItems": False,
    },
    "contains": {"type": "array", "items": _INTEGER, "contains": {"const": 7}, "minItems": 2, "maxItems": 4},
    "oneOf": {"oneOf": [_object({"cat": {"type": "boolean"}}), _object({"dog": _INTEGER})]},
    "not": _object({"colour": {"enum": ["red", "green", "blue"], "not": {"const": "red"}}}),
    "patternProperties": {
        "type": "object",
        "patternProperties": {"^x_": _INTEGER},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 2,
    },
    "propertyNames": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z]{2,4}$"},
        "additionalProperties": {"type": "boolean"},
        "minProperties": 1,
        "maxProperties": 2,
    },
    "date and time": _object({"day": {"type": "string", "format": "date"}, "at": {"type": "string", "format": "time"}}),
    "ipv4 and uuid": _object({"ip": {"type": "string", "format": "ipv4"}, "id": {"type": "string", "format": "uuid"}}),
    "email": _object({"mail": {"type": "string", "format": "email", "maxLength": 20}}),
    "numbers with bounds": _object(
        {"n": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, "k": _INTEGER}
    ),
}


def schemas(data: Path) -> dict[str, Any]:
    """Return the forty by name; those of MaskBench stand at even distances in the file."""
    with gzip.open(data / "maskbench.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if len(json.dumps(row["schema"])) <= LONGEST]
    found = {row["id"]: row["schema"] for row in rows[:: len(rows) // MASKBENCH][:MASKBENCH]}
    return {**found, **OWN}
