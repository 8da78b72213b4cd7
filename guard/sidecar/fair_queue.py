"""A fair queue: one turn at a time, round-robin over senders, however many turns each of them waits for."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator


class FairQueue:
    """Gives one turn at a time: a sender's long queue delays only that sender. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by sender; the next one first
        self._is_taken = False

    @contextlib.asynccontextmanager
    async def turn(self, sender: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it while inside."""
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
            if turn.done() and not turn.cancelled():  # the turn was given a moment ago, and is unused
                self._give()
            raise

    def _give(self) -> None:
        """Give the turn to the next sender that still waits."""
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
