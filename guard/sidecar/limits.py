"""Rates and budgets of keys, shared by all processes of a sidecar through the trace's database.

Requests are counted by the minute, tokens and dollars by the day (UTC). A process takes requests of a minute from the
database in portions, so that a high rate does not cost a transaction each: never more are let in than the key's limit,
and a portion that a process did not use up is at most a 64th of it. What requests that run together spend is known
when they end: a budget stops the next request, never one that runs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from guard.sidecar.keys import Key
from guard.trace import TraceStore
from guard.trace.tables import SPENDING

MINUTE, DAY = 60, 86_400
PORTIONS = 64  #: A process takes this share of a minute's requests at once.


@dataclass(frozen=True)
class Excess:
    """Why a key must wait."""

    what: str  # "requests_per_minute=60"
    seconds: float  # until the next minute or day
    is_budget: bool


class Ledger:
    """What keys have spent; `admit` and `spend` block, `has_portion` does not."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._portions: dict[str, tuple[int, int]] = {}  # key → (minute, requests left of the portion)

    def take(self, key: Key) -> bool:
        """Take a request from this process's portion; False where the database must be asked."""
        if key.has_budget:
            return False
        minute, left = self._portions.get(key.id, (0, 0))
        if left == 0 or minute != int(time.time() // MINUTE):
            return False
        self._portions[key.id] = minute, left - 1
        return True

    def admit(self, key: Key) -> Excess | None:
        """Count a request; returns why it may not be, or None. Blocking."""
        now = time.time()
        minute, day = int(now // MINUTE), int(now // DAY)
        with self._store.begin() as connection:
            if key.has_budget:
                spent = _row(connection, key, f"day {day}")
                for name, used in (("tokens_per_day", spent.tokens), ("usd_per_day", spent.usd)):
                    most = getattr(key, name)
                    if most is not None and used >= most:
                        return Excess(f"{name}={most:g}", (day + 1) * DAY - now, True)
            most = key.requests_per_minute
            if most is None:
                return None
            period = f"minute {minute}"
            used = _row(connection, key, period).requests
            if used >= most:
                return Excess(f"requests_per_minute={most}", (minute + 1) * MINUTE - now, False)
            portion = min(max(1, most // PORTIONS), most - used)
            _add(connection, key, period, requests=portion)
            if used == 0:  # a new minute: the old ones are over
                old = SPENDING.c.period.like("minute %") & (SPENDING.c.period != period)
                connection.execute(SPENDING.delete().where(SPENDING.c.key == key.id, old))
        self._portions[key.id] = minute, portion - 1
        return None

    def spend(self, key: Key, tokens: int, usd: float) -> None:
        """Count what a request has spent. Blocking."""
        period = f"day {int(time.time() // DAY)}"
        with self._store.begin() as connection:
            _row(connection, key, period)
            _add(connection, key, period, requests=1, tokens=tokens, usd=usd)


def _row(connection: sa.Connection, key: Key, period: str) -> Any:
    """Return the row of a period, made where it is not there, and locked."""
    where = SPENDING.c.key == key.id, SPENDING.c.period == period
    query = sa.select(SPENDING.c.requests, SPENDING.c.tokens, SPENDING.c.usd).where(*where).with_for_update()
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
