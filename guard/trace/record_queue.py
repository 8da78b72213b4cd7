"""A queue of records for an event loop: a thread writes them by group commit.

One thread commits, and records that arrive meanwhile are its next batch. Under load a transaction so carries many
records, and a lone record never waits. However many records wait for a database in use, they take one thread. Large
records take long to serialise, and have a queue of their own, so that no small one waits behind them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from guard.support import json_pieces
from guard.trace.errors import TraceError
from guard.trace.group_commit import MOMENT_S
from guard.trace.records import Call

if TYPE_CHECKING:
    from guard.schemas import Compiled

MOST = 256  #: Most records of one commit; each large one has its own.
LARGE = 4_096  #: Parts of a record, as `json_pieces` counts them, from which it is large: some 10 ms.
MARGIN_S = 0.1  #: Seconds for which the writer is waited for beyond its deadline.
KEPT = 1024  #: Schemas whose weight is remembered.

#: A call, its compiled schema or None, and the seconds for which its record may wait.
Entry = tuple[Call, "Compiled | None", float]


class Journal:
    """Writes records for one event loop."""

    def __init__(self, write: Callable[[Sequence[Entry]], list[Any]]) -> None:
        self._small, self._large = _Lane(write, "guard-journal", MOST), _Lane(write, "guard-journal-large", 1)
        self._schemas: dict[str, int] = {}  # weights of schemas, by hash

    def begin(self, call: Call, compiled: Compiled | None, seconds: float) -> asyncio.Future[int]:
        """Queue a record. The future gives its number once it is committed, or raises TraceError.

        A future that is cancelled before its turn takes the record out of the queue.
        """
        weight = weight_of(call) + (0 if compiled is None else self._weight(compiled))
        lane = self._small if weight < LARGE else self._large
        return lane.begin(call, compiled, time.monotonic() + seconds)

    async def written(self, call: Call, compiled: Compiled | None, seconds: float) -> int:
        """Return a record's number once it is committed. Raises TraceError after so many seconds.

        A write that has begun is finished even if the caller is cancelled meanwhile. The writer has the same deadline
        and knows the outcome, so it is waited for a moment longer.
        """
        written = self.begin(call, compiled, seconds)
        late = asyncio.get_running_loop().call_later(seconds + MOMENT_S + MARGIN_S, _give_up, written, seconds)
        try:
            return await asyncio.shield(written)
        finally:
            late.cancel()

    async def close(self) -> None:
        """Return when all records are committed."""
        await self._small.close()
        await self._large.close()

    def _weight(self, compiled: Compiled) -> int:
        """Return the weight of a schema, cached by hash, since most schemas come again."""
        weight = self._schemas.get(compiled.hash)
        if weight is None:
            if len(self._schemas) >= KEPT:
                self._schemas.clear()
            weight = self._schemas[compiled.hash] = json_pieces.weight(compiled.contents, LARGE)
        return weight


class _Lane:
    """A queue whose records are committed batch after batch."""

    def __init__(self, write: Callable[[Sequence[Entry]], list[Any]], name: str, most: int) -> None:
        # Imported before: a program whose main thread has ended can't import it any more.
        from concurrent.futures import ThreadPoolExecutor

        self._write, self._most = write, most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: list[tuple[Call, Compiled | None, float, asyncio.Future[int]]] = []
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def begin(self, call: Call, compiled: Compiled | None, until: float) -> asyncio.Future[int]:
        written: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, compiled, until, written))
        if self._is_idle.is_set():
            self._commit()
        return written

    async def close(self) -> None:
        await self._is_idle.wait()
        self._thread.shutdown()

    def _commit(self) -> None:
        waiting = [entry for entry in self._waiting if not entry[-1].done()]
        batch, self._waiting = waiting[: self._most], waiting[self._most :]
        if not batch:
            self._is_idle.set()
            return
        self._is_idle.clear()
        job = asyncio.get_running_loop().run_in_executor(self._thread, self._written, [entry[:3] for entry in batch])
        job.add_done_callback(lambda done: self._finish([entry[-1] for entry in batch], done))

    def _finish(self, waiting: Sequence[asyncio.Future[int]], done: asyncio.Future[list[Any]]) -> None:
        self._commit()
        for written, number in zip(waiting, done.result(), strict=True):
            if written.done():
                continue
            if isinstance(number, Exception):
                written.set_exception(_told(number))
                written.exception()  # retrieved, even if the client has gone and nobody waits
            else:
                written.set_result(number)

    def _written(self, entries: Sequence[tuple[Call, Compiled | None, float]]) -> list[Any]:
        now = time.monotonic()
        try:
            return self._write([(call, compiled, until - now) for call, compiled, until in entries])
        except Exception as error:  # whatever a driver raises, no caller may wait for ever
            return [error for _ in entries]


def weight_of(call: Call) -> int:
    """Return how many parts a record has, as `json_pieces` counts them; above LARGE they may be more."""
    texts: list[Any] = []
    others = 0
    for attempt in call.attempts:
        others += len(attempt.repairs)
        texts += attempt.messages, attempt.repaired
        if (reply := attempt.reply) is not None:
            others += len(reply.tokens)
            texts += reply.text, reply.thinking
    return others + json_pieces.weight(texts, LARGE)


def _give_up(written: asyncio.Future[int], seconds: float) -> None:
    """End the wait for a record. Before its turn, it is taken out of the queue."""
    if not written.done():
        words = f"the trace took no record within {seconds:.3g} s, and nothing is answered without one"
        written.set_exception(TraceError(words))
        written.exception()  # retrieved, even if nobody waits


def _told(error: Exception) -> TraceError:
    """Return a copy of an error, so that callers don't share one."""
    told = TraceError(str(error) if isinstance(error, TraceError) else f"no record was written: {type(error).__name__}")
    told.__cause__ = error
    return told
