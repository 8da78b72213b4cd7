"""Records of calls by group commit, without holding the event loop up.

One thread commits; whatever comes in meanwhile is the next commit, so that under load a transaction carries many
records and alone one waits for nothing. A record is committed before the end of its answer is sent. Large records, of
which each takes a while to be written out, are another thread's, so that no small one waits behind them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from guard.records import Call
from guard.trace import TraceError, TraceStore

MOST = 256  #: Records of one commit.
LARGE = 262_144  #: Bytes of a request from which on its record is a large one: some 10 ms.


class Journal:
    """Writes records of calls that have no schema; of one event loop."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="guard-journal")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="guard-journal-large")
        self._waiting: list[tuple[Call, asyncio.Future[int]]] = []
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def write(self, call: Call, size: int) -> asyncio.Future[int]:
        """Begin to write a record; the future gives its number once it is committed, or raises TraceError.

        `size`: bytes of the request.
        """
        loop = asyncio.get_running_loop()
        written: asyncio.Future[int] = loop.create_future()
        if size >= LARGE:
            job = loop.run_in_executor(self._large, self._written, [call])
            job.add_done_callback(lambda done: _tell([written], done))
            return written
        self._waiting.append((call, written))
        if self._is_idle.is_set():
            self._commit()
        return written

    async def close(self) -> None:
        """Return when all is committed."""
        await self._is_idle.wait()
        self._thread.shutdown()
        await asyncio.to_thread(self._large.shutdown)

    def _commit(self) -> None:
        batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        self._is_idle.clear()
        job = asyncio.get_running_loop().run_in_executor(self._thread, self._written, [call for call, _ in batch])
        job.add_done_callback(lambda done: self._finish([written for _, written in batch], done))

    def _finish(self, waiting: Sequence[asyncio.Future[int]], done: asyncio.Future[list[Any]]) -> None:
        if self._waiting:
            self._commit()
        else:
            self._is_idle.set()
        _tell(waiting, done)

    def _written(self, calls: list[Call]) -> list[Any]:
        try:
            return self._store.write_all(calls)
        except TraceError as error:
            if len(calls) == 1:
                return [error]
        except Exception as error:  # whatever a redaction hook or a driver does, nobody may wait for ever
            if len(calls) == 1:
                return [TraceError(f"the record could not be written: {type(error).__name__}")]
        return [self._written([call])[0] for call in calls]


def _tell(waiting: Sequence[asyncio.Future[int]], done: asyncio.Future[list[Any]]) -> None:
    for written, number in zip(waiting, done.result(), strict=True):
        if written.cancelled():
            continue
        if isinstance(number, Exception):
            written.set_exception(number)
            written.exception()  # seen, also where the client has gone and nobody waits
        else:
            written.set_result(number)
