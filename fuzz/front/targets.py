"""What is fuzzed of the front end: each target takes bytes and raises where something does not hold.

text      any bytes as a schema's text, under any options: a value, or SchemaError
pattern   any text as a regex: a tree, or RegexError; the engine then reads it, or meets a limit
records   a schema of the keywords that validators agree about: its records judge as jsonschema_rs does
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import jsonschema_rs
import records

from guard.kernels.errors import SchemaError
from guard.schemas import keywords, regex, scan
from guard.schemas.advice import advice, unknown_names
from guard.schemas.compiled import INEXACT, Compiled, FrontEnd, Options
from guard.schemas.limits import Limits

SECONDS = 5.0  #: Longest time for one input of at most LARGEST bytes; most take a hundred microseconds.
LARGEST = 20_000  #: Bytes of an input.
DEEPEST = 30  #: Of a schema whose records are judged: the judge recurses in Python.
LIMITS = Limits(bytes=LARGEST * 2, nodes=5_000, seconds=1.0, states=200_000)

DRAFTS = [None, *keywords.DIALECTS]
DOCUMENTS = {"urn:b": {"$defs": {"x": {"type": "string"}}, "$anchor": "a"}, "http://x/y": True}

#: Values that schemas tell apart.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, Decimal("2.5"), 10, "", "a", "ab", "é", "abc", [], [1], [1, 1], [1, "a", None]),
    *({}, {"a": 1}, {"a": "a", "b": 2}, {"b": {"a": None}}, {"x": [], "a": {}}, [[], {}], [{"a": 1}, {"a": 2}]),
)
#: Keywords on whose meaning jsonschema_rs and Guard agree for every value of VALUES.
AGREED = frozenset(
    {
        *("type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "properties", "patternProperties", "additionalProperties", "required"),
        *("propertyNames", "minProperties", "maxProperties", "dependentRequired", "dependentSchemas", "items"),
        *("prefixItems", "contains", "minContains", "maxContains", "minItems", "maxItems", "uniqueItems", "allOf"),
        *("anyOf", "oneOf", "not", "if", "then", "else", "unevaluatedProperties", "unevaluatedItems", "$ref", "$defs"),
        *("title", "description", "default", "examples"),
    }
)
#: Patterns that every dialect of regexes reads alike.
PLAIN = re.compile(r"\^?(?:[a-zé0-9 _-](?:[*+?]|\{[0-9]\})?)*\$?")


def text(data: bytes) -> None:
    """Compile any bytes, lower every node, and make the report."""
    if len(data) < 2 or len(data) > LARGEST:
        return
    choice, schema = data[0], data[1:]
    options = Options(
        draft=DRAFTS[choice % len(DRAFTS)], formats=bool(choice & 64), inexact=INEXACT[choice >> 7], limits=LIMITS
    )
    started = time.perf_counter()
    try:
        front = FrontEnd(schema, options, DOCUMENTS)
    except SchemaError:
        return
    finally:
        assert time.perf_counter() - started < SECONDS, "slow"
    front.lower(list(range(len(front.documents.schemas))))
    scan.report(front.documents, front.scan, assert_formats=options.formats)
    advice(front.documents, assert_formats=options.formats)
    unknown_names(front.documents)
    assert time.perf_counter() - started < SECONDS, "slow"


def pattern(data: bytes) -> None:
    """Read any text as a regex; what is read reaches the engine's languages without an error but a limit."""
    source = data[:2_000].decode("utf-8", "replace")
    started = time.perf_counter()
    try:
        found = regex.parse(source)
    except regex.RegexError:
        return
    finally:
        assert time.perf_counter() - started < SECONDS, "slow"
    if found.back_reference is None:
        try:
            Compiled(FrontEnd({"type": "string", "pattern": source}, Options(limits=LIMITS), {}))
        except SchemaError as error:
            if error.limit is None:
                raise


def judged(data: bytes) -> None:
    """Compare the records of a schema with a validator, on values that schemas tell apart."""
    try:
        schema = json.loads(data[1:LARGEST])
    except (ValueError, RecursionError):
        return
    if not isinstance(schema, dict) or not agreed(schema):
        return
    try:
        front = FrontEnd(schema, Options(formats=False, limits=LIMITS), {})
    except SchemaError:
        return
    try:
        validator = jsonschema_rs.Draft202012Validator(schema, offline=True)
    except (ValueError, jsonschema_rs.ReferencingError):
        return
    judge = records.Judge(front)
    for value in VALUES:
        try:
            expected = validator.is_valid(plain(value))
        except ValueError:
            continue
        assert judge.accepts(value) == expected, f"{json.dumps(schema)}: {plain(value)!r} is valid: {expected}"


def agreed(schema: Any) -> bool:
    """Say whether a schema holds nothing on which validators differ."""
    todo: list[tuple[Any, int]] = [(schema, 0)]
    while todo:
        item, depth = todo.pop()
        if depth > DEEPEST:
            return False
        if isinstance(item, dict):
            if "$ref" in item and item["$ref"] not in ("#", "#/$defs/x", "#/$defs/y"):
                return False
            sources = [item["pattern"]] if isinstance(item.get("pattern"), str) else []
            if isinstance(item.get("patternProperties"), dict):
                sources += item["patternProperties"]
            if not all(PLAIN.fullmatch(source) for source in sources):
                return False
            if any(len(name) > 3 and name not in AGREED for name in item):
                return False
            todo += [(child, depth + 1) for child in item.values()]
        elif isinstance(item, list):
            todo += [(child, depth + 1) for child in item]
        elif (
            (isinstance(item, str) and any("\ud800" <= c <= "\udfff" for c in item))
            or isinstance(item, float)
            or (isinstance(item, int) and abs(item) > 10**9)
        ):
            return False
    return True


def plain(value: Any) -> Any:
    """Return a value with floats for Decimals, all of which have one."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


TARGETS: dict[str, Callable[[bytes], None]] = {"text": text, "pattern": pattern, "records": judged}
