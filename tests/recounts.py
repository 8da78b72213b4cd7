"""Judges of the running totals: a recount of all records, one after the other; and work done at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from guard.trace import TraceStore, sql_tables, totals
from guard.trace.totals import Totals

NAMES = (*sql_tables.COUNTS, *sql_tables.SUMS)


def counted(store: TraceStore, since: float = -math.inf) -> Totals:
    """Count all records since a time again, one after the other."""
    found = Totals()
    with store.reading() as connection:
        if connection is not None:
            cursor = connection.connection.cursor()
            numbers = connection.scalars(sa.select(sql_tables.CALLS.c.id).where(sql_tables.CALLS.c.started >= since))
            for record in totals.records(cursor, [0, *numbers]):
                found.add(*record)
    return found


def recounted(store: TraceStore) -> dict[tuple[int, str], dict[str, Any]]:
    """Count all records again, into rows by minute and shape."""
    found = {}
    for (minute, about), row in counted(store)._rows.items():
        named = {"minute": minute, "about": about, "asked": totals.About.of(about).asked}
        found[minute, totals._digest(about)] = row | named
    return found


def kept(store: TraceStore) -> dict[tuple[int, str], dict[str, Any]]:
    with store.reading() as connection:
        assert connection is not None
        rows = connection.execute(sa.select(sql_tables.TOTALS)).mappings().all()
    return {(row["minute"], row["shape"]): {str(k): v for k, v in row.items()} for row in rows}


def _longest(rows: Iterable[dict[str, Any]]) -> dict[tuple[int, str], float]:
    found: dict[tuple[int, str], float] = {}
    for row in rows:
        key = row["minute"], row["asked"]
        found[key] = max(found.get(key, 0.0), row["max_seconds"])
    return found


def check(store: TraceStore) -> None:
    """Hold the totals to the records."""
    found, expected = kept(store), recounted(store)
    assert found.keys() == expected.keys()
    # Of a model in a minute, which is what is asked for.
    assert _longest(found.values()) == _longest(expected.values())
    for key, row in found.items():
        same = {name: value for name, value in expected[key].items() if name not in ("max_seconds", "last")}
        assert {name: row[name] for name in same} == pytest.approx(same)
    _check_days(store, found)


def _check_days(store: TraceStore, minutes: Mapping[tuple[int, str], dict[str, Any]]) -> None:
    """Hold each day up to the newest that is summed up to its minutes."""
    with store.reading() as connection:
        assert connection is not None
        rows = connection.execute(sa.select(sql_tables.DAY_TOTALS)).mappings().all()
    newest = max((row["day"] for row in rows), default=-math.inf)
    expected: dict[tuple[int, str], dict[str, Any]] = {}
    for (minute, shape), row in minutes.items():
        if minute // 1_440 <= newest:
            day = expected.setdefault((minute // 1_440, shape), dict.fromkeys(NAMES, 0))
            for name in NAMES:
                day[name] += row[name]
    found = {(row["day"], row["shape"]): {name: row[name] for name in NAMES} for row in rows}
    assert found == {key: pytest.approx(row) for key, row in expected.items()}


def at_once(*works: Callable[[], object]) -> None:
    """Do each in a thread of its own, all at once; raises what the first of them raised."""
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()
