"""JSON text and JSON values: read strictly, copied, measured, and shown in messages.

A schema's JSON is plain: dict, list, str, int, float, bool, None, and Decimal where a float would lose digits. Text
that is not JSON, or that readers disagree about (NaN, a key twice, bytes that are no UTF-8), is refused here.
"""

from __future__ import annotations

import difflib
import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from guard.kernels._native import JsonTree
from guard.kernels.errors import Finding, SchemaError
from guard.kernels.json_pointer import pointer
from guard.schemas import leniency
from guard.schemas.keywords import Dialect
from guard.schemas.limits import Limits, limit_error

if TYPE_CHECKING:
    import jsonschema
    import jsonschema_rs

#: Words that a document holds below its root, anywhere (anchors), or at its root (any of the first three).
#: kernels/cpu/python/json_tree.hpp has the same.
ID, OLD_ID, SCHEMA, ANCHOR, ROOT = 1, 2, 4, 8, 16
#: Errors of one schema that are read, in an order that differs from process to process, and the first in the schema
#: that are worded; a schema with more has the same few reasons.
MOST_READ, MOST_ERRORS = 200, 20
#: Characters of a value that a message shows.
SHOWN = 60
#: Python converts no longer integer from text, because that takes quadratic time.
LONGEST_INTEGER = 4_000
_ENDLESS = 2**62


def clip(value: Any) -> str:
    """Return a short form of a value for a message, without walking a large one."""
    if isinstance(value, (dict, list)) and len(value) > 4:
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, str) and len(value) > SHOWN:
        value = value[:SHOWN]
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def parse(text: str | bytes | bytearray, limits: Limits, uri: str = "") -> Any:
    """Read a schema's JSON text, strictly. Raises SchemaError."""
    head = uri + "#" if uri else ""
    if len(text) > limits.bytes:
        raise limit_error(limits, "bytes", head, None, f"{len(text):,} bytes of JSON text")
    if not isinstance(text, str):
        try:
            text = bytes(text).decode("utf-8")
        except UnicodeDecodeError as error:
            raise SchemaError(
                Finding(head, None, f"not UTF-8: byte {error.start} is wrong", "save the schema as UTF-8")
            ) from error
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_constant,
            parse_float=_fraction,
            parse_int=int if len(text) <= LONGEST_INTEGER else _integer,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise SchemaError(Finding(head, None, f"not JSON: {error.msg} at {where}", "mend the text")) from error
    except RecursionError as error:
        raise too_deep(limits, head) from error
    except _NotStrictError as error:
        raise SchemaError(Finding(head, None, f"not JSON that readers agree on: {error}", "mend the text")) from error


class _NotStrictError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise _NotStrictError(f"an object has the key {clip(twice)} twice")
    return found


def _constant(name: str) -> Any:
    raise _NotStrictError(f"{name} is no JSON number")


def _fraction(text: str) -> float | Decimal:
    number = float(text)
    if math.isfinite(number) and len(text) < LONGEST_INTEGER and Decimal(repr(number)) == Decimal(text):
        return number
    try:
        return Decimal(text)
    except ArithmeticError as error:
        raise _NotStrictError(f"the exponent of {clip(text)} is out of every range") from error


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= LONGEST_INTEGER else Decimal(text)


def far_number(contents: Any) -> str | None:
    """Return the JSON Pointer of a number that no double holds exactly, or None. O(values)."""
    left: list[tuple[tuple[object, ...], Any]] = [((), contents)]
    while left:
        path, part = left.pop()
        if isinstance(part, Decimal):
            return pointer(path)
        if isinstance(part, dict):
            left += [((*path, name), inner) for name, inner in part.items()]
        elif isinstance(part, list):
            left += [((*path, index), inner) for index, inner in enumerate(part)]
    return None


def too_deep(limits: Limits, where: str) -> SchemaError:
    """Word the refusal of a schema that nests too deep."""
    return limit_error(limits, "depth", where, None, "JSON that nests deeper")


def measure(value: Any, limits: Limits, where: str) -> None:
    """Check that a value is no deeper or larger than the limits allow, whatever of it is shared or cyclic."""
    level: list[Any] = [value] if isinstance(value, (Mapping, list, tuple)) else []
    levels, count = 0, 0
    while level:
        below: list[Any] = []
        for container in level:
            for item in container.values() if isinstance(container, Mapping) else container:
                if isinstance(item, (Mapping, list, tuple)):
                    below.append(item)
                elif type(item) is int:
                    if item.bit_length() > LONGEST_INTEGER * 3:  # validators take it for null
                        raise limit_error(limits, "digits", where, None, "an integer of thousands of digits")
                elif type(item) is float and not math.isfinite(item):
                    raise SchemaError(Finding(where, None, f"{item} is no JSON number", "mend the schema"))
        count += len(below)
        if levels >= limits.depth:
            raise too_deep(limits, where)
        if count > limits.bytes >> 3:  # rarely are they this small, unless what is shared unfolds
            raise limit_error(limits, "bytes", where, None, f"more than {count:,} objects and arrays")
        level = below
        levels += 1


def private(schema: Any, limits: Limits, uri: str) -> JsonTree:
    """Return a private copy of a JSON value, a tree of plain types."""
    if isinstance(schema, (str, bytes, bytearray)):
        schema = parse(schema, limits, uri)
    copied = JsonTree.of(schema, limits.depth, limits.bytes)
    if copied is None:
        where = uri + "#" if uri else ""
        measure(schema, limits, where)
        copied = JsonTree.of(_plain(schema, limits, where), limits.depth, _ENDLESS, others=True)
        assert copied is not None  # what it has no type for is kept
    return copied


def _plain(schema: Any, limits: Limits, where: str) -> Any:
    """Copy a value within the limits that JsonTree.of doesn't take: subclasses of plain types, mappings, Decimals."""
    holder: list[Any] = [None]
    todo: list[tuple[Any, Any, Any]] = [(holder, 0, schema)]
    size = 0
    while todo:
        into, key, value = todo.pop()
        size += 1
        if value is None or isinstance(value, (bool, Decimal)):
            into[key] = value
        elif isinstance(value, str):
            into[key] = str.__str__(value)
            size += len(value)
        elif isinstance(value, int):
            into[key] = int(value)
        elif isinstance(value, float):
            into[key] = float(value)
        elif isinstance(value, Mapping):
            made: dict[str, Any] = {}
            into[key] = made
            for name in value:
                if not isinstance(name, str):
                    fix = "write every key of the schema as text, as JSON has it"
                    raise SchemaError(Finding(where, None, f"the key {clip(name)} is no string", fix))
                made[str.__str__(name)] = None
            todo += [(made, str.__str__(name), item) for name, item in value.items()]
        elif isinstance(value, (list, tuple)):
            into[key] = items = [None] * len(value)
            todo += [(items, index, item) for index, item in enumerate(value)]
        else:
            raise SchemaError(
                Finding(where, None, f"a {type(value).__name__} is no JSON value", "hand in plain JSON, or a type")
            )
        if size > limits.bytes:
            raise limit_error(limits, "bytes", where, None, f"more than {size:,} bytes of JSON")
    return holder[0]


def check_metaschema(schema: Any, dialect: Dialect, uri: str, path: str = "") -> None:
    """Check a schema against its dialect's metaschema; jsonschema words what is wrong. Raises SchemaError."""
    where = (uri + "#" if uri else "") + path
    if type(schema) is not dict:
        if type(schema) is bool and not dialect.boolean_bounds:
            return
        raise SchemaError(Finding(where, None, f"expected a schema, got {clip(schema)}"))
    declared = dialect.metaschema + ("#" if "draft-0" in dialect.metaschema else "")
    if schema.get("$schema") != declared:
        schema = schema | {"$schema": declared}
    import jsonschema_rs  # here: most schemas are plainly valid, and it takes a while

    try:
        valid = jsonschema_rs.meta.is_valid(schema)
        if not valid:
            schema = leniency.as_standard(schema, wants_names=dialect.boolean_bounds)
            valid = jsonschema_rs.meta.is_valid(schema)
        if not valid:
            raise _invalid(schema, dialect, where)
    except UnicodeEncodeError as error:
        message = f"a lone surrogate, {clip(error.object[error.start])}, in what must be text"
        raise SchemaError(Finding(where, None, message, "mend the schema")) from error


def _invalid(schema: dict[str, Any], dialect: Dialect, where: str) -> SchemaError:
    import jsonschema

    kind = jsonschema.validators.validator_for({"$schema": schema["$schema"]})
    try:
        errors = list(itertools.islice(kind(kind.META_SCHEMA).iter_errors(schema), MOST_READ))
        faults = [(list(best.absolute_path), best.message) for best in map(_deepest, errors)]
    except RecursionError:
        faults = []
    if not faults:  # too deep for it, or a regex that only the faster validator finds wrong
        faults = [(list(e.instance_path), e.message) for e in _errors_of_rust(schema)]
    findings = []
    told = sorted(
        {(tuple(path), message) for path, message in faults}, key=lambda one: (_place(schema, one[0]), one[1])
    )
    for path, message in told[:MOST_ERRORS]:
        keyword = next(
            (str(step) for step in reversed(path) if isinstance(step, str) and step in dialect.keywords), None
        )
        text = f"not a valid schema ({dialect.name}): {clip_line(message)}"
        findings.append(Finding(where + pointer(path), keyword, text, _fix(schema, path, dialect)))
    return SchemaError(findings or Finding(where, None, f"not a valid schema ({dialect.name})", "mend the schema"))


#: The names of types; others that people write for them.
_TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")
_TYPES_ELSEWHERE = {
    "str": "string",
    "text": "string",
    "date": "string",
    "datetime": "string",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "bool": "boolean",
    "dict": "object",
    "map": "object",
    "list": "array",
    "tuple": "array",
    "none": "null",
}


def _fix(schema: Any, path: tuple[str | int, ...], dialect: Dialect) -> str:
    """Return how to mend what a metaschema finds wrong at a place."""
    value = schema
    try:
        for step in path:
            value = value[step]
    except (LookupError, TypeError):  # jsonschema-rs leaves out a key that is empty
        return "mend the schema"
    keyword = path[-1] if path else None
    if keyword == "items" and isinstance(value, list) and "prefixItems" in dialect.keywords:
        return 'write prefixItems, or name a draft in which items may be a list, with $schema or draft="draft7"'
    if keyword in ("exclusiveMinimum", "exclusiveMaximum") and isinstance(value, bool):
        return 'write the bound itself, a number, or name the draft in which it is a flag, draft="draft4"'
    if keyword in ("exclusiveMinimum", "exclusiveMaximum") and dialect.boolean_bounds:
        return 'name a draft in which it is a number, with $schema or draft="draft7"'
    if keyword == "required" and isinstance(value, bool):
        return 'list the names of what must be there in the object around it: "required": ["name"]'
    if "type" in path[-2:] and isinstance(value, str):
        near = _TYPES_ELSEWHERE.get(value.lower()) or next(
            iter(difflib.get_close_matches(value.lower(), _TYPES, 1)), ""
        )
        return f'write "{near}"' if near else "leave it out to take any type, or write one of " + ", ".join(_TYPES)
    return "mend the schema"


def _place(schema: Any, path: tuple[str | int, ...]) -> list[int]:
    """Return where a path leads in the order of reading, as far as it leads: jsonschema-rs leaves out an empty key."""
    place, value = [], schema
    for step in path:
        is_list = isinstance(value, list)
        steps: list[Any] = [*range(len(value))] if is_list else [*value] if isinstance(value, dict) else []
        if step not in steps:
            break
        place.append(steps.index(step))
        value = value[step]
    return place


def _deepest(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    import jsonschema

    return jsonschema.exceptions.best_match([error]) or error


def _errors_of_rust(schema: dict[str, Any]) -> list[jsonschema_rs.ValidationError]:
    import jsonschema_rs

    try:
        jsonschema_rs.meta.validate(schema)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def clip_line(text: str) -> str:
    """Shorten a message of another library to a line."""
    text = text.partition("\n")[0]
    return text if len(text) <= 200 else text[:120] + " ... " + text[-75:]
