"""Three referees of whether a JSON text is valid: jsonschema, jsonschema_rs, and the records' judge.

All read numbers exactly, as integers and Decimals, and reject duplicate keys. Validators have faults of their own, so
only what all three say counts; a text on which they differ is set aside, and whoever asks counts those. The first two
share nothing with Guard; the third shares its front end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal, localcontext
from functools import cache, cached_property  # noqa: TID251 (a referee takes nothing from guard)
from typing import Any

import jsonschema
import jsonschema_rs
import records
import referencing
import referencing.exceptions

from guard.schemas.compiled import FrontEnd, Options

DIGITS = 2000  #: Precision of decimal remainders: no number in the tests is longer.


def is_integer(_: Any, value: Any) -> bool:
    """Say whether a number is an integer by value."""
    if isinstance(value, Decimal):
        return value == value.to_integral_value()
    return isinstance(value, int) and not isinstance(value, bool)


_OLD_TYPES = {"draft4", "openapi3.0"}  #: Dialects where 1.0 is no integer: its text decides.
_PYTHON = {
    "draft4": jsonschema.Draft4Validator,
    "draft6": jsonschema.Draft6Validator,
    "draft7": jsonschema.Draft7Validator,
    "draft2019-09": jsonschema.Draft201909Validator,
    "draft2020-12": jsonschema.Draft202012Validator,
}
_RUST = {
    "draft4": jsonschema_rs.Draft4Validator,
    "draft6": jsonschema_rs.Draft6Validator,
    "draft7": jsonschema_rs.Draft7Validator,
    "draft2019-09": jsonschema_rs.Draft201909Validator,
    "draft2020-12": jsonschema_rs.Draft202012Validator,
}


@cache
def exact(draft: str) -> Any:
    """Return jsonschema's validator of a draft, with integers by value where the draft has them so."""
    kind = _PYTHON[draft]
    if draft in _OLD_TYPES:
        return kind
    return jsonschema.validators.extend(kind, type_checker=kind.TYPE_CHECKER.redefine("integer", is_integer))


def in_a_draft(schema: Any, draft: str) -> tuple[Any, str]:
    """Return a schema of OpenAPI 3.0 as one of draft 4, any other as it is."""
    return (_without_nullable(schema), "draft4") if draft == "openapi3.0" else (schema, draft)


def _without_nullable(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {k: v if k in ("const", "enum") else _without_nullable(v) for k, v in schema.items()}
    if out.pop("nullable", False) is True and "type" in out:
        kinds = out["type"] if isinstance(out["type"], list) else [out["type"]]
        out["type"] = list(dict.fromkeys([*kinds, "null"]))
    return out


def validator(schema: Any, draft: str, documents: Mapping[str, Any] | None = None) -> Any:
    """Return the fastest referee of a schema, jsonschema_rs. Documents, by URI, name their own dialects."""
    schema, draft = in_a_draft(schema, draft)
    if not documents:
        return _RUST[draft](schema, validate_formats=True)
    registry = jsonschema_rs.Registry([(uri, _named(d)) for uri, d in documents.items()])
    return _RUST[draft](schema, validate_formats=True, registry=registry)


def _named(document: Any) -> Any:
    """Return a document with its dialect named; those that name none are of OpenAPI 3.0."""
    if "$schema" in document:
        return document
    return {"$schema": _PYTHON["draft4"].META_SCHEMA["$schema"], **_without_nullable(document)}


class DuplicateKeyError(ValueError):
    """A text that writes a key twice, which Guard never allows."""


def parse(text: str | bytes) -> Any:
    """Read JSON, with Decimals for fractions; ValueError where it is none or repeats a key."""
    return json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_members)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise DuplicateKeyError([name for name, _ in pairs])
    return out


class Referees:
    """The referees of one schema."""

    def __init__(
        self, schema: Any, draft: str = "draft2020-12", documents: Mapping[str, Any] | None = None, default: str = ""
    ) -> None:
        """Take a schema of a draft, documents, and the draft of what names none (the schema's unless given)."""
        self._schema, self._draft, self._documents = schema, draft, documents or {}
        self._default = default or draft
        self._by_text = bool({draft, self._default} & _OLD_TYPES)
        #: What the fastest says of a value of ints and floats.
        self.quick_of = validator(schema, draft, documents).is_valid

    @cached_property
    def _python(self) -> Any:
        schema, draft = in_a_draft(json.loads(json.dumps(self._schema), parse_float=Decimal), self._draft)
        kind = exact(draft)
        registry: Any = referencing.Registry()
        for uri, document in self._documents.items():
            contents = json.loads(json.dumps(_named(document)), parse_float=Decimal)
            # Old drafts' `dependencies` on names stop the search for names of resources; those documents have none.
            old = "draft-0" in contents["$schema"]
            make = referencing.Specification.OPAQUE.create_resource if old else referencing.Resource.from_contents
            registry = registry.with_resource(uri, make(contents))
        return kind(schema, format_checker=kind.FORMAT_CHECKER, registry=registry)

    @cached_property
    def _records(self) -> records.Judge:
        return records.Judge(FrontEnd(self._schema, Options(draft=self._default), self._documents))

    def verdict(self, text: str | bytes) -> bool | None:
        """Say whether a text is valid; None where the referees differ."""
        try:
            value = parse(text)
        except DuplicateKeyError:
            return False
        return self.verdict_of(value)

    def verdict_of(self, value: Any) -> bool | None:
        """Say whether a value, with Decimals for fractions, is valid; None where the referees differ."""
        with localcontext() as context:
            context.prec = DIGITS
            try:
                plain = value if self._by_text else _as_ints(value)
                said = {self.quick(value), self._python.is_valid(plain), self._records.accepts(value)}
            except (referencing.exceptions.Unresolvable, TypeError):
                return None  # jsonschema loses its way from dynamic references, and counts the items of `items: true`
        return said.pop() if len(said) == 1 else None

    def quick(self, value: Any) -> bool:
        """Say what the fastest of them says of a value with Decimals."""
        return bool(self.quick_of(_as_floats(value, self._by_text)))


def _as_ints(value: Any) -> Any:
    """Replace Decimals by ints where they are integers."""
    if isinstance(value, Decimal) and value == value.to_integral_value() and value.adjusted() < DIGITS:
        return int(value)
    if isinstance(value, list):
        return [_as_ints(item) for item in value]
    return {name: _as_ints(item) for name, item in value.items()} if isinstance(value, dict) else value


def _as_floats(value: Any, by_text: bool) -> Any:
    """Replace Decimals by ints and floats wherever these are exactly the same number."""
    if isinstance(value, Decimal):
        if not by_text and value == value.to_integral_value() and value.adjusted() < DIGITS:
            return int(value)
        near = float(value)
        return near if Decimal(repr(near)) == value else value
    if isinstance(value, list):
        return [_as_floats(item, by_text) for item in value]
    if isinstance(value, dict):
        return {name: _as_floats(item, by_text) for name, item in value.items()}
    return value
