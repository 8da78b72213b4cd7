"""Group commit: whoever comes first writes for all who wait, in one transaction.

A caller adds its job to the pending ones and takes the lock. Who has it commits every pending job at once; the others
find theirs done when they get it. There is no thread that could die with records in its hands: a job is committed by
a caller that waits, before any caller returns; for the main thread, which signals break into, a thread aside does it
while it waits (guard/aside.py). At most PENDING jobs wait; further callers wait to join them.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from guard.aside import aside

PENDING = 1024  #: Jobs that may wait for a commit at once.

Work = Callable[[Any], None]  #: Executes statements on a cursor of the driver's; may be run more than once.


class _Job:
    __slots__ = ("done", "error", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.done = False
        self.error: Exception | None = None


class Writer:
    """Commits jobs over one connection; safe from any thread of one process."""

    def __init__(self, engine: sa.Engine, begin: str, pending: int = PENDING) -> None:
        self._engine = engine
        self._begin = begin  # what opens a transaction; "": the driver does
        self._held: Any = None  # a pooled connection, or None before the first job and after a fault
        self._space = threading.BoundedSemaphore(pending)
        self._pending: deque[_Job] = deque()
        self._lock = threading.Lock()

    def commit(self, work: Work) -> None:
        """Return when the work is committed; raises what the database raised, and then nothing of it is."""
        aside(functools.partial(self._commit, _Job(work)))

    def _commit(self, job: _Job) -> None:
        with self._space:
            self._pending.append(job)
            try:
                with self._lock:
                    if not job.done:
                        self._commit_pending()
            finally:
                if not job.done:  # interrupted while it waited, or in the middle
                    with contextlib.suppress(ValueError):
                        self._pending.remove(job)
        if job.error is not None:
            raise job.error

    def execute_alone(self, statement: str) -> None:
        """Execute a statement of SQLite's outside any transaction, while nobody writes."""
        aside(functools.partial(self._execute, statement))

    def _execute(self, statement: str) -> None:
        with self._lock:
            if self._held is None:
                self._held = self._engine.raw_connection()
            self._held.driver_connection.execute(statement).close()

    def close(self) -> None:
        """Give the connection up; the next job opens another."""
        aside(self._close)

    def _close(self) -> None:
        with self._lock:
            self._drop()

    def _commit_pending(self) -> None:
        """Commit the pending jobs together; one that fails fails alone, the others are committed without it."""
        jobs = list(self._pending)
        while jobs:
            try:
                self._transact(jobs)
            except _Failed as failed:
                failed.job.error = failed.error
                self._finish([failed.job])
                jobs.remove(failed.job)
            except Exception as error:  # of the database, at the beginning or the commit: it concerns them all
                for job in jobs:
                    job.error = error
                break
            else:
                break
        self._finish(jobs)

    def _finish(self, jobs: list[_Job]) -> None:
        for job in jobs:
            job.done = True
            with contextlib.suppress(ValueError):  # its caller was interrupted and has taken it back
                self._pending.remove(job)

    def _transact(self, jobs: list[_Job]) -> None:
        """Commit some jobs; where the connection turns out to be lost before the commit, over another one."""
        is_kept = self._held is not None
        try:
            self._transact_once(jobs)
        except _Lost as lost:
            if not is_kept:
                raise lost.error from None
            try:
                self._transact_once(jobs)
            except _Lost as again:
                raise again.error from None

    def _transact_once(self, jobs: list[_Job]) -> None:
        if self._held is None:
            self._held = self._engine.raw_connection()
        connection = self._held.driver_connection
        job: _Job | None = None  # the one at work
        is_committing = False
        try:
            cursor = connection.cursor()
            if self._begin:
                cursor.execute(self._begin)
            for job in jobs:
                job.work(cursor)
            job, is_committing = None, True
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
                if job is not None:
                    raise _Failed(job, error) from error
            raise

    def _drop(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.invalidate()


class _Lost(Exception):  # noqa: N818 (never leaves this module)
    """The connection broke before anything was committed over it."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Failed(Exception):  # noqa: N818 (the same)
    """The work of one job failed; nothing was committed."""

    def __init__(self, job: _Job, error: Exception) -> None:
        self.job, self.error = job, error
