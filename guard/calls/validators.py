"""Validators of the user's own: what no schema can say, asked of a value that is valid already.

A validator takes the value and raises ValueError or AssertionError, or returns what it finds: None or True for
nothing, a sentence, a Violation, or several of either. False is a finding too, worded by the function's docstring.
Anything else that it raises is a fault of the validator and goes to the caller as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from guard.errors import Violation
from guard.support.async_functions import is_awaited
from guard.support.clipping import clipped
from guard.support.interrupts import is_injected

Validator = Callable[[Any], Any]


def check(value: Any, validators: Sequence[Validator]) -> tuple[Violation, ...]:
    """Return what all validators find."""
    found: list[Violation] = []
    for validator in validators:
        try:
            result = validator(value)
        except (ValueError, AssertionError) as error:
            if is_injected(error):
                raise
            result = str(error) or False
        found += _findings(result, validator, value)
    return tuple(found)


def check_validators(validators: Iterable[Any]) -> tuple[Validator, ...]:
    """Return the validators as a tuple; TypeError where one can't be called, or is async."""
    if callable(validators):
        raise TypeError(f"validators={validators!r} must be a list of functions")
    listed = tuple(validators)
    for validator in listed:
        if not callable(validator) or is_awaited(validator):
            raise TypeError(f"validators=[{validator!r}] must hold plain functions of the value")
    return listed


def _findings(result: Any, validator: Validator, value: Any) -> list[Violation]:
    name = getattr(validator, "__name__", type(validator).__name__)
    if result is None or result is True:
        return []
    if isinstance(result, Violation):
        return [result]
    if result is False:
        result = (inspect.getdoc(validator) or "").partition("\n")[0] or f"a value that {name} accepts"
    if isinstance(result, str):
        return [Violation("", name, result, clipped(value))]
    if isinstance(result, Iterable):
        return [finding for part in result for finding in _findings(part, validator, value)]
    raise TypeError(f"the validator {name} returned {result!r}; it may return None, findings or sentences")
