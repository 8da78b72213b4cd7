"""Retention: how long records are kept.

Every 1,000th call of a trace, whoever writes it, takes what is too old along in its own transaction: the oldest calls
first, ten times as many as were written since at most, so that no write is held up for long. `guard trace prune` does
the rest at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from guard.support.bounds import MOST_DAYS, MOST_SUM, check
from guard.trace.totals import Totals, records

EVERY = 1_000  #: Calls between two looks at what is too old.
MOST = 10_000  #: Calls that go in one transaction.


@dataclass(frozen=True)
class Retention:
    """What is kept; None is everything."""

    days: float | None = None  # since the call began
    calls: int | None = None  # the newest

    def __post_init__(self) -> None:
        if self.days is not None:
            check("days", self.days, 0, MOST_DAYS, is_above=True)
        if self.calls is not None:
            check("calls", self.calls, 1, MOST_SUM, is_whole=True)

    @property
    def asks(self) -> bool:
        """Whether anything ever goes."""
        return self.days is not None or self.calls is not None

    def apply(self, cursor: Any, totals: Totals, *, is_sqlite: bool) -> int:
        """Delete the oldest calls that are not to be kept, MOST at most, with all that hangs on them.

        Returns how many went. A recorded reply goes when it is older than the limit of days, or than every call that
        is kept; a schema when no call names it.
        """
        mark = "?" if is_sqlite else "%s"
        before = None if self.days is None else time.time() - self.days * 86_400
        doomed = [] if before is None else [(f"c.started < {mark}", before)]
        if self.calls is not None and (newest := self._newest(cursor, self.calls, mark)) is not None:
            doomed.append((f"c.id <= {mark}", newest))
        gone = self._delete(cursor, totals, doomed, "" if is_sqlite else "FOR UPDATE SKIP LOCKED", mark)
        if gone:
            cursor.execute(
                "DELETE FROM schemas WHERE NOT EXISTS (SELECT 1 FROM calls WHERE calls.schema_hash = schemas.hash)"
            )
        if before is not None:
            cursor.execute(f"DELETE FROM replies WHERE started < {mark}", (before,))  # noqa: S608
        if self.calls is not None and gone:
            cursor.execute("DELETE FROM replies WHERE started < (SELECT MIN(started) FROM calls)")
        return gone

    def _newest(self, cursor: Any, kept: int, mark: str) -> int | None:
        """Return the number of the newest call that goes because there are newer ones enough; None: none does."""
        cursor.execute("SELECT COUNT(*) FROM calls")  # over an index; from the newest back it would be over the records
        (there,) = cursor.fetchone()
        if there <= kept:
            return None
        cursor.execute(f"SELECT id FROM calls ORDER BY id LIMIT 1 OFFSET {mark}", (there - kept - 1,))  # noqa: S608
        found = cursor.fetchone()
        return None if found is None else int(found[0])

    def _delete(self, cursor: Any, totals: Totals, doomed: list[tuple[str, Any]], lock: str, mark: str) -> int:
        """Delete the oldest of the calls of which one of the conditions holds, and take them out of the totals.

        A server's calls are locked first: what another prunes at the same time is its own to count.
        """
        if not doomed:
            return 0
        where = " OR ".join(condition for condition, _ in doomed)
        values = [value for _, value in doomed]
        cursor.execute(f"SELECT c.id FROM calls c WHERE {where} ORDER BY c.id LIMIT {MOST} {lock}", values)  # noqa: S608
        numbers = [row[0] for row in cursor.fetchall()]
        if numbers:
            mine = set(numbers)
            for number, call, attempts in records(cursor, f"({where}) AND c.id <= {mark}", [*values, numbers[-1]]):
                if number in mine:
                    totals.add(number, call, attempts, sign=-1)
            cursor.executemany(f"DELETE FROM calls WHERE id = {mark}", [(number,) for number in numbers])  # noqa: S608
        return len(numbers)
