"""Retention: which records go, how many at a time, and that nothing of them is left in the file."""

from __future__ import annotations

import dataclasses
import functools
import sqlite3
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import postgres
import pytest
import recounts
import sqlalchemy as sa
from sample_calls import CALL

import guard
from guard.trace import (
    TraceStore,
    sql_tables,
)
from guard.trace.records import Call
from guard.trace.retention import EVERY, Retention
from guard.trace.transaction import Transaction


def _numbers(store: TraceStore) -> list[int | None]:
    return [call.number for call in store.each()]


def _at(days_ago: float) -> Call:
    return dataclasses.replace(CALL, started=time.time() - days_ago * 86_400)


def test_only_the_newest_calls_are_kept_where_a_number_is_set(place: str) -> None:
    store = TraceStore(place, Retention(calls=100))
    for _ in range(EVERY - 1):
        store.write(CALL)
    assert len(store.latest(limit=5000)) == EVERY - 1
    store.write(CALL)
    assert _numbers(store) == list(range(EVERY - 99, EVERY + 1))
    with store._engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(sql_tables.ATTEMPTS)) == 200
    store.close()


def test_old_calls_go_where_days_are_set_with_the_schemas_and_replies_that_nothing_names(place: str) -> None:
    store = TraceStore(place)
    compiled = [guard.compile({"const": n}) for n in range(2)]
    for number, days_ago in enumerate((9, 8, 3, 1)):
        asked = compiled[number // 2]
        store.write(dataclasses.replace(_at(days_ago), schema_hash=asked.hash), asked)
    store.record("old", {"n": 1})
    with store._engine.begin() as connection:
        connection.execute(sql_tables.REPLIES.update().values(started=time.time() - 8 * 86_400))
    store.record("new", {"n": 2})
    assert store.prune(Retention(days=7)) == 2
    assert _numbers(store) == [3, 4]
    assert (store.recorded("old"), store.recorded("new")) == (None, {"n": 2})
    assert (store.schema(compiled[0].hash), store.schema(compiled[1].hash)) == (None, compiled[1].arguments())
    assert store.prune(Retention(calls=1)) == 1
    assert _numbers(store) == [4]
    assert store.write(CALL).number == 5  # a number is never given out again
    store.close()


def test_a_backlog_goes_in_portions_and_prune_takes_them_all(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.trace.insertion.MOST", 3)
    monkeypatch.setattr("guard.trace.store.EVERY", 10)
    monkeypatch.setattr("guard.trace.insertion.EVERY", 10)
    store = TraceStore(place)
    for _ in range(9):
        store.write(CALL)
    store.retention = Retention(calls=2)
    store.write(CALL)
    assert _numbers(store) == [4, 5, 6, 7, 8, 9, 10]
    assert store.prune(Retention(calls=2)) == 5
    assert _numbers(store) == [9, 10]
    store.close()


def test_others_write_between_the_portions_of_a_pruning(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = TraceStore(place), TraceStore(place)
    for _ in range(9):
        store.write(CALL)
    written: list[int | None] = []
    pause = types.SimpleNamespace(
        sleep=lambda _seconds: written.append(other.write(CALL, seconds=0.5).number),
        monotonic=time.monotonic,
        time=time.time,
    )
    monkeypatch.setattr("guard.trace.upkeep.time", pause)
    monkeypatch.setattr("guard.trace.upkeep.LEAST", 2)
    monkeypatch.setattr("guard.trace.upkeep.HOLD_S", 0.0)
    assert store.prune(Retention(calls=2)) == 7
    assert written[:4] == [10, 11, 12, 13]
    assert _numbers(store) == [8, 9, *written]
    store.close()
    other.close()


class _Others:
    """A cursor between whose statements others write."""

    def __init__(self, cursor: Any, others: Callable[[], object]) -> None:
        self._cursor, self._others, self._asked = cursor, others, 0

    def execute(self, *statement: Any) -> None:
        self._asked += 1
        if self._asked == 2:
            self._others()
        self._cursor.execute(*statement)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@pytest.mark.parametrize("others", ["prune", "sum up a day"])
def test_as_many_calls_are_kept_as_are_set_where_others_delete_or_sum_up_meanwhile(
    postgres_server: postgres.Server, others: str
) -> None:
    place = postgres_server.place()
    store, other = TraceStore(place), TraceStore(place)
    for _ in range(30):
        store.write(_at(3))
    work = functools.partial(other.prune, Retention(calls=20)) if others == "prune" else other._upkeep.sum_up

    def deleted(to: Transaction) -> None:
        cursor = _Others(to.cursor, work)
        doomed = Retention(calls=20).doomed(cursor, "%s")
        cursor.execute("SELECT 1")  # at the latest now
        doomed.delete(cursor, to.totals, 30, is_sqlite=False)

    store._writer.commit(deleted)
    assert _numbers(store) == list(range(11, 31))
    recounts.check(store)
    store.close()
    other.close()


def test_recorded_replies_go_in_portions_too(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.trace.upkeep.LEAST", 2)
    monkeypatch.setattr("guard.trace.upkeep.HOLD_S", 0.0)
    store = TraceStore(place)
    for number in range(7):
        store.record(str(number), {"n": number})
    time.sleep(0.01)
    assert store.prune(Retention(days=1e-8)) == 0
    assert [store.recorded(str(number)) for number in range(7)] == [None] * 7
    store.close()


def test_a_pruned_file_is_smaller(trace_file: Path) -> None:
    store = TraceStore.at(trace_file)
    for number in range(200):
        store.write(dataclasses.replace(CALL, error=f"{number} " + "no answer " * 400))
    store.close()
    before = trace_file.stat().st_size
    assert store.prune(Retention(calls=20)) == 180
    assert trace_file.stat().st_size < before / 3
    assert _numbers(store) == list(range(181, 201))


def test_a_file_that_cannot_shrink_page_by_page_is_pruned_and_filled_again(trace_file: Path) -> None:
    made = sqlite3.connect(trace_file)
    made.execute("PRAGMA journal_mode=WAL")
    made.execute("CREATE TABLE other (number INTEGER)")
    made.close()
    store = TraceStore.at(trace_file)
    for _ in range(2):
        for _ in range(100):
            store.write(dataclasses.replace(CALL, error="no answer " * 400))
        store.prune(Retention(calls=1))
    assert trace_file.stat().st_size < 100 * 4_000 * 1.8


def test_what_is_pruned_is_not_in_the_file_any_more(trace_file: Path) -> None:
    store = TraceStore.at(trace_file)
    store.write(dataclasses.replace(CALL, error="the word xylophone"))
    store.write(CALL)
    assert store.prune(Retention(calls=1)) == 1
    assert all(b"xylophone" not in file.read_bytes() for file in trace_file.parent.glob("trace.db*"))


def test_retention_comes_from_the_settings(trace_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_TRACE_DAYS", "30")
    monkeypatch.setenv("GUARD_TRACE_CALLS", "5000")
    assert TraceStore.at(trace_file).retention == Retention(30, 5000)


@pytest.mark.parametrize("wrong", [{"days": 0}, {"days": float("nan")}, {"calls": 0}])
def test_a_retention_that_keeps_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Retention(**wrong)
