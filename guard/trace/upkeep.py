"""What a trace needs beside records: old ones deleted, partitions made ahead and dropped as a whole, days summed up.

`keep_up` does a little of each every thousandth call, `prune` all of it, in portions of HOLD_S between which others
write. SQLite has no partitions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from guard.trace import day_totals, partitions
from guard.trace.databases import Database, is_busy
from guard.trace.group_commit import Late, Writer
from guard.trace.partitions import Partition
from guard.trace.retention import MOST, Doomed, Retention
from guard.trace.transaction import Transaction
from guard.trace.waits import WAIT_S

HOLD_S = 0.025  #: Seconds for which the write lock is held at a time.
LEAST = 50  #: Least calls, or pages of a file, that a portion deletes.
DROP_S = 0.1  #: Longest wait for all users of a trace to let go of it, while others wait as well.
TRIES = 20  #: How often `prune` tries to drop a month, before it deletes the month's records one by one.
_NO_PARTITION = "23514"  # PostgreSQL's code; the tables have no other check
_NO_TABLE = "42P01"
Counts = TypeVar("Counts", bound=tuple[int, ...])


class Upkeep:
    """Keeps up one trace. All methods raise the database's errors, and Late."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database, self._writer = database, writer
        self._there: list[Partition] = []  # partitions, as far as this process knows
        self._making = threading.Lock()

    def has_partitions(self, times: Sequence[float]) -> bool:
        """Whether there are partitions for calls that began at some times."""
        if self._database.is_sqlite:
            return True
        there = self._there
        return all(any(p.start <= started < p.end for p in there) for started in times)

    def make_partitions(self, times: Sequence[float], seconds: float) -> None:
        """Make the partitions for calls that began at some times, and those of this month and the next."""
        if self._database.is_sqlite:
            return
        if not self._making.acquire(timeout=max(0.0, seconds)):  # once for all threads of the process
            raise Late("another holds it")
        try:
            if not times or not self.has_partitions(times):
                with self._database.writer(seconds).begin() as connection:
                    there = partitions.ensure(connection, times)
                self._there = there[::-1]  # the newest are asked for first
        finally:
            self._making.release()

    def forget(self) -> None:
        """Look for the partitions again at the next record."""
        self._there = []

    def keep_up(self, retention: Retention) -> None:
        """Make the next month's partition, drop a month of which nothing is kept, and sum up days that are over."""
        self.make_partitions([], HOLD_S)
        if retention.asks:
            doomed = self._doomed(retention)
            for month in self._months(doomed)[:1]:
                if not any(next(self._clearing(month, MOST), ())):
                    self._drop(month, doomed, tries=1)
        until = time.monotonic() + HOLD_S
        for _ in self._in_portions(self._sum_up):
            if time.monotonic() > until:
                return

    def sum_up(self) -> None:
        """Sum up all days that are over."""
        for _ in self._in_portions(self._sum_up):
            pass

    def prune(self, retention: Retention) -> int:
        """Delete all records beyond the retention, and shrink the file; return how many calls were deleted."""
        doomed = self._doomed(retention)
        total = 0
        for month in self._months(doomed):
            for _ in self._clearing(month):
                pass
            total += self._drop(month, doomed)

        def sweep(to: Transaction, most: int) -> tuple[int, int]:
            return doomed.delete(to.cursor, to.totals, most, is_sqlite=self._database.is_sqlite)

        total += sum(calls for calls, _ in self._in_portions(sweep))
        self.sum_up()
        if self._database.is_sqlite:
            for _ in self._in_portions(_give_back):
                pass
            self._writer.execute_alone("PRAGMA wal_checkpoint(TRUNCATE)", WAIT_S)
        return total

    def _doomed(self, retention: Retention) -> Doomed:
        with self._database.reader.connect() as connection:
            return retention.doomed(connection.connection.cursor(), self._database.mark)

    def _months(self, doomed: Doomed) -> list[Partition]:
        if self._database.is_sqlite:
            return []
        with self._database.writer(WAIT_S).begin() as connection:
            return partitions.doomed(connection, doomed.before, doomed.newest)

    def _drop(self, month: Partition, doomed: Doomed, tries: int = TRIES) -> int:
        """Drop a month if nothing of it is kept; return how many calls it had, or 0 where it stays in use."""
        for _ in range(tries):
            try:
                with self._database.writer(DROP_S).begin() as connection:
                    gone = partitions.drop(connection, month, doomed.before, doomed.newest)
            except self._database.errors as error:
                if not is_busy(getattr(error, "orig", None) or error):
                    raise
                time.sleep(DROP_S)
            else:
                self._there = [p for p in self._there if p != month]
                return gone or 0
        return 0

    def _clearing(self, month: Partition, size: int | None = None) -> Iterator[tuple[int, ...]]:
        """Delete what belongs to a month's calls, in portions; yield how many rows of each table each did."""

        def clear(to: Transaction, most: int) -> tuple[int, ...]:
            counts = []
            for statement in partitions.dependents(month, most):
                to.cursor.execute(statement)
                counts.append(to.cursor.rowcount)
            return tuple(counts)

        try:
            yield from self._in_portions(clear, size)
        except self._database.errors as error:
            if getattr(error, "sqlstate", None) != _NO_TABLE:  # another process has dropped the month
                raise

    def _sum_up(self, to: Transaction, _most: int) -> tuple[int]:
        return (day_totals.sum_up(to.cursor, is_sqlite=self._database.is_sqlite),)

    def _in_portions(self, work: Callable[[Transaction, int], Counts], size: int | None = None) -> Iterator[Counts]:
        """Commit work in portions, and yield how much each did, until one did nothing.

        A portion takes about HOLD_S, and others may write for as long before the next.
        """
        most, began = size or LEAST, 0.0
        done: Counts

        def portion(to: Transaction) -> None:
            nonlocal began, done
            began = time.monotonic()  # not earlier, since the wait for others does not count
            done = work(to, most)

        while True:
            self._writer.commit(portion, WAIT_S)
            if not any(done):
                return
            held = time.monotonic() - began
            most = max(LEAST, min(2 * most, int(most * HOLD_S / max(held, 1e-3))))
            yield done
            time.sleep(held)


def is_without_partition(error: Exception) -> bool:
    """Whether a record failed because its partition is not there: another process has dropped it."""
    return getattr(error, "sqlstate", None) == _NO_PARTITION


def _give_back(to: Transaction, most: int) -> tuple[int]:
    """Return at most so many free pages at the end of the file to the system; return how many."""
    (before,) = to.cursor.execute("PRAGMA page_count").fetchone()
    for _ in range(most):
        to.cursor.execute("PRAGMA incremental_vacuum(1)")  # one page a step: the driver ignores larger numbers
    (after,) = to.cursor.execute("PRAGMA page_count").fetchone()
    return (before - after,)
