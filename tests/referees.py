"""Three referees of whether a JSON text is valid: jsonschema, jsonschema_rs, and the records' judge.

All read numbers exactly, as integers and Decimals, and reject duplicate keys. Validators have faults of their own, so
only what all three say counts; a text on which they differ is set aside, and whoever asks counts those. The first two
share nothing with Guard; the third shares its front end.
"""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from typing import Any

import jsonschema
import jsonschema_rs
import records

from guard.schemas.compiled import FrontEnd, Options

DIGITS = 2000  #: Precision of decimal remainders: no number in the tests is longer.


def is_integer(_: Any, value: Any) -> bool:
    """Say whether a number is an integer by value."""
    if isinstance(value, Decimal):
        return value == value.to_integral_value()
    return isinstance(value, int) and not isinstance(value, bool)


EXACT = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer),
)


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
    """The referees of one schema of draft 2020-12."""

    def __init__(self, schema: Any) -> None:
        exact = json.loads(json.dumps(schema), parse_float=Decimal)
        self._rust = jsonschema_rs.Draft202012Validator(schema)
        self._python = EXACT(exact)
        self._records = records.Judge(FrontEnd(schema, Options(), {}))

    def verdict(self, text: str | bytes) -> bool | None:
        """Say whether a text is valid; None where the referees differ."""
        try:
            value = parse(text)
        except DuplicateKeyError:
            return False
        with localcontext() as context:
            context.prec = DIGITS
            said = {self.quick(value), self._python.is_valid(value), self._records.accepts(value)}
        return said.pop() if len(said) == 1 else None

    def quick(self, value: Any) -> bool:
        """Say what the fastest of them says of a value."""
        return self._rust.is_valid(_as_floats(value))


def _as_floats(value: Any) -> Any:
    """Replace Decimals by ints and floats wherever these are exactly the same number."""
    if isinstance(value, Decimal):
        if value == value.to_integral_value() and value.adjusted() < DIGITS:
            return int(value)
        near = float(value)
        return near if Decimal(repr(near)) == value else value
    if isinstance(value, list):
        return [_as_floats(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_floats(item) for name, item in value.items()}
    return value
