"""Retention: how long records are kept.

Every 1,000th call of a trace, whoever writes it, takes what is too old along in its own transaction: the oldest calls
first, ten times as many as were written since at most, so that no write is held up for long. `guard trace prune` does
the rest at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from guard.bounds import MOST_DAYS, MOST_SUM, check

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

    def apply(self, cursor: Any, mark: str) -> int:
        """Delete the oldest calls that are not to be kept, MOST at most, with all that hangs on them.

        Returns how many went. A recorded reply goes when it is older than the limit of days, or than every call that
        is kept; a schema when no call names it. `mark` is how the driver marks a parameter.
        """
        before = None if self.days is None else time.time() - self.days * 86_400
        doomed = []
        if before is not None:
            doomed.append(("started < " + mark, before))
        if self.calls is not None:
            cursor.execute(f"SELECT id FROM calls ORDER BY id DESC LIMIT 1 OFFSET {mark}", (self.calls,))  # noqa: S608
            newest = cursor.fetchone()
            if newest is not None:
                doomed.append(("id <= " + mark, newest[0]))
        gone = 0
        if doomed:
            where = " OR ".join(condition for condition, _ in doomed)
            cursor.execute(
                f"DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE {where} ORDER BY id LIMIT {MOST})",  # noqa: S608
                tuple(value for _, value in doomed),
            )
            gone = cursor.rowcount
        if gone:
            cursor.execute(
                "DELETE FROM schemas WHERE NOT EXISTS (SELECT 1 FROM calls WHERE calls.schema_hash = schemas.hash)"
            )
        if before is not None:
            cursor.execute(f"DELETE FROM replies WHERE started < {mark}", (before,))  # noqa: S608
        if self.calls is not None and gone:
            cursor.execute("DELETE FROM replies WHERE started < (SELECT MIN(started) FROM calls)")
        return int(gone)
