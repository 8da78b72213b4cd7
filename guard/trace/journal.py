"""Records by group commit, without holding the event loop up.

One thread commits; whatever comes in meanwhile is the next commit, so that under load a transaction carries many
records and alone one waits for nothing. However many wait for a database that is in use, they take one thread. Large
records, of which each takes a while to be written out, are another thread's, so that no small one waits behind them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from guard.records import Call
from guard.trace.errors import TraceError

if TYPE_CHECKING:
    from guard.schemas import Compiled

MOST = 256  #: Records of one commit.
LARGE = 262_144  #: Bytes of a request from which on its record is a large one: some 10 ms.

#: A call, what it asked for, and for how many seconds its record may wait.
Entry = tuple[Call, "Compiled | None", float]


class Journal:
    """Writes records; of one event loop."""

    def __init__(self, write: Callable[[Sequence[Entry]], list[Any]]) -> None:
        # Not above: a program whose main thread has ended can't import it any more.
        from concurrent.futures import ThreadPoolExecutor

        self._write = write
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="guard-journal")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="guard-journal-large")
        self._waiting: list[tuple[Call, Compiled | None, float, asyncio.Future[int]]] = []
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def begin(self, call: Call, compiled: Compiled | None, seconds: float, size: int = 0) -> asyncio.Future[int]:
        """Begin to write a record; the future gives its number once it is committed, or raises TraceError.

        Cancelled before its turn comes, it is not written. `size`: bytes of the request.
        """
        loop = asyncio.get_running_loop()
        written: asyncio.Future[int] = loop.create_future()
        if size >= LARGE:
            entry = call, compiled, time.monotonic() + seconds
            job = loop.run_in_executor(self._large, self._written, [entry])
            job.add_done_callback(lambda done: _tell([written], done))
            return written
        self._waiting.append((call, compiled, time.monotonic() + seconds, written))
        if self._is_idle.is_set():
            self._commit()
        return written

    async def written(self, call: Call, compiled: Compiled | None, seconds: float, size: int = 0) -> int:
        """Return the number of a record once it is committed; TraceError where it is not within so many seconds.

        A record that was begun is finished, also when the caller is cancelled meanwhile.
        """
        written = self.begin(call, compiled, seconds, size)
        done, _ = await asyncio.wait([written], timeout=seconds)
        if not done:
            written.cancel()
            raise TraceError(f"the trace took no record within {seconds:.3g} s, and nothing is answered without one")
        return written.result()

    async def close(self) -> None:
        """Return when all is committed."""
        await self._is_idle.wait()
        self._thread.shutdown()
        await asyncio.to_thread(self._large.shutdown)

    def _commit(self) -> None:
        waiting = [entry for entry in self._waiting if not entry[-1].cancelled()]
        batch, self._waiting = waiting[:MOST], waiting[MOST:]
        if not batch:
            self._is_idle.set()
            return
        self._is_idle.clear()
        job = asyncio.get_running_loop().run_in_executor(self._thread, self._written, [entry[:3] for entry in batch])
        job.add_done_callback(lambda done: self._finish([entry[-1] for entry in batch], done))

    def _finish(self, waiting: Sequence[asyncio.Future[int]], done: asyncio.Future[list[Any]]) -> None:
        self._commit()
        _tell(waiting, done)

    def _written(self, entries: Sequence[tuple[Call, Compiled | None, float]]) -> list[Any]:
        now = time.monotonic()
        try:
            return self._write([(call, compiled, until - now) for call, compiled, until in entries])
        except Exception as error:  # whatever a driver does, nobody may wait for ever
            return [error for _ in entries]


def _tell(waiting: Sequence[asyncio.Future[int]], done: asyncio.Future[list[Any]]) -> None:
    for written, number in zip(waiting, done.result(), strict=True):
        if written.cancelled():
            continue
        if isinstance(number, Exception):
            written.set_exception(_told(number))
            written.exception()  # seen, also where the client has gone and nobody waits
        else:
            written.set_result(number)


def _told(error: Exception) -> TraceError:
    """Return an error of each caller's own."""
    told = TraceError(str(error) if isinstance(error, TraceError) else f"no record was written: {type(error).__name__}")
    told.__cause__ = error
    return told
