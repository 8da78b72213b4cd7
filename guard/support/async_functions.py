"""Functions that are awaited: how they are told before they are called."""

from __future__ import annotations

import asyncio.coroutines
import functools
import inspect
import sys
from typing import Any, TypeVar

F = TypeVar("F")


def mark(function: F) -> F:
    """Have Python take an object for a coroutine function, whose calls are awaited."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(function)  # type: ignore[type-var] # an object that is called
    else:  # asyncio alone looks for it
        vars(function)["_is_coroutine"] = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined] # no name is public
    return function


#: Attributes that `mark` may set; each process has its own.
MARKS = ("_is_coroutine", "_is_coroutine_marker")


def is_awaited(function: Any) -> bool:
    """Whether a call is awaited: of an `async def`, of an object whose `__call__` is one, of a partial of either."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
