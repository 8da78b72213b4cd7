"""A memo of bounded size: what a function returned, by its arguments, up to so many bytes.

`functools.lru_cache` counts entries, and a stranger chooses how large one is. Here each entry is weighed. There are two
generations: when the young one has half of the bytes, it becomes the old one, and the old one goes. What is asked for
again moves to the young one. There is no lock: a thread, a fork or a signal handler that comes in between costs an
entry, or its weight, at the most.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
_NOTHING: Any = object()


class Memo(Generic[Result]):
    """A function that remembers; its exceptions are not kept."""

    def __init__(self, function: Callable[..., Result], most: int, weigh: Callable[..., int]) -> None:
        self._function, self._most, self._weigh = function, most, weigh
        self._young: dict[Hashable, Result] = {}
        self._old: dict[Hashable, Result] = {}
        self._held = 0  # bytes of the young

    def __call__(self, *key: Hashable) -> Result:
        """Return what the function returns for these arguments."""
        young = self._young
        found: Result = young.get(key, _NOTHING)
        if found is _NOTHING:
            found = self._old.get(key, _NOTHING)
            if found is _NOTHING:
                found = self._function(*key)
            self._keep(key, found)
        return found

    def _keep(self, key: tuple[Hashable, ...], found: Result) -> None:
        size = self._weigh(found, *key)
        if size > self._most // 2:
            return
        if self._held + size > self._most // 2:
            self._old, self._young, self._held = self._young, {}, 0
        self._young[key] = found
        self._held += size


def memo(most: int, weigh: Callable[..., int]) -> Callable[[Callable[..., Result]], Memo[Result]]:
    """Have a function remember at most so many bytes; `weigh` is given a result and its arguments."""
    return lambda function: Memo(function, most, weigh)
