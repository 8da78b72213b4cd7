"""Rates and budgets of keys, shared by all processes of a sidecar through the trace's database.

Requests are counted by the minute, tokens and dollars by the day (UTC). A process takes a minute's requests from the
database in portions, so that a high rate does not cost a transaction each. Never more requests are let in than the
key's limit; an unused portion wastes at most a 64th of it. What a request spends is known at its end: a budget stops
the next request, never a running one.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from guard.sidecar.keys import Key
from guard.trace import TraceError, TraceStore
from guard.trace.sql_tables import SPENDING
from guard.trace.waits import WAIT_S

MINUTE, DAY = 60, 86_400
PORTIONS = 64  #: A portion is the limit divided by this.


@dataclass(frozen=True)
class Excess:
    """The limit that a key has reached, and how long it must wait."""

    what: str  # "requests_per_minute=60"
    seconds: float  # until the next minute or day
    is_budget: bool


class Ledger:
    """The use of all keys. `admit` and `spend` block, `take` does not."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._portions: dict[str, tuple[int, int]] = {}  # key → (minute, requests left of the portion)
        self._taking = threading.Lock()  # guards `_portions`; held for a moment only
        self._booking = threading.Lock()  # held while a portion is fetched: nobody is refused meanwhile

    def take(self, key: Key) -> bool:
        """Count a request against the portion in hand. Returns False where the database must be asked."""
        return not key.has_budget and self._take(key, int(time.time() // MINUTE))

    def admit(self, key: Key, seconds: float = WAIT_S) -> Excess | None:
        """Count a request, or return the limit that forbids it. Blocks; raises TraceError after so many seconds."""
        now = time.time()
        minute, until = int(now // MINUTE), time.monotonic() + seconds
        if key.has_budget and (excess := self._overspent(key, now)) is not None:
            return excess
        if key.requests_per_minute is None or self._take(key, minute):
            return None
        if not self._booking.acquire(timeout=max(0.0, seconds)):
            raise TraceError(f"the rate of {key.name} could not be asked for within {seconds:.3g} s")
        try:
            if self._take(key, minute) or self._book(key, minute, until - time.monotonic()):
                return None
        finally:
            self._booking.release()
        return Excess(f"requests_per_minute={key.requests_per_minute}", (minute + 1) * MINUTE - now, False)

    def spend(self, key: Key, tokens: int, usd: float, seconds: float = WAIT_S) -> None:
        """Count what a request has spent. Blocks; raises TraceError after so many seconds."""
        period = f"day {int(time.time() // DAY)}"
        with self._store.begin(seconds) as connection:
            _row(connection, key, period)
            _add(connection, key, period, requests=1, tokens=tokens, usd=usd)

    def _take(self, key: Key, minute: int) -> bool:
        """Count a request against this minute's portion."""
        with self._taking:
            taken, left = self._portions.get(key.id, (0, 0))
            if left == 0 or taken != minute:
                return False
            self._portions[key.id] = minute, left - 1
            return True

    def _overspent(self, key: Key, now: float) -> Excess | None:
        """Return the day's budget that is spent, or None. Only reads, and takes no lock."""
        day = int(now // DAY)
        where = SPENDING.c.key == key.id, SPENDING.c.period == f"day {day}"
        with self._store.reading() as connection:
            query = sa.select(SPENDING.c.tokens, SPENDING.c.usd).where(*where)
            spent = None if connection is None else connection.execute(query).one_or_none()
        for name, used in () if spent is None else (("tokens_per_day", spent.tokens), ("usd_per_day", spent.usd)):
            most = getattr(key, name)
            if most is not None and used >= most:
                return Excess(f"{name}={most:g}", (day + 1) * DAY - now, True)
        return None

    def _book(self, key: Key, minute: int, seconds: float) -> bool:
        """Take a portion of a minute's requests, and count one of it. Returns False where none are left."""
        most, period = key.requests_per_minute or 0, f"minute {minute}"
        with self._store.begin(max(0.0, seconds)) as connection:
            used = _row(connection, key, period).requests
            portion = min(max(1, most // PORTIONS), most - used)
            if portion <= 0:
                return False
            _add(connection, key, period, requests=portion)
            if used == 0:  # a new minute: the old ones are over
                old = SPENDING.c.period.like("minute %") & (SPENDING.c.period != period)
                connection.execute(SPENDING.delete().where(SPENDING.c.key == key.id, old))
        with self._taking:
            self._portions[key.id] = minute, portion - 1
        return True


def _row(connection: sa.Connection, key: Key, period: str) -> Any:
    """Return the row of a period, locked; make it where it does not exist."""
    where = SPENDING.c.key == key.id, SPENDING.c.period == period
    query = sa.select(SPENDING.c.requests).where(*where).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        values = {"key": key.id, "period": period, "requests": 0, "tokens": 0, "usd": 0.0}
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        text = f"INSERT INTO spending ({names}) VALUES ({marks}) ON CONFLICT (key, period) DO NOTHING"  # noqa: S608 (our own names)
        connection.execute(sa.text(text), values)
        row = connection.execute(query).one()
    return row


def _add(connection: sa.Connection, key: Key, period: str, **more: float) -> None:
    where = SPENDING.c.key == key.id, SPENDING.c.period == period
    connection.execute(
        SPENDING.update().where(*where).values({name: SPENDING.c[name] + value for name, value in more.items()})
    )
