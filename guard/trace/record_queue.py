"""Queues of what an event loop writes, records above all: a thread commits what has come, batch after batch.

One thread commits, and what arrives meanwhile is its next batch; so is what arrives in one turn of the loop. Under load
a transaction so carries many records, and a lone record waits for one turn. However many records wait for a database in
use, they take one thread. Heavy records take long to serialise: they have queues of their own, by how heavy they are,
so that no light one waits behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from guard.support import json_pieces
from guard.trace.errors import TraceError
from guard.trace.group_commit import MOMENT_S
from guard.trace.records import Call

if TYPE_CHECKING:
    from guard.schemas import Compiled

MOST = 256  #: Most records of one commit; heavy ones take several.
LARGE = 4_096  #: Parts of a record, as `json_pieces` counts them, from which it is large: some 10 ms.
#: The queues: the parts below which a record is taken, and how many of them one commit takes at most.
LANES = (("guard-journal", 512, MOST), ("guard-journal-heavy", LARGE, 8), ("guard-journal-large", math.inf, 1))
MARGIN_S = 0.1  #: Seconds for which the writer is waited for beyond its deadline.
KEPT = 1024  #: Schemas whose weight is remembered.

#: A call, its compiled schema or None, and the seconds for which its record may wait.
Entry = tuple[Call, "Compiled | None", float]
_Record = tuple[Call, "Compiled | None"]
Item = TypeVar("Item")


class Journal:
    """Writes records for one event loop."""

    def __init__(self, write: Callable[[Sequence[Entry]], list[Any]]) -> None:
        def written(items: Sequence[tuple[_Record, float]]) -> list[Any]:
            return write([(*record, seconds) for record, seconds in items])

        self._lanes = [(below, CommitQueue(written, name, most)) for name, below, most in LANES]
        self._schemas: dict[str, int] = {}  # weights of schemas, by hash

    def begin(self, call: Call, compiled: Compiled | None, seconds: float) -> asyncio.Future[int]:
        """Queue a record. The future gives its number once it is committed, or raises TraceError.

        A future that is cancelled before its turn takes the record out of the queue.
        """
        return self._lane(call, compiled).begin((call, compiled), seconds)

    async def written(self, call: Call, compiled: Compiled | None, seconds: float) -> int:
        """Return a record's number once it is committed. Raises TraceError after so many seconds.

        It is written even if the caller is cancelled meanwhile.
        """
        number: int = await self._lane(call, compiled).begin((call, compiled), seconds, stays=True)
        return number

    def _lane(self, call: Call, compiled: Compiled | None) -> CommitQueue[_Record]:
        weight = weight_of(call) + (0 if compiled is None else self._weight(compiled))
        return next(lane for below, lane in self._lanes if weight < below)

    async def close(self) -> None:
        """Return when all records are committed."""
        lanes = [lane for _, lane in self._lanes]
        while not all(lane.is_idle for lane in lanes):  # while one is waited for, another may be given records
            await asyncio.gather(*(lane.idle() for lane in lanes))
        for lane in lanes:
            lane.shut()

    def _weight(self, compiled: Compiled) -> int:
        """Return the weight of a schema, cached by hash, since most schemas come again."""
        weight = self._schemas.get(compiled.hash)
        if weight is None:
            if len(self._schemas) >= KEPT:
                self._schemas.clear()
            weight = self._schemas[compiled.hash] = json_pieces.weight(compiled.contents, LARGE)
        return weight


class CommitQueue(Generic[Item]):
    """A queue whose items are committed batch after batch, in a thread of its own.

    `write` is given items with the seconds that each may still wait, and returns a result or an exception for each. It
    knows the outcome, so it is waited for MOMENT_S + MARGIN_S longer. One timer watches over all items.
    """

    def __init__(self, write: Callable[[Sequence[tuple[Item, float]]], list[Any]], name: str, most: int) -> None:
        # Imported before: a program whose main thread has ended can't import it any more.
        from concurrent.futures import ThreadPoolExecutor

        self._write, self._most = write, most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: list[_Waiting[Item]] = []
        self._batch: list[_Waiting[Item]] = []  # what is being committed
        self._timer: asyncio.Handle | None = None
        self._look_at = math.inf  # when the timer looks
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def begin(self, item: Item, seconds: float, *, stays: bool = False) -> asyncio.Future[Any]:
        """Queue an item. The future gives its result once it is committed, or raises TraceError.

        With `stays` the item is committed even if the future is cancelled before its turn.
        """
        written: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(item, seconds, time.monotonic() + seconds, written, stays)
        self._waiting.append(waiting)
        self._watch(waiting.last)
        if self._is_idle.is_set():
            self._is_idle.clear()
            asyncio.get_running_loop().call_soon(self._commit)
        return written

    @property
    def is_idle(self) -> bool:
        """Whether all items are committed."""
        return self._is_idle.is_set()

    async def idle(self) -> None:
        """Return when all items are committed."""
        await self._is_idle.wait()

    async def close(self) -> None:
        """Return when all items are committed; no more may come."""
        await self.idle()
        self.shut()

    def shut(self) -> None:
        """End the thread, which must be idle."""
        self._thread.shutdown()
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self, until: float) -> None:
        """Look at the deadlines at a time, by the event loop's clock, which is the monotonic one, or sooner."""
        if self._timer is not None:
            if self._look_at <= until:
                return
            self._timer.cancel()
        self._look_at = until
        self._timer = asyncio.get_running_loop().call_at(until, self._give_up)

    def _give_up(self) -> None:
        """End the wait for records whose time is over. Before its turn, a record is taken out of the queue."""
        self._timer, now = None, time.monotonic()
        for each in (*self._batch, *self._waiting):
            if each.written.done():
                continue
            if each.last > now:
                self._watch(each.last)
                continue
            words = f"the trace took no record within {each.seconds:.3g} s, and nothing is answered without one"
            each.written.set_exception(TraceError(words))
            each.written.exception()  # retrieved, even if nobody waits

    def _commit(self) -> None:
        waiting = [each for each in self._waiting if each.is_wanted]
        batch, self._waiting = waiting[: self._most], waiting[self._most :]
        self._batch = batch
        if not batch:
            self._is_idle.set()
            return
        self._is_idle.clear()
        self._thread.submit(self._run, asyncio.get_running_loop(), batch)

    def _run(self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Waiting[Item]]) -> None:
        """Commit a batch, and have the loop tell of it: straight on, where a future would wait for turn after turn."""
        numbers = self._written(batch)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            loop.call_soon_threadsafe(self._finish, batch, numbers)

    def _finish(self, batch: Sequence[_Waiting[Item]], numbers: list[Any]) -> None:
        asyncio.get_running_loop().call_soon(self._commit)
        for each, number in zip(batch, numbers, strict=True):
            written = each.written
            if written.done():
                continue
            if isinstance(number, BaseException):
                written.set_exception(_told(number))
                written.exception()  # retrieved, even if the client has gone and nobody waits
            else:
                written.set_result(number)

    def _written(self, batch: Sequence[_Waiting[Item]]) -> list[Any]:
        now = time.monotonic()
        try:
            return self._write([(each.item, each.until - now) for each in batch])
        except BaseException as error:  # whatever a driver raises, no caller may wait for ever, nor those behind it
            return [error for _ in batch]


@dataclass(slots=True)
class _Waiting(Generic[Item]):
    """An item that is not committed yet."""

    item: Item
    seconds: float  # for which it may wait
    until: float  # when they are over, by the monotonic clock
    written: asyncio.Future[Any]
    stays: bool

    @property
    def is_wanted(self) -> bool:
        """Whether it is still to be written: nobody has taken it back, and its time is not over."""
        return not self.written.done() or (self.stays and self.written.cancelled())

    @property
    def last(self) -> float:
        """Until when it is waited for."""
        return self.until + MOMENT_S + MARGIN_S


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


def _told(error: BaseException) -> TraceError:
    """Return a copy of an error, so that callers don't share one."""
    if isinstance(error, TraceError):
        told = TraceError(str(error), error.outline)
    else:
        told = TraceError(f"no record was written: {type(error).__name__}")
    told.__cause__ = error
    return told
