"""Pydantic's reader of a type, without what is no value of the type although Pydantic takes it for one.

It makes infinity of `"inf"`, and of an integer beyond what a double holds: here that is an error, unless the type says
`allow_inf_nan=True`. And of an `Iterable` it makes an iterator that reads no item before it is asked for it: here that
is a list, whose items are read.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pydantic
from pydantic_core import SchemaValidator

#: Where a core schema has others: alone, in lists, or by names.
_INNER = frozenset((
    *("schema", "items_schema", "keys_schema", "values_schema", "extras_schema", "extras_keys_schema", "lax_schema"),
    *("strict_schema", "json_schema", "python_schema", "arguments_schema", "var_args_schema", "var_kwargs_schema"),
    *("steps", "definitions"),
))  # fmt: skip
_NAMED = ("fields", "choices")
#: Without it, Pydantic takes a model's own reader in place of what its schema says.
_ANEW = {"_use_prebuilt": False} if "_use_prebuilt" in str(inspect.signature(SchemaValidator)) else {}


def reader(adapter: pydantic.TypeAdapter[Any]) -> SchemaValidator:
    """Return the reader for an adapter's type."""
    schema: Any = adapter.core_schema
    exact = _exact(schema, {})
    return adapter.validator if exact == schema else SchemaValidator(exact, **_ANEW)  # type: ignore[return-value] # a plugin wraps one


def _exact(schema: Any, config: Mapping[str, Any]) -> Any:
    """Return a core schema, or what holds some, with what is read exactly."""
    if isinstance(schema, list | tuple):
        return type(schema)(_exact(part, config) for part in schema)
    if not isinstance(schema, dict):
        return schema
    config = schema.get("config") or config
    out = {key: _exact(value, config) if key in _INNER else value for key, value in schema.items()}
    for key in _NAMED:
        if isinstance(named := schema.get(key), dict):
            out[key] = {name: _exact(part, config) for name, part in named.items()}
        elif named is not None:
            out[key] = _exact(named, config)
    kind = schema.get("type")
    if kind == "float":
        out.setdefault("allow_inf_nan", config.get("allow_inf_nan") is True)
    elif kind == "generator":
        out["type"] = "list"
    return out
