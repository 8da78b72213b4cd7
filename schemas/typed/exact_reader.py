"""Pydantic's reader of a type, without what is no value of the type although Pydantic takes it for one.

It makes infinity of `"inf"`, and of an integer beyond what a double holds: here that is an error, unless the type says
`allow_inf_nan=True`. Of an `Iterable` it makes an iterator that reads no item before it is asked for it: here that is a
list, whose items are read. And it reads a number with a fraction as a double, which loses digits: here a decimal or an
integer is the number that is written.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from decimal import Decimal, InvalidOperation
from typing import Any

import pydantic
from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

from guard.kernels.cached import cached_property

#: Where a core schema has others: alone, in lists, or by names.
_INNER = frozenset((
    *("schema", "items_schema", "keys_schema", "values_schema", "extras_schema", "extras_keys_schema", "lax_schema"),
    *("strict_schema", "json_schema", "python_schema", "arguments_schema", "var_args_schema", "var_kwargs_schema"),
    *("steps", "definitions"),
))  # fmt: skip
_NAMED = ("fields", "choices")
#: Without it, Pydantic takes a model's own reader in place of what its schema says.
_ANEW: Any = {"_use_prebuilt": False} if "_use_prebuilt" in str(inspect.signature(SchemaValidator)) else {}
#: What a number has that a double may round: more than 15 digits, or an exponent below which digits are lost.
_MAY_LOSE = re.compile(r"[0-9][0-9.]{15}|[eE]-[0-9]{3}")
#: The doubles of the text that is read whose digits are not those that are written, with what is; None: it is not sure.
_WRITTEN: ContextVar[Mapping[float, Decimal | None]] = ContextVar("written")


class ExactReader:
    """Reads the values of one type."""

    def __init__(self, adapter: pydantic.TypeAdapter[Any]) -> None:
        given: Any = adapter.core_schema
        self._schema = _exact(given, {}, {"float": _finite, "generator": _list})
        self._plain = adapter.validator if self._schema == given else SchemaValidator(self._schema, **_ANEW)

    @cached_property
    def _by_digits(self) -> SchemaValidator:
        exact = _exact(self._schema, {}, {"decimal": _decimal, "int": _as_written})
        return SchemaValidator(exact, **_ANEW)

    def validate_json(self, text: str, *, strict: bool | None = None) -> Any:
        """Return the value of a JSON text; Pydantic's ValidationError where it has none."""
        written = _lost(text) if _MAY_LOSE.search(text) else {}
        if not written:
            return self._plain.validate_json(text, strict=strict)
        token = _WRITTEN.set(written)
        try:
            return self._by_digits.validate_json(text, strict=strict)
        finally:
            _WRITTEN.reset(token)

    def validate_strings(self, key: Any) -> Any:
        """Return the value of a key's text; Pydantic's ValidationError where it has none."""
        return self._plain.validate_strings(key)


def _lost(text: str) -> dict[float, Decimal | None]:
    """Return the doubles of a JSON text that differ from what is written, with that; None: two that are one double."""
    written: dict[float, Decimal | None] = {}

    def note(number: str) -> None:
        double = float(number)
        try:
            said = Decimal(number)
        except InvalidOperation:  # an exponent beyond any decimal
            said = None
        written[double] = said if written.get(double, said) == said else None

    json.loads(text, parse_float=note)
    return {double: said for double, said in written.items() if said is None or said != Decimal(repr(double))}


def _exact(schema: Any, config: Mapping[str, Any], rules: Mapping[str, Any]) -> Any:
    """Return a core schema, or what holds some, with those of some types replaced."""
    if isinstance(schema, list | tuple):
        return type(schema)(_exact(part, config, rules) for part in schema)
    if not isinstance(schema, dict):
        return schema
    config = schema.get("config") or config
    out = {key: _exact(value, config, rules) if key in _INNER else value for key, value in schema.items()}
    for key in _NAMED:
        if isinstance(named := schema.get(key), dict):
            out[key] = {name: _exact(part, config, rules) for name, part in named.items()}
        elif named is not None:
            out[key] = _exact(named, config, rules)
    rule = rules.get(schema.get("type", ""))
    return out if rule is None else rule(out, config)


def _finite(schema: Any, config: Mapping[str, Any]) -> Any:
    return {"allow_inf_nan": config.get("allow_inf_nan") is True, **schema}


def _list(schema: Any, config: Mapping[str, Any]) -> Any:
    del config
    return {**schema, "type": "list"}


def _decimal(schema: Any, config: Mapping[str, Any]) -> Any:
    """Return a schema of decimals as written. In JSON the strict ones are read from texts, too."""
    return _as_written({**schema, "strict": False}, config)


def _as_written(schema: Any, config: Mapping[str, Any]) -> Any:
    del config
    ref = schema.get("ref")
    bare = {key: value for key, value in schema.items() if key != "ref"}
    return core_schema.no_info_before_validator_function(_digits, bare, ref=ref)


def _digits(value: Any) -> Any:
    """Return a number as it is written."""
    if not isinstance(value, float):
        return value
    said = _WRITTEN.get().get(value, value)
    if said is None:
        words = "Input should be a number of no more than 15 digits, or a text: others like it are one double"
        raise PydanticCustomError("digits", words)
    return said
