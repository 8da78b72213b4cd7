"""Rates and budgets of keys, shared by all processes of a sidecar through the trace's database.

Requests are counted by the minute, tokens and dollars by the day (UTC). A process takes a minute's requests from the
database in portions, so that a high rate does not cost a transaction each. Never more requests are let in than the
key's limit. The portion of a process that dies is lost until the minute ends: at most a 512th of the limit.

What a request spends is known at its end: a budget stops the next request, never a running one. What ends at the same
time is committed together, and the commit tells what all processes have spent; that reading lets requests in for a
moment, as long as it is far from the limit. Nothing is spent in advance, so a process that dies takes nothing along.
What can't be counted, because the database does not answer, is counted with what is spent next.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from guard.sidecar.keys import Key
from guard.trace import TraceError, TraceStore
from guard.trace.sql_tables import SPENDING
from guard.trace.waits import WAIT_S

MINUTE, DAY = 60, 86_400
PORTIONS = 512  #: A portion is the limit divided by this, or as many requests as wait for one.
OVER = 2 * 24 * 60  #: Minutes after which no process asks for a minute's requests any more, its clock ahead or not.
READING_S = 0.25  #: Seconds for which a reading of a budget lets requests in without asking the database,
NEAR = 64  #: unless less than the budget divided by this is left.
SPENT = ("requests", "tokens", "usd")  #: What is summed up of a key's use.

_CHARGE = """INSERT INTO spending (key, period, requests, tokens, usd)
VALUES (:key, :period, :requests, :tokens, :usd)
ON CONFLICT (key, period) DO UPDATE SET requests = spending.requests + excluded.requests,
tokens = spending.tokens + excluded.tokens, usd = spending.usd + excluded.usd"""


@dataclass(frozen=True)
class Excess:
    """The limit that a key has reached, and how long it must wait."""

    what: str  # "requests_per_minute=60"
    seconds: float  # until the next minute or day
    is_budget: bool


class _Reading(NamedTuple):
    """What all processes together had spent of a key's budget."""

    period: str
    tokens: int
    usd: float
    at: float  # by the monotonic clock


class Ledger:
    """The use of all keys. `admit` and `charge` block, the others do not."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._portions: dict[str, tuple[int, int]] = {}  # key → (minute, requests left of the portion)
        self._readings: dict[str, _Reading] = {}  # by key
        self._owed: dict[tuple[str, str], tuple[int, int, float]] = {}  # (key, period) → SPENT, not yet counted
        self._waiting: dict[str, int] = {}  # key → requests that wait for a portion
        self._taking = threading.Lock()  # guards these; held for a moment only
        self._booking = threading.Lock()  # held while a portion is fetched: nobody is refused meanwhile

    def take(self, key: Key) -> bool:
        """Count a request by what this process knows. Returns False where the database must be asked."""
        now = time.time()
        if key.has_budget and not self._has_plenty(key, f"day {int(now // DAY)}"):
            return False
        return key.requests_per_minute is None or self._take(key, int(now // MINUTE))

    def admit(self, key: Key, seconds: float = WAIT_S) -> Excess | None:
        """Count a request, or return the limit that forbids it. Blocks; raises TraceError after so many seconds."""
        now = time.time()
        minute, until = int(now // MINUTE), time.monotonic() + seconds
        if key.has_budget and (excess := self._overspent(key, now)) is not None:
            return excess
        if key.requests_per_minute is None or self._take(key, minute):
            return None
        self._wait(key, 1)
        try:
            if not self._booking.acquire(timeout=max(0.0, seconds)):
                raise TraceError(f"the rate of {key.name} could not be asked for within {seconds:.3g} s")
            try:
                if self._take(key, minute) or self._book(key, minute, until - time.monotonic()):
                    return None
            finally:
                self._booking.release()
        finally:
            self._wait(key, -1)
        return Excess(f"requests_per_minute={key.requests_per_minute}", (minute + 1) * MINUTE - now, False)

    def owe(self, key: Key, tokens: int, usd: float) -> None:
        """Note what a request has spent, for `charge`."""
        self._add((key.id, f"day {int(time.time() // DAY)}"), (1, tokens, usd))

    def charge(self, seconds: float = WAIT_S) -> None:
        """Count all that is owed, in one transaction. Blocks; raises TraceError after so many seconds.

        It is owed still after an error, and may then be counted twice: nobody knows whether a commit came through whose
        answer was lost.
        """
        at, day = time.monotonic(), f"day {int(time.time() // DAY)}"
        with self._taking:
            owed, self._owed = self._owed, {}
        if not owed:
            return
        names = sorted(owed)  # in one order: no deadlocks
        rows = [dict(zip(("key", "period", *SPENT), (*name, *owed[name]), strict=True)) for name in names]
        where = sa.tuple_(SPENDING.c.key, SPENDING.c.period).in_(names)
        try:
            with self._store.begin(seconds) as connection:
                connection.execute(sa.text(_CHARGE), rows)
                spent = connection.execute(sa.select(SPENDING).where(where)).all()
        except BaseException:
            for name in names:
                self._add(name, owed[name])
            with self._taking:
                self._readings.clear()  # the next request asks the database, before a model that is paid for
            raise
        for row in spent:
            if row.period == day:
                self._note(row.key, _Reading(row.period, row.tokens, row.usd, at))

    def _add(self, name: tuple[str, str], more: tuple[int, int, float]) -> None:
        """Owe more: a row a key and day, however long the database does not answer."""
        with self._taking:
            requests, tokens, usd = self._owed.get(name, (0, 0, 0.0))
            self._owed[name] = requests + more[0], tokens + more[1], usd + more[2]

    def _take(self, key: Key, minute: int) -> bool:
        """Count a request against this minute's portion."""
        with self._taking:
            taken, left = self._portions.get(key.id, (0, 0))
            if left == 0 or taken != minute:
                return False
            self._portions[key.id] = minute, left - 1
            return True

    def _wait(self, key: Key, more: int) -> None:
        with self._taking:
            self._waiting[key.id] = self._waiting.get(key.id, 0) + more

    def _note(self, name: str, reading: _Reading) -> None:
        """Keep a reading, unless there is a later one."""
        with self._taking:
            kept = self._readings.get(name)
            if kept is None or kept.at <= reading.at:
                self._readings[name] = reading

    def _has_plenty(self, key: Key, period: str) -> bool:
        """Whether a reading of a moment ago is far from the key's budget."""
        reading = self._readings.get(key.id)
        if reading is None or reading.period != period or time.monotonic() - reading.at > READING_S:
            return False
        return not any(most - used <= most / NEAR for _, most, used in _budgets(key, reading))

    def _overspent(self, key: Key, now: float) -> Excess | None:
        """Return the day's budget that is spent, or None. Only reads, and takes no lock."""
        at, day = time.monotonic(), int(now // DAY)
        period = f"day {day}"
        where = SPENDING.c.key == key.id, SPENDING.c.period == period
        with self._store.reading() as connection:
            query = sa.select(SPENDING.c.tokens, SPENDING.c.usd).where(*where)
            spent = None if connection is None else connection.execute(query).one_or_none()
        tokens, usd = (0, 0.0) if spent is None else (spent.tokens, spent.usd)
        reading = _Reading(period, tokens, usd, at)
        self._note(key.id, reading)
        for name, most, used in _budgets(key, reading):
            if used >= most:
                return Excess(f"{name}={most:g}", (day + 1) * DAY - now, True)
        return None

    def _book(self, key: Key, minute: int, seconds: float) -> bool:
        """Take a portion of a minute's requests, and count one of it. Returns False where none are left."""
        most, period = key.requests_per_minute or 0, f"minute {minute}"
        wanted = max(1, most // PORTIONS, self._waiting[key.id])
        with self._store.begin(max(0.0, seconds)) as connection:
            used = _row(connection, key, period).requests
            portion = min(wanted, most - used)
            if portion <= 0:
                return False
            where = SPENDING.c.key == key.id, SPENDING.c.period == period
            connection.execute(SPENDING.update().where(*where).values(requests=SPENDING.c.requests + portion))
            if used == 0:  # a new minute: the old ones are over, also where a clock is behind or a request has waited
                old = SPENDING.c.period.like("minute %") & (SPENDING.c.period < f"minute {minute - OVER}")
                connection.execute(SPENDING.delete().where(SPENDING.c.key == key.id, old))
        with self._taking:
            self._portions[key.id] = minute, portion - 1
        return True


def _budgets(key: Key, reading: _Reading) -> list[tuple[str, float, float]]:
    """Return the budgets that a key has: their names, how much each is, and how much of it is spent."""
    found = ("tokens_per_day", key.tokens_per_day, reading.tokens), ("usd_per_day", key.usd_per_day, reading.usd)
    return [(name, most, used) for name, most, used in found if most is not None]


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
