"""What is awaited is known before it is called."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from typing import Any

import pytest

from guard.support.async_functions import is_awaited, mark


async def awaited(n: int = 1) -> int:
    """Give a number, later."""
    return n


def given(n: int = 1) -> int:
    """Give a number."""
    return n


class Later:
    """Something that is called, and awaited."""

    async def __call__(self) -> int:
        """Give a number, later."""
        return 1

    async def method(self) -> int:
        """Give a number, later."""
        return 1


class Now:
    """Something that is called."""

    def __call__(self) -> int:
        """Give a number."""
        return 1


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (awaited, True),
        (functools.partial(awaited, 2), True),
        (functools.partial(functools.partial(awaited), 2), True),
        (Later(), True),
        (functools.partial(Later()), True),
        (Later().method, True),
        (given, False),
        (functools.partial(given, 2), False),
        (Now(), False),
        (Later, False),
        (len, False),
        (None, False),
    ],
)
def test_what_is_awaited_is_known_before_it_is_called(function: Any, wanted: bool) -> None:
    assert is_awaited(function) is wanted
    if function is not None and function is not len:
        result = function()
        assert inspect.isawaitable(result) is wanted or function is Later
        if inspect.iscoroutine(result):
            result.close()


def test_python_takes_what_is_marked_for_a_coroutine_function() -> None:
    marked = mark(Later())
    assert asyncio.iscoroutinefunction(marked)
    assert inspect.iscoroutinefunction(marked) or sys.version_info < (3, 12)
    assert not asyncio.iscoroutinefunction(Later())
    assert not asyncio.iscoroutinefunction(Later)
