"""Objects of classes while their fields still arrive, made without the classes' own code.

A model, a dataclass or a named tuple is put together from the fields that have come: its constructor, its validators
and its post-init are for the whole value. A field that has not come has its default. A factory of defaults is called
once for each object of the answer; where it fails, or is made of other fields, the field is None till the end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from guard.support.interrupts import is_injected

T = TypeVar("T")
Values = dict[str, Any]
#: Makes one object of an answer, anew for each partial value, of what is known of its fields.
Make = Callable[[Values], Any]


def attempt(work: Callable[[], T], otherwise: T) -> T:
    """Return what some work returns; `otherwise` where it raises, but for what a signal handler raises in it."""
    try:
        return work()
    except Exception as error:
        if is_injected(error):
            raise
        return otherwise


class Defaults:
    """The defaults of one object: of its fields, or of its private attributes. Each is made once, then copied."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields
        self._made: Values = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = attempt(lambda: _default(self._fields[name]), None)
        made = self._made[name]
        return attempt(lambda: made if _is_hashable(made) else copy.deepcopy(made), None)


def _default(field: Any) -> Any:
    from pydantic_core import PydanticUndefined

    if field.default_factory is None:
        return None if field.default is PydanticUndefined else field.default
    return None if getattr(field, "default_factory_takes_validated_data", False) else field.default_factory()


def _is_hashable(value: Any) -> bool:
    """Whether a value is one that Pydantic does not copy, as it is no container that can change."""
    return attempt(lambda: hash(value), None) is not None


def of_model(wanted: Any) -> Make:
    """Return what makes one partial object of a model."""
    fields, private = wanted.model_fields, wanted.__private_attributes__
    defaults, own = Defaults(fields), Defaults(private)
    has_extra = wanted.model_config.get("extra") == "allow"

    def make(values: Values) -> Any:
        extra = {name: value for name, value in values.items() if name not in fields}
        return _assembled(
            wanted,
            __dict__={name: values[name] if name in values else defaults[name] for name in fields},
            __pydantic_fields_set__={name for name, value in values.items() if value is not None},
            __pydantic_extra__=extra if has_extra else None,
            __pydantic_private__={name: own[name] for name in private} if private else None,
        )

    return make


def of_root_model(wanted: Any, value: Any) -> Any:
    """Return a partial object of a model that is one value."""
    return _assembled(wanted, __dict__={"root": value}, __pydantic_fields_set__={"root"})


def of_dataclass(wanted: Any, fields: Mapping[str, Any]) -> Make:
    """Return what makes one partial object of a dataclass, whose fields are given as Pydantic's."""
    defaults = Defaults(fields)

    def make(values: Values) -> Any:
        made = object.__new__(wanted)
        for name in fields:
            object.__setattr__(made, name, values[name] if name in values else defaults[name])
        return made

    return make


def of_named_tuple(wanted: Any, values: Iterable[Any]) -> Any:
    """Return a partial named tuple of its first items."""
    known = list(values)
    rest = [wanted._field_defaults.get(name) for name in wanted._fields[len(known) :]]
    return tuple.__new__(wanted, [*known, *rest])


def hashable(make: Callable[[Iterable[Any]], T], values: list[Any]) -> T:
    """Return a set of those values that may be in one. What is frozen may hold what is not."""
    return make(value for value in values if _is_hashable(value))


def _assembled(wanted: Any, **parts: Any) -> Any:
    made = wanted.__new__(wanted)
    for name, value in parts.items():
        object.__setattr__(made, name, value)
    return made
