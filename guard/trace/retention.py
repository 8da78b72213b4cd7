"""Retention: how long records are kept.

Every 1,000th call of a trace deletes old records in its own transaction, whichever process writes it. It deletes the
oldest calls first, and at most twice as many as were written since, so that no write takes long. `guard trace prune`
deletes the rest, in equally short transactions. On PostgreSQL, months of which nothing is kept are dropped as a whole
(partitions.py, upkeep.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from guard.support.bounds import MOST_DAYS, MOST_SUM, check
from guard.trace.totals import COUNT, Totals, records

EVERY = 1_000  #: Calls written between two deletions.
MOST = 2_000  #: Most calls deleted in another call's transaction.


@dataclass(frozen=True)
class Retention:
    """How long records are kept; None keeps everything."""

    days: float | None = None  # since the call began
    calls: int | None = None  # the newest

    def __post_init__(self) -> None:
        if self.days is not None:
            check("days", self.days, 0, MOST_DAYS, is_above=True)
        if self.calls is not None:
            check("calls", self.calls, 1, MOST_SUM, is_whole=True)

    @property
    def asks(self) -> bool:
        """Whether anything is ever deleted."""
        return self.days is not None or self.calls is not None

    def doomed(self, cursor: Any, mark: str, pending: int = 0) -> Doomed:
        """Return the records to delete at present; `pending` calls are not in the totals yet."""
        before = None if self.days is None else time.time() - self.days * 86_400
        return Doomed(before, None if self.calls is None else self._newest(cursor, self.calls, mark, pending))

    def _newest(self, cursor: Any, kept: int, mark: str, pending: int) -> int | None:
        """Return the number of the newest call beyond the number to keep; None where there is none.

        In one statement, since others delete meanwhile: what they took must be gone from the count as well.
        """
        cursor.execute(
            f"""WITH there AS (SELECT {COUNT} - {mark} AS beyond) SELECT id FROM calls ORDER BY id
            LIMIT (SELECT CASE WHEN beyond > 0 THEN 1 ELSE 0 END FROM there)
            OFFSET (SELECT CASE WHEN beyond > 0 THEN beyond - 1 ELSE 0 END FROM there)""",  # noqa: S608 (our own words)
            (kept - pending,),
        )
        found = cursor.fetchone()
        return None if found is None else int(found[0])


class Doomed(NamedTuple):
    """The records to delete: calls that began before a time, calls up to a number, and all that belongs to them."""

    before: float | None
    newest: int | None

    def delete(self, cursor: Any, totals: Totals, most: int, *, is_sqlite: bool) -> tuple[int, int]:
        """Delete the oldest of these calls, at most `most`, and take them out of the totals.

        Returns how many calls and how many recorded replies were deleted; the bound holds for both. A recorded reply is
        deleted when it is too old, or older than every call that is kept; a schema, with the last call that names it.
        Each query uses an index, so its cost does not grow with the trace.
        """
        mark = "?" if is_sqlite else "%s"
        calls: dict[int, str] = {}
        for condition, order, value in (("c.id <=", "c.id", self.newest), ("c.started <", "c.started", self.before)):
            if value is not None and len(calls) < most:
                # On a server the calls are locked first, so that two prunings never count the same call.
                cursor.execute(
                    f"SELECT c.id, c.schema_hash FROM calls c WHERE {condition} {mark} ORDER BY {order} LIMIT {mark}"  # noqa: S608 (our own words)
                    + ("" if is_sqlite else " FOR UPDATE SKIP LOCKED"),
                    (value, most - len(calls)),
                )
                calls.update(cursor.fetchall())
        if calls:
            among = f"({', '.join(map(str, calls))})"
            for number, call, attempts in records(cursor, calls):
                totals.add(number, call, attempts, sign=-1)
            for table in () if is_sqlite else ("items", "feedback"):  # no key of theirs can hold a partitioned table
                cursor.execute(f"DELETE FROM {table} WHERE call IN {among}")  # noqa: S608 (numbers)
            cursor.execute(f"DELETE FROM calls WHERE id IN {among}")  # noqa: S608 (numbers)
            named = [(name,) for name in sorted(set(calls.values()))]
            cursor.executemany(
                f"""DELETE FROM schemas WHERE hash = {mark}
                AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.schema_hash = schemas.hash)""",  # noqa: S608 (a mark)
                named,
            )
        return len(calls), self._delete_replies(cursor, most, mark)

    def _delete_replies(self, cursor: Any, most: int, mark: str) -> int:
        times: list[float] = [] if self.before is None else [self.before]
        if self.newest is not None:
            cursor.execute("SELECT MIN(started) FROM calls")
            times += [oldest for (oldest,) in cursor.fetchall() if isinstance(oldest, int | float)]  # or it is damaged
        if not times:
            return 0
        cursor.execute(
            f"""DELETE FROM replies WHERE key IN
            (SELECT key FROM replies WHERE started < {mark} ORDER BY started LIMIT {mark})""",  # noqa: S608 (marks)
            (max(times), most),
        )
        return int(cursor.rowcount)
