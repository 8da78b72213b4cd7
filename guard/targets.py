"""What a call asks for: a type or a JSON Schema, compiled for masks, with the check that follows decoding.

A type is checked by Pydantic, which also builds the value; a plain schema by jsonschema-rs, whose value is what
`json.loads` gives. Both are independent of the mask engine: nothing is valid because the masks said so.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from guard import streaming
from guard.errors import Finding, SchemaError
from guard.interrupts import is_injected
from guard.violations import Violation, clipped, pointer

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from guard.schemas import Compiled

#: A reply's text in, the value (None where there are findings) and the findings out.
Check = Callable[[str], tuple[Any, tuple[Violation, ...]]]

NOT_JSON = "json"  #: The rule of a finding about a text that is not JSON.
CACHED_TARGETS = 256  #: Types kept compiled for `Guard.generate`; a decorated function holds its own.

#: What a keyword of JSON Schema expects, by the name jsonschema-rs gives the kind of error.
_EXPECTED = {
    "additionalProperties": "no further properties",
    "const": "the value {}",
    "enum": "one of {}",
    "exclusiveMaximum": "a number < {}",
    "exclusiveMinimum": "a number > {}",
    "falseSchema": "no value at all",
    "format": "a text of format {}",
    "maxItems": "at most {} items",
    "maxLength": "at most {} characters",
    "maxProperties": "at most {} properties",
    "maximum": "a number <= {}",
    "minItems": "at least {} items",
    "minLength": "at least {} characters",
    "minProperties": "at least {} properties",
    "minimum": "a number >= {}",
    "multipleOf": "a multiple of {}",
    "pattern": "a text that matches {}",
    "required": "the property {}",
    "type": "a value of type {}",
    "uniqueItems": "items that differ",
}
#: The validator of jsonschema-rs for a dialect.
JUDGES = {
    "draft4": "Draft4Validator",
    "draft6": "Draft6Validator",
    "draft7": "Draft7Validator",
    "draft2019-09": "Draft201909Validator",
    "draft2020-12": "Draft202012Validator",
    "openapi3.0": "Draft4Validator",
    "openapi3.1": "Draft202012Validator",
}
_NAMED = frozenset({"properties", "$defs"})  #: Keywords whose values are schemas by name.
_EXACT = 2.0**53  #: From here on a double may not be the whole number that was written.
_PATTERNS = "patternProperties"
#: The same, of plain schemas of every dialect.
_BY_NAME = _NAMED | {_PATTERNS, "definitions", "dependencies", "dependentSchemas"}
_LITERAL = ("const", "default", "enum", "example", "examples")  #: Keywords whose values are not schemas.
#: How Pydantic words what it expected: "Input should be a valid integer", "String should match pattern '^x'".
_SHOULD = re.compile(r"(?P<noun>\w+) should (?P<be>be )?(?P<rest>.*)", re.DOTALL)
_RAISED = ("Value error, ", "Assertion failed, ")  #: How Pydantic opens the words of a validator of the user's own.


@dataclass(frozen=True)
class Target:
    """A compiled type or schema and its check."""

    name: str  # how a person calls it: "Invoice"
    schema: Any  # as compiled
    compiled: Compiled
    check: Check
    partial: Callable[[str], Any]  # the beginning of a text in, what is known of the value out: guard/streaming.py
    refused: SchemaError | None = None  # why masks can't enforce it all: only models without masks may be asked


def from_any(wanted: Any, options: Mapping[str, Any]) -> Target:
    """Return the target of a type or a JSON Schema (dict, bool, or JSON text); SchemaError where it is refused."""
    if is_schema(wanted):
        return _from_schema(wanted, options)
    try:
        return _cached_type(wanted, tuple(sorted(options.items())))
    except TypeError as error:  # unhashable: an annotation such as Annotated[int, []], or an option
        if "unhashable" not in str(error):
            raise
        return _from_type(wanted, options)


def is_schema(wanted: Any) -> bool:
    """Answer whether something is a JSON Schema rather than a type."""
    return isinstance(wanted, Mapping | bool | str | bytes)


def closed(schema: Any) -> Any:
    """Return the schema that Pydantic made of a type with its objects closed to keys that the type does not declare.

    Pydantic drops such keys or refuses them, so no value is lost; a model that may write them goes on inventing them.
    Types that keep them (`extra="allow"`) say so in their schema and stay open.
    """
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy = {
        key: {name: closed(part) for name, part in value.items()} if key in _NAMED else closed(value)
        for key, value in schema.items()
        if key not in _LITERAL
    }
    copy.update((key, schema[key]) for key in _LITERAL if key in schema)
    if schema.get("type") == "object" and "properties" in schema:
        copy.setdefault("additionalProperties", False)
    return copy


@functools.lru_cache(CACHED_TARGETS)
def _cached_type(wanted: Any, options: tuple[tuple[str, Any], ...]) -> Target:
    return _from_type(wanted, dict(options))


def _from_type(wanted: Any, options: Mapping[str, Any]) -> Target:
    import pydantic

    from guard import schemas
    from guard.schemas import types

    schema = closed(types.json_schema(wanted))
    compiled = schemas.compile(schema, **options)
    adapter = types.adapter(wanted)

    def check(text: str) -> tuple[Any, tuple[Violation, ...]]:
        value, findings = _read(text)
        if findings:
            return None, findings
        try:
            return adapter.validate_json(text), ()
        except pydantic.ValidationError as error:
            return None, _from_pydantic(error.errors(include_url=False, include_context=False), value)

    name = getattr(wanted, "__name__", None) or str(wanted)
    return Target(name, schema, compiled, check, functools.partial(streaming.partial, wanted))


def _from_schema(given: Any, options: Mapping[str, Any]) -> Target:
    import jsonschema_rs

    from guard import schemas

    compiled = schemas.compile(given, **options)
    schema = compiled.schema
    draft = compiled.draft
    registry = None
    if documents := options.get("documents"):
        registry = jsonschema_rs.Registry([(uri, judged(document, draft)) for uri, document in documents.items()])
    judge = getattr(jsonschema_rs, JUDGES[draft])
    try:
        validator = judge(
            judged(schema, draft), validate_formats=options.get("formats", True), registry=registry, offline=True
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:  # a residual keyword
        at = pointer(getattr(error, "instance_path", ()))
        words = f"jsonschema-rs can't check it: {str(error).splitlines()[0]}"
        raise SchemaError(Finding(at, None, words, "say it without what it does not know")) from None

    is_large = holds_large(schema)

    def check(text: str) -> tuple[Any, tuple[Violation, ...]]:
        value, findings = _read(text)
        if findings:
            return None, findings
        try:
            meant = decimal(value) if is_large else value
        except RecursionError:
            return None, _too_deep(text)
        findings = tuple(_from_jsonschema(error) for error in validator.iter_errors(meant))
        return (None, findings) if findings else (value, ())

    title = schema.get("title") if isinstance(schema, Mapping) else None
    name = title if isinstance(title, str) else "schema"
    return Target(name, schema, compiled, check, functools.partial(streaming.partial, None))


def _read(text: str) -> tuple[Any, tuple[Violation, ...]]:
    """Read a text as RFC 8259 has it, with no key twice in an object; returns the value, or what is wrong."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        text.encode()
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
        return value, ()
    except UnicodeEncodeError:
        return None, (Violation("", NOT_JSON, "JSON (of Unicode: no half of a surrogate pair)", clipped(text)),)
    except ValueError as error:
        if is_injected(error):
            raise
        return None, (Violation("", NOT_JSON, f"JSON ({error})", clipped(text)),)
    except RecursionError:
        return None, _too_deep(text)


def _too_deep(text: str) -> tuple[Violation, ...]:
    return (Violation("", "nesting", "JSON that is nested less deeply", clipped(text)),)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {clipped(twice)} is there twice in one object")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON's")


def holds_large(schema: Any) -> bool:
    """Answer whether a schema holds a whole number that was read as a double which may not be that number."""
    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, float) and abs(part) >= _EXACT:
            return True
        left += part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
    return False


def decimal(value: Any) -> Any:
    """Return JSON with such numbers as they were written, 10**308 for 1e308: doubles are not the digits they spell."""
    if isinstance(value, float):
        return int(Decimal(repr(value))) if _EXACT <= abs(value) < float("inf") else value
    if isinstance(value, list):
        return [decimal(part) for part in value]
    return {key: decimal(part) for key, part in value.items()} if isinstance(value, Mapping) else value


def judged(schema: Any, draft: str) -> Any:
    r"""Return a schema of a dialect as jsonschema-rs is to read it.

    `nullable` of OpenAPI 3.0 is said as draft 4 says it: the type may be null. `\<` and `\>` in patterns, which are
    characters by ECMA 262, become these characters: to the regular expressions of Rust they are ends of words. Where
    `holds_large`, numbers are decimals, and so must those of the value be.
    """
    schema = decimal(schema) if holds_large(schema) else schema
    if draft != "openapi3.0":
        text = json.dumps(schema)
        if "\\\\<" not in text and "\\\\>" not in text:
            return schema
    return _judged(schema, is_nullable=draft == "openapi3.0")


def _judged(schema: Any, *, is_nullable: bool) -> Any:
    if isinstance(schema, list):
        return [_judged(part, is_nullable=is_nullable) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _LITERAL:
            copy[key] = value
        elif key in _BY_NAME and isinstance(value, Mapping):
            parts = {name: _judged(part, is_nullable=is_nullable) for name, part in value.items()}
            copy[key] = {_unescaped(name): part for name, part in parts.items()} if key == _PATTERNS else parts
        elif key == "pattern" and isinstance(value, str):
            copy[key] = _unescaped(value)
        else:
            copy[key] = _judged(value, is_nullable=is_nullable)
    if is_nullable and schema.get("nullable") is True and isinstance(schema.get("type"), str):
        copy["type"] = [schema["type"], "null"]
    return copy


def _unescaped(pattern: str) -> str:
    return re.sub(r"\\(.)", lambda pair: pair[1] if pair[1] in "<>" else pair[0], pattern, flags=re.DOTALL)


def _from_pydantic(errors: list[ErrorDetails], value: Any) -> tuple[Violation, ...]:
    return tuple(
        Violation(
            at=pointer(_path(error["loc"], value, missing=error["type"] == "missing")),
            rule=error["type"],
            expected=_expected(error["type"], error["msg"], error["loc"]),
            got="nothing" if error["type"] == "missing" else clipped(error["input"]),
        )
        for error in errors
    )


def _path(loc: tuple[int | str, ...], value: Any, *, missing: bool) -> list[int | str]:
    """Keep the steps of a Pydantic location that lead into the value; the others name branches of unions."""
    path: list[int | str] = []
    for index, step in enumerate(loc):
        if isinstance(value, dict) and step in value:  # noqa: SIM114 (mypy knows the types so)
            value = value[step]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        elif not (missing and index == len(loc) - 1):
            continue
        path.append(step)
    return path


def _expected(kind: str, message: str, loc: tuple[int | str, ...]) -> str:
    if kind == "missing":
        return f"the property {loc[-1]!r}"
    if kind == "extra_forbidden":
        return "no such property"
    for preamble in _RAISED:
        if message.startswith(preamble):
            return message[len(preamble) :]
    should = _SHOULD.fullmatch(message)
    if should is None:
        return message
    return should["rest"] if should["be"] else f"a {should['noun'].lower()} to {should['rest']}"


def _from_jsonschema(error: Any) -> Violation:
    kind, value = error.kind.name, getattr(error.kind, "value", None)
    words = _EXPECTED.get(kind)
    shown = " or ".join(sorted(value or ())) if kind == "type" else clipped(value)
    return Violation(
        at=pointer(error.instance_path),
        rule=pointer(error.schema_path),
        expected=words.format(shown) if words else f"{kind}: {error.message}",
        got=clipped(error.instance),
    )
