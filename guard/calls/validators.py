"""Validators of the user's own: what no schema can say, asked of a value that is valid already.

A validator takes the value and raises ValueError or AssertionError, or returns (or yields) what it finds: None or True
for nothing, a sentence, a Violation, or several of either. False is a finding too, worded by the function's docstring.
Anything else that it raises is a fault of the validator and goes to the caller as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
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
            found.extend(_findings(validator(value), validator, value))  # also what a generator finds before it raises
        except (ValueError, AssertionError) as error:
            if is_injected(error):
                raise
            found += _findings(str(error) or False, validator, value)
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


def _findings(result: Any, validator: Validator, value: Any) -> Iterator[Violation]:
    name = getattr(validator, "__name__", type(validator).__name__)
    if result is None or result is True:
        return
    if result is False:
        result = (inspect.getdoc(validator) or "").partition("\n")[0] or f"a value that {name} accepts"
    if isinstance(result, Violation):
        yield result
    elif isinstance(result, str):
        yield Violation("", name, result, clipped(value))
    elif isinstance(result, Iterable):
        for part in result:
            yield from _findings(part, validator, value)
    else:
        raise TypeError(f"the validator {name} returned {result!r}; it may return None, findings or sentences")
