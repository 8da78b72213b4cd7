"""A fair queue: one at a time, and of those who wait each sender in turn, however many each of them waits for."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator


class FairQueue:
    """Gives turns, one at a time; of one event loop. What a sender waits for holds up nobody but that sender."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by sender, who comes next first
        self._is_taken = False

    @contextlib.asynccontextmanager
    async def turn(self, sender: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it while inside."""
        if self._is_taken:
            await self._given(sender)
        self._is_taken = True
        try:
            yield
        finally:
            self._give()

    async def _given(self, sender: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(sender, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given a moment ago, and nobody uses it
                self._give()
            raise

    def _give(self) -> None:
        """Give the turn to the next who still waits."""
        while self._waiting:
            sender = next(iter(self._waiting))
            turns = self._waiting.pop(sender)
            turn = turns.popleft()
            if turns:
                self._waiting[sender] = turns  # behind all others
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
