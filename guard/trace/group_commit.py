"""Group commit: whoever comes first writes for all who wait, in one transaction.

A caller adds its jobs to the pending ones and takes the lock. Who has it commits every pending job at once; the others
find theirs done when they get it. There is no thread that could die with records in its hands: a job is committed by
a caller that waits, before any caller returns; for the main thread, which signals break into, a thread aside does it
while it waits (guard/support/aside.py). At most PENDING callers wait; further ones wait to join them.

Every job has a deadline, by the monotonic clock. Until a transaction has begun, which is when the database was free,
its jobs are nobody's: one whose time is over is taken back by its caller, and is not committed. One that is in a
transaction is waited for a moment longer; whether it will be committed is then not known, and that is what is raised.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import sqlalchemy as sa

from guard.support.aside import aside

PENDING = 1024  #: Callers that may wait for a commit at once.
MOMENT_S = 0.25  #: For which a job is waited for, beyond its time, that is in a transaction already.
PAUSE_S = 0.01  #: Until a database that said at once that it is in use is asked again.
FOREVER = threading.TIMEOUT_MAX  #: Seconds, as long as a lock can be waited for.
MOST_S = 86_400.0  #: As long as a database is told to wait.

#: Executes statements over what a transaction is opened with; may be run more than once.
Work = Callable[[Any], object]


class Late(Exception):  # noqa: N818 (a time-out of one's own, not of the database's)
    """A job's time was over before it was committed."""


class _WriteJob:
    __slots__ = ("done", "error", "is_taken", "until", "work")

    def __init__(self, work: Work, until: float) -> None:
        self.work, self.until = work, until
        self.done = self.is_taken = False
        self.error: Exception | None = None


class Writer:
    """Commits jobs over one connection; safe from any thread of one process.

    `begin` opens a transaction, with `{ms}` for the longest wait, which `patience` tells a connection where `begin`
    does not. `opened` makes what work is given of a cursor, and is left before the commit.
    """

    def __init__(
        self,
        engine: sa.Engine,
        begin: str,
        pending: int = PENDING,
        opened: Callable[[Any], AbstractContextManager[Any]] = nullcontext,
        is_busy: Callable[[BaseException], bool] = lambda error: False,  # noqa: ARG005 (none is)
        patience: str = "",
    ) -> None:
        self._engine = engine
        self._begin = begin
        self._opened, self._is_busy = opened, is_busy
        self._patience, self._told = patience, 0  # milliseconds that the connection was told
        self._held: Any = None  # a pooled connection, or None before the first job and after a fault
        self._space = threading.BoundedSemaphore(pending)
        self._pending: deque[_WriteJob] = deque()
        self._taking = threading.Lock()  # held for no longer than it takes to take jobs, or one back
        self._lock = threading.Lock()  # held by who commits

    def commit(self, work: Work, seconds: float = FOREVER) -> None:
        """Return when the work is committed; raises what the database raised, and then nothing of it is.

        Late where it was not within so many seconds; its words say whether it is not, or whether that is not known.
        """
        (error,) = self.commit_all([(work, seconds)])
        if error is not None:
            raise error

    def commit_all(self, works: Sequence[tuple[Work, float]]) -> list[Exception | None]:
        """Do as `commit` does for each of some works, side by side; returns what each has failed of."""
        now = time.monotonic()
        jobs = [_WriteJob(work, now + seconds) for work, seconds in works]
        aside(functools.partial(self._commit_all, jobs))
        return [job.error for job in jobs]

    def _commit_all(self, jobs: list[_WriteJob]) -> None:
        has_space = self._space.acquire(blocking=False)
        if has_space or self._space.acquire(timeout=_timeout(max(job.until for job in jobs) - time.monotonic())):
            try:
                self._wait(jobs)
            finally:
                self._space.release()
        else:
            self._take_back(jobs)

    def execute_alone(self, statement: str, seconds: float) -> None:
        """Execute a statement of SQLite's outside any transaction, while nobody of this process writes."""
        aside(functools.partial(self._execute, statement, seconds))

    def _execute(self, statement: str, seconds: float) -> None:
        with self._lock:
            if self._held is None:
                self._held = self._engine.raw_connection()
            connection = self._held.driver_connection
            self._told = int(seconds * 1000)
            connection.execute(self._patience.format(ms=self._told)).close()
            connection.execute(statement).close()

    def close(self) -> None:
        """Give the connection up; the next job opens another."""
        aside(self._close)

    def _close(self) -> None:
        with self._lock:
            self._drop()

    def _wait(self, jobs: list[_WriteJob]) -> None:
        """Return when each of a caller's jobs is committed, has failed, or is late."""
        self._pending.extend(jobs)
        try:
            while waiting := [job for job in jobs if not job.done]:
                if self._lock.acquire(blocking=False) or self._lock.acquire(timeout=self._time_of(waiting)):
                    try:
                        self._commit_pending(jobs)
                    finally:
                        self._lock.release()
                else:
                    self._take_back(waiting)
        except BaseException:  # interrupted while it waited, or in the middle
            for job in jobs:
                with contextlib.suppress(ValueError):
                    self._pending.remove(job)
            raise

    def _time_of(self, jobs: list[_WriteJob]) -> float:
        """Return for how long the lock may be waited for."""
        ends = min(job.until + MOMENT_S if job.is_taken else job.until for job in jobs)
        return _timeout(ends - time.monotonic())

    def _take_back(self, jobs: list[_WriteJob]) -> None:
        """Give up those of a caller's jobs whose time is over."""
        with self._taking:
            now = time.monotonic()
            late = [job for job in jobs if not job.done and job.until + MOMENT_S * job.is_taken <= now]
            for job in late:
                job.error = Late("it may be written or not: the database did not answer in time" if job.is_taken else
                                 "another holds it")  # fmt: skip
        self._finish(late)

    def _take(self) -> list[_WriteJob]:
        with self._taking:
            now = time.monotonic()
            jobs = [job for job in list(self._pending) if not job.done and job.until > now]
            for job in jobs:
                job.is_taken = True
        return jobs

    def _put_back(self, jobs: list[_WriteJob]) -> None:
        with self._taking:
            for job in jobs:
                job.is_taken = False

    def _commit_pending(self, mine: list[_WriteJob]) -> None:
        """Commit what is pending until nothing of a caller's own is."""
        while waiting := [job for job in mine if not job.done]:
            now = time.monotonic()
            if min([job.until for job in waiting]) <= now:
                self._put_back(waiting)  # nobody else is at work on them
                self._take_back(waiting)
                continue
            # As long as the first of all jobs may wait that would be taken: whoever is late by then is not at work.
            left = min([job.until for job in list(self._pending) if job.until > now]) - now
            if self._is_in_use(left):
                time.sleep(min(PAUSE_S, left))

    def _is_in_use(self, seconds: float) -> bool:
        """Commit the pending jobs together; one that fails fails alone, the others are committed without it.

        Returns whether others had the database for so long; then all is as it was.
        """
        jobs: list[_WriteJob] = []  # those at work, once the database is free for them
        while True:
            try:
                self._transact(jobs, seconds)
            except _Failed as failed:
                failed.job.error = failed.error
                self._finish([failed.job])
                jobs.remove(failed.job)
                if jobs:
                    continue
            except Exception as error:  # of the database, at the beginning or the commit: it concerns them all
                if self._is_busy(error):
                    self._put_back(jobs)
                    return True
                jobs = jobs or self._take()
                for job in jobs:
                    job.error = error
            except BaseException:
                self._put_back(jobs)
                raise
            self._finish(jobs)
            return False

    def _finish(self, jobs: list[_WriteJob]) -> None:
        for job in jobs:
            job.done = True
            with contextlib.suppress(ValueError):  # its caller was interrupted and has taken it back
                self._pending.remove(job)

    def _transact(self, jobs: list[_WriteJob], seconds: float) -> None:
        """Commit some jobs; where the connection turns out to be lost before the commit, over another one."""
        is_kept = self._held is not None
        try:
            self._transact_once(jobs, seconds)
        except _Lost as lost:
            if not is_kept:
                raise lost.error from None
            try:
                self._transact_once(jobs, seconds)
            except _Lost as again:
                raise again.error from None

    def _transact_once(self, jobs: list[_WriteJob], seconds: float) -> None:
        if self._held is None:
            self._held = self._engine.raw_connection()
        connection = self._held.driver_connection
        job: _WriteJob | None = None  # the one at work
        is_committing = False
        try:
            cursor = connection.cursor()
            ms = int(min(seconds, MOST_S) * 1000) + 1
            if self._patience and not ms // 2 < self._told <= ms:  # said anew only where it is another: each call pays
                cursor.execute(self._patience.format(ms=ms * 3 // 4 + 1))
                self._told = ms * 3 // 4 + 1
            cursor.execute(self._begin.format(ms=ms))
            if not jobs:
                jobs += self._take()
            with self._opened(cursor) as opened:
                for job in jobs:
                    job.work(opened)
                job = None
            is_committing = True
            connection.commit()
            cursor.close()
        except BaseException as error:
            dialect = self._engine.dialect
            is_lost = isinstance(error, dialect.loaded_dbapi.Error) and dialect.is_disconnect(error, connection, None)
            try:
                connection.rollback()
            except Exception:
                is_lost = True
            if is_lost:
                self._drop()
            if isinstance(error, Exception):
                if is_lost and not is_committing:
                    raise _Lost(error) from error
                if job is not None and not self._is_busy(error):
                    raise _Failed(job, error) from error
            raise

    def _drop(self) -> None:
        held, self._held, self._told = self._held, None, 0
        if held is not None:
            held.invalidate()


def _timeout(seconds: float) -> float:
    return min(max(0.0, seconds), FOREVER)


class _Lost(Exception):  # noqa: N818 (never leaves this module)
    """The connection broke before anything was committed over it."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Failed(Exception):  # noqa: N818 (the same)
    """The work of one job failed; nothing was committed."""

    def __init__(self, job: _WriteJob, error: Exception) -> None:
        self.job, self.error = job, error
