"""Unread answers: what clients leave in a process's memory, because they read slowly or not at all.

An answer is handed to its connection as a whole, so that no client keeps a place by reading slowly. A connection whose
client takes nothing for a while is cut off. What all have left unread together is bounded: where it is too much, the
connection goes whose rest would take longest at the rate at which it was read so far.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

#: Bytes of answers that all connections of a process may hold, since they are not read. An answer counts as a whole
#: until its last byte is taken: so long its bytes stay in memory, though the system has taken some megabytes of each.
ALL_UNREAD = 128_000_000
LOOKS = 8  #: How often a connection is looked at in the time for which its client may take nothing.
AT_FIRST = 65_536  #: Bytes that a client counts as having read at once, so that none is judged before it could read.


class UnreadAnswers:
    """What the connections of one process have left unread. Belongs to one event loop."""

    def __init__(self) -> None:
        self.bytes = 0
        self.watched: set[Watch] = set()

    def weigh(self) -> None:
        """Cut connections off, the slowest first, until what is left is within the bound. O(connections watched).

        One alone may hold more: an operator may allow answers that are larger than the bound.
        """
        while self.bytes > ALL_UNREAD and len(self.watched) > 1:
            now = time.monotonic()
            slowest = max(self.watched, key=lambda watch: watch.seconds_left(now))
            slowest.cut()


class Watch:
    """Watches over what one connection has left unread, from when it is too much, or its end waits for it."""

    def __init__(self, transport: Any, seconds: float, of_all: UnreadAnswers, cut: Callable[[], None]) -> None:
        self._transport, self._seconds, self._all, self._cut = transport, seconds, of_all, cut
        self._writes: deque[int] = deque()  # bytes of each write of which some may be left
        self._kept = 0  # bytes of those writes together
        self._written = 0  # bytes of all writes
        self._taken = self._taken_at_first = 0  # bytes of them that were taken, at the last look and at the first
        self._held = 0  # bytes of this connection that are counted with those of all
        self._began = self._moved = 0.0  # when the first look was, and when the client last took something
        self._timer: asyncio.TimerHandle | None = None

    def wrote(self, size: int) -> None:
        """Count bytes that are about to be written. O(1), amortised."""
        self._forget_taken(self._transport.get_write_buffer_size())
        self._writes.append(size)
        self._kept += size
        self._written += size

    def begin(self) -> None:
        """Watch, until it is read or the connection is lost. A second call looks again."""
        left: int = self._transport.get_write_buffer_size()
        if not left:
            return
        if self._timer is None:
            self._began = self._moved = time.monotonic()
            self._taken = self._taken_at_first = self._written - left
            self._all.watched.add(self)
            self._wait()
        self._forget_taken(left)
        self._hold(self._kept)
        self._all.weigh()

    def end(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._all.watched.discard(self)
            self._hold(0)

    def cut(self) -> None:
        """Drop what is unread, with the connection."""
        self.end()
        self._cut()

    def seconds_left(self, now: float) -> float:
        """Return how long the client would take for the rest, as it has read so far: little at the beginning."""
        left = self._written - self._taken
        return (now - self._began) * left / (self._taken - self._taken_at_first + AT_FIRST)

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds / LOOKS, self._look)

    def _look(self) -> None:
        left, now = self._transport.get_write_buffer_size(), time.monotonic()
        if not left:
            self.end()
            return
        taken = self._written - left
        if taken != self._taken:
            self._taken, self._moved = taken, now
        elif now - self._moved >= self._seconds:
            self.cut()
            return
        self._wait()

    def _forget_taken(self, left: int) -> None:
        """Forget the writes of which nothing is left: each is given back as a whole."""
        while self._writes and self._kept - self._writes[0] >= left:
            self._kept -= self._writes.popleft()

    def _hold(self, held: int) -> None:
        self._all.bytes += held - self._held
        self._held = held
