"""Partial values: what of a value is known while its text still arrives, as an object of the wanted type.

jiter reads the text as far as it goes. What is complete is converted as the type says; text that is still being written
is there as far as it goes where the field is a plain `str`; what has not come yet, or can't be converted as far as it
goes, is None. Validators of the type do not run before the end: a partial object is made without them
(`model_construct`), and only the last value is the validated one.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from typing import Any

from guard.schemas import types as schema_types

UNKNOWN = None  #: What stands for what has not come.


#: A number that more digits may follow: nothing is known of it yet.
_OPEN_NUMBER = re.compile(r"(?:\A|(?<=[\[:,\s]))-?[0-9][-+.0-9eE]*\Z")


def parsed(text: str) -> Any:
    """Return what the beginning of a JSON text says; None where that is nothing yet."""
    import jiter

    known = _OPEN_NUMBER.sub("", text)
    try:
        return jiter.from_json(known.encode(errors="replace"), partial_mode="trailing-strings")
    except ValueError:
        return UNKNOWN


def partial(wanted: Any, text: str) -> Any:
    """Return the partial object of a type, or of a schema (None as type), for the beginning of its text."""
    data = parsed(text)
    return data if wanted is None else _build(wanted, data)


def _build(wanted: Any, data: Any) -> Any:
    import pydantic

    if data is UNKNOWN:
        return UNKNOWN
    if isinstance(wanted, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
        return _build(wanted.__value__, data)
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Annotated:
        return _build(arguments[0], data)
    if origin in (typing.Union, types.UnionType):
        return _of_union([a for a in arguments if a is not type(None)], data)
    is_class = isinstance(wanted, type)
    if is_class and issubclass(wanted, pydantic.BaseModel) and not issubclass(wanted, pydantic.RootModel):
        return _of_model(wanted, data) if isinstance(data, dict) else UNKNOWN
    if is_class and dataclasses.is_dataclass(wanted):
        return _of_dataclass(wanted, data) if isinstance(data, dict) else UNKNOWN
    if typing.is_typeddict(wanted) and isinstance(data, dict):
        hints = typing.get_type_hints(wanted)
        return {key: _build(hints[key], value) for key, value in data.items() if key in hints}
    if origin in (list, tuple, set, frozenset) and isinstance(data, list):
        inner = arguments[0] if arguments else Any
        return [_build(inner, item) for item in data]
    if origin is dict and isinstance(data, dict):
        return {key: _build(arguments[1], value) for key, value in data.items()}
    if wanted in (Any, str, object):
        return data
    try:
        return schema_types.adapter(wanted).validate_python(data)
    except (pydantic.ValidationError, TypeError):
        return UNKNOWN


def _of_union(choices: list[Any], data: Any) -> Any:
    for choice in choices:
        built = _build(choice, data)
        if built is not UNKNOWN:
            return built
    return UNKNOWN


def _of_model(wanted: Any, data: dict[str, Any]) -> Any:
    values: dict[str, Any] = {}
    for name, field in wanted.model_fields.items():
        key = next((k for k in (field.validation_alias, field.alias, name) if isinstance(k, str) and k in data), None)
        if key is not None:
            values[name] = _build(field.annotation, data[key])
        elif field.is_required():
            values[name] = UNKNOWN
    known = {name for name, value in values.items() if value is not UNKNOWN}
    return wanted.model_construct(_fields_set=known, **values)


def _of_dataclass(wanted: Any, data: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(wanted, include_extras=True)
    built = object.__new__(wanted)
    for field in dataclasses.fields(wanted):
        object.__setattr__(built, field.name, _build(hints[field.name], data.get(field.name)))
    return built
