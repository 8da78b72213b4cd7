"""Sinks: arguments that an application writes its answers to: a table, a queue, or a function that stores them."""

from __future__ import annotations

from typing import Any

from guard.testing.comparing import equal_values
from guard.testing.oracle import leaves, plain, same


class Sink(list[Any]):
    """A function that is given what is to be stored, and keeps it."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Keep the arguments of a call."""
        self.append([*args, *([kwargs] if kwargs else [])])


class AsyncSink(Sink):
    """The same as a coroutine function."""

    async def __call__(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override] # a coroutine of the same
        """Keep the arguments of a call."""
        super().__call__(*args, **kwargs)


def added_to(before: Any, after: Any) -> list[Any] | None:
    """Return what a list or dictionary has more than before, as plain data; None where something else changed."""
    if isinstance(before, list) and isinstance(after, list):
        is_longer = same(plain(before), plain(after[: len(before)]))
        return [plain(part) for part in after[len(before) :]] if is_longer else None
    if isinstance(before, dict) and isinstance(after, dict):
        kept = {key: after[key] for key in before if key in after}
        is_longer = same(plain(before), plain(kept))
        return [[key, plain(part)] for key, part in after.items() if key not in before] if is_longer else None
    return None


def is_sink(before: Any, after: Any, value: Any) -> bool:
    """Whether what was added to an argument is taken from the value, and nothing else."""
    added = leaves(added_to(before, after) or [])
    held = leaves(plain(value))
    return bool(added) and all(any(equal_values(leaf, one) for one in held) for leaf in added)
