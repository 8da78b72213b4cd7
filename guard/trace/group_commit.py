"""Group commit: the first caller commits the jobs of all who wait, in one transaction.

A caller adds its jobs to the pending ones and takes the lock. The holder of the lock commits every pending job at once;
the others find theirs done when they get it. There is no writer thread that could die with records in its hands: a job
is committed by a caller that waits, before any caller returns. Signals interrupt the main thread, so another thread
does its work while it waits (guard/support/aside.py). At most PENDING callers wait for a commit; further ones wait to
join them.

Every job has a deadline, by the monotonic clock. Until the database is free and a transaction has begun, a job can be
taken back: at its deadline its caller does so, and the job is not committed. A job in a transaction is waited for a
moment longer, and where others depend on it, until a moment after the last of their deadlines; after that nobody knows
whether it will be committed, and the error says so. The method is group commit as in DeWitt et al., "Implementation
techniques for main memory database systems" (1984).
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
MOMENT_S = 0.25  #: Seconds beyond its deadline for which a job in a transaction is waited for.
PAUSE_S = 0.01  #: Seconds until a database that was in use is tried again.
FOREVER = threading.TIMEOUT_MAX  #: The longest wait for a lock, in seconds.
MOST_S = 86_400.0  #: The longest wait that a database is told, in seconds.

#: A job's work: executes statements in the open transaction. It may run more than once.
Work = Callable[[Any], object]


class Late(Exception):  # noqa: N818 (a time-out of one's own, not of the database's)
    """A job's deadline passed before it was committed. `is_open`: nobody knows whether it will be."""

    def __init__(self, words: str, *, is_open: bool = False) -> None:
        super().__init__(words)
        self.is_open = is_open


class _WriteJob:
    __slots__ = ("done", "error", "is_taken", "last", "until", "work")

    def __init__(self, work: Work, until: float, last: float) -> None:
        self.work, self.until, self.last = work, until, last
        self.done = self.is_taken = False
        self.error: Exception | None = None

    @property
    def ends(self) -> float:
        """When its caller gives it up, by the monotonic clock."""
        return self.last + MOMENT_S if self.is_taken else self.until


class Writer:
    """Commits jobs over one connection. Thread-safe within one process; not usable after a fork.

    `begin` is the statement that opens a transaction; `{ms}` in it is the longest wait. Where it has none, the
    statement `patience` sets that wait. `opened` makes the argument of a job's work from a cursor, as a context manager
    that ends before the commit.
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
        self._patience, self._told = patience, 0  # longest wait that the connection was told, in milliseconds
        self._held: Any = None  # the pooled connection; None before the first job and after an error
        self._space = threading.BoundedSemaphore(pending)
        self._pending: deque[_WriteJob] = deque()
        self._taking = threading.Lock()  # guards `_pending`; held for a moment only
        self._lock = threading.Lock()  # held by the thread that commits

    def commit(self, work: Work, seconds: float = FOREVER) -> None:
        """Return when the work is committed. Raises the database's error, and then nothing of it is committed.

        Raises Late where it takes longer than so many seconds; the words say whether it is not committed, or unknown.
        """
        (error,) = self.commit_all([(work, seconds, seconds)])
        if error is not None:
            raise error

    def commit_all(self, works: Sequence[tuple[Work, float, float]]) -> list[Exception | None]:
        """Commit several pieces of work together; return the error of each, or None where it is committed.

        With each come the seconds for which it may wait for its turn, and those after which it is given up once it is
        at work, which may be more.
        """
        now = time.monotonic()
        jobs = [_WriteJob(work, now + seconds, now + most) for work, seconds, most in works]
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
        """Execute a statement of SQLite's outside any transaction, while no thread of this process writes."""
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
        """Close the connection. The next job opens another."""
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
        """Return how long to wait for the lock, in seconds."""
        return _timeout(min(job.ends for job in jobs) - time.monotonic())

    def _take_back(self, jobs: list[_WriteJob]) -> None:
        """Take back those of a caller's jobs whose deadline has passed."""
        with self._taking:
            now = time.monotonic()
            late = [job for job in jobs if not job.done and job.ends <= now]
            for job in late:
                job.error = (
                    Late("it may be written or not: the database did not answer in time", is_open=True)
                    if job.is_taken
                    else Late("another holds it")
                )
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
        """Commit pending jobs until none of the caller's own is left. The lock must be held."""
        while waiting := [job for job in mine if not job.done]:
            now = time.monotonic()
            if min([job.until for job in waiting]) <= now:
                self._put_back(waiting)  # the lock is held: no other thread commits them
                self._take_back(waiting)
                continue
            # Wait no longer than the earliest deadline of the jobs to be taken: a late job can then still be taken
            # back.
            left = min([job.until for job in list(self._pending) if job.until > now]) - now
            if self._is_in_use(left):
                time.sleep(min(PAUSE_S, left))

    def _is_in_use(self, seconds: float) -> bool:
        """Commit the pending jobs together. A job that fails, fails alone; the others are committed without it.

        Returns True where the database stayed in use for so long; then nothing has changed.
        """
        jobs: list[_WriteJob] = []  # the jobs of the transaction, once the database is free
        while True:
            try:
                self._transact(jobs, seconds)
            except _Failed as failed:
                failed.job.error = failed.error
                self._finish([failed.job])
                jobs.remove(failed.job)
                if jobs:
                    continue
            except Exception as error:  # an error at the beginning or the commit fails all jobs
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
            with contextlib.suppress(ValueError):  # its caller was interrupted, and has taken it back
                self._pending.remove(job)

    def _transact(self, jobs: list[_WriteJob], seconds: float) -> None:
        """Commit some jobs; over a new connection where the old one turns out to be lost before the commit."""
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
            if self._patience and not ms // 2 < self._told <= ms:  # sent only on a change
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
