"""A fair queue: one turn at a time, round-robin over senders, however many turns each of them waits for.

Of one sender's turns, the shortest and the one that has waited longest come by turns: a small schema does not wait for
all the large ones before it, and no large one waits for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class _Turn:
    size: int
    given: asyncio.Future[None]


@dataclass(eq=False, slots=True)
class _Line:
    """The turns that one sender waits for, the oldest first."""

    turns: list[_Turn] = field(default_factory=list)
    is_shortest_next: bool = True

    def next(self) -> _Turn:
        """Take a turn off the line. O(turns)."""
        turn = min(self.turns, key=lambda turn: turn.size) if self.is_shortest_next else self.turns[0]
        self.turns.remove(turn)
        self.is_shortest_next = not self.is_shortest_next
        return turn


class FairQueue:
    """Gives one turn at a time: a sender's long queue delays only that sender. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Line] = {}  # by sender; the next one first
        self._is_taken = False

    @contextlib.asynccontextmanager
    async def turn(self, sender: str, size: int = 0) -> AsyncIterator[None]:
        """Wait for a turn, and hold it while inside; `size` tells about how long that will be."""
        if self._is_taken:
            await self._given(sender, size)
        self._is_taken = True
        try:
            yield
        finally:
            self._give()

    async def _given(self, sender: str, size: int) -> None:
        turn = _Turn(size, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(sender, _Line()).turns.append(turn)
        try:
            await turn.given
        except asyncio.CancelledError:
            if turn.given.done() and not turn.given.cancelled():  # it was given a moment ago, and is unused
                self._give()
            raise

    def _give(self) -> None:
        """Give the turn to the next sender that still waits."""
        while self._waiting:
            sender = next(iter(self._waiting))
            line = self._waiting.pop(sender)
            turn = line.next()
            if line.turns:
                self._waiting[sender] = line  # behind all others
            if not turn.given.done():
                turn.given.set_result(None)
                return
        self._is_taken = False
