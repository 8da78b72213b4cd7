"""Totals by the day: the sums of a day's minutes (totals.py), so that years of records are some thousand rows.

`totals_by_day` holds every day up to the newest that is in it. Retention adds the next one, when it is over for 12
hours, every thousandth call. Whoever changes a minute afterwards changes the day in the same transaction.

In SQLite, every change looks whether it is of such a day. On PostgreSQL that would take a round trip, and a day is over
when the server's clock says so as well: minutes that are less than an hour old can't be of such a day, as long as no
writer's clock is half a day behind the server's.

Both take an advisory lock on PostgreSQL, shared by writers: a day's sum is either made before a change of it, and the
change added, or after the change is committed.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

from guard.trace.sql_tables import COUNTS, SUMS

MINUTES = 1_440  #: In a day.
LATE = 60  #: Minutes after which a change may be of a day that is summed up.
OVER = 12 * 60  #: Minutes after its end when a day is summed up.
_LOCK = 0x6775617265  # of PostgreSQL's advisory locks
_NAMES = (*COUNTS, *SUMS)


def add(cursor: Any, rows: Sequence[tuple[int, str, str, dict[str, Any]]], *, is_sqlite: bool) -> None:
    """Add changes of minutes, (minute, shape, about, figures), to the days that are summed up already."""
    late = rows if is_sqlite else [row for row in rows if row[0] < time.time() // 60 - LATE]
    if not late:
        return
    if not is_sqlite:
        cursor.execute(f"SELECT pg_advisory_xact_lock_shared({_LOCK})")
    newest = _newest(cursor)
    days: dict[tuple[int, str], dict[str, Any]] = {}
    for minute, shape, about, figures in late:
        day = minute // MINUTES
        if newest is not None and day <= newest:
            row = days.setdefault((day, shape), {"about": about, "last": 0, **dict.fromkeys(_NAMES, 0)})
            row["last"] = max(row["last"], figures["last"])
            for name in _NAMES:
                row[name] += figures[name]
    if days:
        mark = "?" if is_sqlite else "%s"
        values = [(day, shape, *row.values()) for (day, shape), row in sorted(days.items(), key=lambda item: item[0])]
        cursor.executemany(_upsert(is_sqlite), values)
        empty = sorted({(day,) for day, _ in days})
        cursor.executemany(f"DELETE FROM totals_by_day WHERE day = {mark} AND parts <= 0", empty)  # noqa: S608 (a mark)


def sum_up(cursor: Any, *, is_sqlite: bool) -> int:
    """Sum up the next day that is over; return 1, or 0 where there is none or another process does it."""
    if not is_sqlite:
        cursor.execute(f"SELECT pg_try_advisory_xact_lock({_LOCK})")
        if not cursor.fetchone()[0]:
            return 0
    mark, now = "?" if is_sqlite else "%s", time.time()
    if not is_sqlite:
        cursor.execute("SELECT EXTRACT(EPOCH FROM now())::float")
        now = min(now, cursor.fetchone()[0])
    newest = _newest(cursor)
    first = -(2**62) if newest is None else (newest + 1) * MINUTES
    cursor.execute(f"SELECT MIN(minute) FROM totals WHERE minute >= {mark}", (first,))  # noqa: S608 (a mark)
    (minute,) = cursor.fetchone()
    if minute is None or (minute // MINUTES + 1) * MINUTES + OVER > now // 60:
        return 0
    day = minute // MINUTES
    sums = ", ".join(f"SUM({name})" for name in _NAMES)
    cursor.execute(
        f"""INSERT INTO totals_by_day (day, shape, about, last, {", ".join(_NAMES)})
        SELECT {day}, shape, MAX(about), MAX(last), {sums} FROM totals
        WHERE minute >= {day * MINUTES} AND minute < {(day + 1) * MINUTES} GROUP BY shape""",  # noqa: S608 (our own names)
    )
    return 1


def _newest(cursor: Any) -> int | None:
    cursor.execute("SELECT MAX(day) FROM totals_by_day")
    newest: int | None = cursor.fetchone()[0]
    return newest


@functools.cache
def _upsert(is_sqlite: bool) -> str:
    mark, greater = ("?", "MAX") if is_sqlite else ("%s", "GREATEST")
    names = ("day", "shape", "about", "last", *_NAMES)
    sets = [f"{name} = totals_by_day.{name} + excluded.{name}" for name in _NAMES]
    sets.append(f"last = {greater}(totals_by_day.last, excluded.last)")
    return f"""INSERT INTO totals_by_day ({", ".join(names)}) VALUES ({", ".join([mark] * len(names))})
        ON CONFLICT (day, shape) DO UPDATE SET {", ".join(sets)}"""  # noqa: S608 (our own names)
