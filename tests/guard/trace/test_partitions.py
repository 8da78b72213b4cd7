"""Monthly partitions on PostgreSQL: made in time, by many at once; dropped with their totals; older tables attached."""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import postgres
import pyarrow.parquet
import pytest
import sqlalchemy as sa
import traces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recounts import at_once, check
from sample_calls import CALL
from tiered import calls

import guard
from guard.trace import TraceError, TraceStore, partitions, record_table, stats
from guard.trace.partitions import DAY, FIRST, LAST, partition_for
from guard.trace.records import Call, Item
from guard.trace.retention import Retention

MONTH = 30 * DAY
LONG_AGO = datetime(2025, 3, 31, 23, 59, 59, tzinfo=UTC).timestamp()  #: A second before a month's end.


@pytest.fixture
def server(postgres_server: postgres.Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the test an empty trace in PostgreSQL."""
    place = postgres_server.place()
    monkeypatch.setenv("GUARD_TRACE", place)
    return place


def _at(started: float, **changed: Any) -> Call:
    return dataclasses.replace(CALL, started=started, **changed)


def _months(store: TraceStore) -> list[str]:
    with store.begin() as connection:
        return [partition.name for partition in partitions.partitions(connection)]


def _run(store: TraceStore, *statements: str) -> list[Any]:
    with store.begin() as connection:
        results = [connection.exec_driver_sql(statement) for statement in statements]
        return [result.scalar() if result.returns_rows else None for result in results]


@given(st.one_of(st.floats(-1e15, 1e15), st.floats(FIRST, LAST), st.sampled_from([FIRST, LAST])))
def test_every_time_is_in_one_month_of_the_calendar(started: float) -> None:
    month = partition_for(started)
    assert month.start <= started < month.end
    for edge in (month.start, month.end):
        if abs(edge) != float("inf"):
            assert edge % DAY == 0
            assert datetime.fromtimestamp(edge, UTC).day == 1
            assert partition_for(edge).start == edge
    if FIRST <= started < LAST:
        first = datetime.fromtimestamp(month.start, UTC)
        assert f"{first:%Y_%m}" == month.name
        assert 28 * DAY <= month.end - month.start <= 31 * DAY


def test_this_month_and_the_next_have_partitions_before_anything_is_written(server: str) -> None:
    store = TraceStore(server)
    store.check_writable()
    now = time.time()
    assert _months(store) == [partition_for(now).name, partition_for(now + 31 * DAY).name]
    store.close()


@pytest.mark.parametrize("started", [-1e12, -0.5, 0.0, FIRST - 1e-6, FIRST, LONG_AGO, LAST - 1e-3, LAST, 1e12])
def test_a_call_of_any_time_is_recorded(server: str, started: float) -> None:
    store = TraceStore(server)
    call = _at(started)
    assert store.read(store.write(call).number or 0) == call
    check(store)
    store.close()


def _write_around(place: str, number: int, edges: list[float]) -> None:
    store = TraceStore(place)
    for edge in edges:
        for seconds in (-0.25, 0.0, 0.25):
            store.write(_at(edge + seconds, model=f"model {number}"))
    store.close()


def test_processes_that_write_over_a_months_end_at_once_make_each_month_once(server: str) -> None:
    edges = [partition_for(LONG_AGO + n * MONTH).end for n in range(3)]
    TraceStore(server).check_writable()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write_around, args=(server, n, edges)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    store = TraceStore(server)
    written = list(store.each())
    assert len({call.number for call in written}) == len(written) == 4 * 9
    assert all(call.attempts == CALL.attempts for call in written)
    assert sorted(call.started for call in written) == sorted(4 * [e + s for e in edges for s in (-0.25, 0.0, 0.25)])
    for name in ("2025_03", "2025_04", "2025_05", "2025_06"):
        (lost,) = _run(store, f"SELECT COUNT(*) FROM attempts_{name} WHERE call NOT IN (SELECT id FROM calls_{name})")  # noqa: S608
        assert lost == 0
    check(store)
    store.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(
    many=st.lists(st.tuples(calls(), st.floats(0, 200)), max_size=12),
    days=st.floats(1, 200),
    kept=st.integers(1, 8),
    is_summed=st.booleans(),
)
def test_after_months_are_dropped_the_totals_are_those_of_a_recount(
    place: str, many: list[tuple[Call, float]], days: float, kept: int, is_summed: bool
) -> None:
    store = TraceStore.at(place)
    store.prune(Retention(days=1e-9))
    now = time.time()
    for call, age in many:
        store.write(dataclasses.replace(call, started=now - age * DAY))
    if is_summed:
        store._upkeep.sum_up()
    check(store)
    before = stats.collect(store.ledger())[-1].calls
    gone = store.prune(Retention(days=days))
    check(store)
    left = list(store.each())
    assert (gone, len(left)) == (before - len(left), before - gone)
    assert all(call.started >= now - days * DAY for call in left)
    assert stats.collect(store.ledger())[-1].calls == len(left)
    newest = [call.number for call in left][-kept:]
    assert store.prune(Retention(calls=kept)) == max(0, len(left) - kept)
    check(store)
    assert [call.number for call in store.each()] == newest
    for call, age in many[:3]:  # into months that are gone, and days that are summed up
        store.write(dataclasses.replace(call, started=now - age * DAY))
    check(store)


def test_whole_months_are_dropped_and_of_the_last_the_calls_that_are_too_old(server: str) -> None:
    store = TraceStore(server)
    asked = guard.compile({"const": 1})
    edges = [partition_for(LONG_AGO + n * MONTH).end for n in range(3)]
    for at, edge in enumerate(edges):
        for seconds in (-2 * DAY, -DAY):
            item = Item("run", f"{at} {seconds}")
            store.write(
                _at(edge + seconds, schema_hash=asked.hash if at < 2 else "", item=item), asked if at < 2 else None
            )
    store.rate(1, right=True)
    store.rate(5, right=True)
    made = [month.name for month in map(partition_for, (LONG_AGO, LONG_AGO + MONTH, LONG_AGO + 2 * MONTH))]
    assert _months(store)[:3] == made
    keeps = edges[2] - 1.5 * DAY
    assert store.prune(Retention(days=(time.time() - keeps) / DAY)) == 5
    assert [call.number for call in store.each()] == [6]
    assert _months(store)[:1] == made[2:]
    assert list(store.items("run")) == [f"2 {-DAY}"]
    assert _run(store, "SELECT COUNT(*) FROM items", "SELECT COUNT(*) FROM feedback") == [1, 0]
    assert store.schema(asked.hash) is None
    check(store)
    assert store.write(_at(LONG_AGO)).number == 7  # a number is never given out again
    store.close()


def test_a_month_that_another_process_has_dropped_is_made_again(server: str) -> None:
    store, other = TraceStore(server), TraceStore(server)
    store.write(_at(LONG_AGO))
    assert other.prune(Retention(days=1)) == 1
    numbers = store.write_all([(_at(LONG_AGO), None, 30.0), (CALL, None, 30.0), (_at(LONG_AGO), None, 30.0)])
    assert sorted(call.number or 0 for call in other.each()) == sorted(numbers)  # type: ignore[type-var]
    check(other)
    store.close()
    other.close()


def test_a_default_partition_that_an_operator_has_made_is_left_alone(server: str) -> None:
    store = TraceStore(server)
    store.write(_at(time.time()))
    _run(
        store, *(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT" for table in ("calls", "attempts", "totals"))
    )
    store.close()
    again = TraceStore(server)
    for ago in (0, 3 * MONTH, 9 * MONTH):
        again.write(_at(time.time() - ago))
    assert _run(again, "SELECT COUNT(*) FROM calls_rest") == [0]
    assert again.prune(Retention(days=5 * 30)) == 1
    assert again.count() == 3
    check(again)
    again.close()


def test_a_reader_holds_up_nobody_who_makes_a_month_and_its_months_records_go_one_by_one(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.trace.upkeep.TRIES", 1)
    store = TraceStore(server)
    store.write(_at(LONG_AGO))
    with store.reading() as connection:
        assert connection is not None
        connection.exec_driver_sql("SELECT COUNT(*) FROM calls JOIN attempts ON call = id JOIN totals ON true")
        assert store.write(_at(LONG_AGO - MONTH), seconds=2.0).number == 2
        assert store.prune(Retention(days=1)) == 2
    assert "2025_03" in _months(store)
    check(store)
    assert store.prune(Retention(days=1)) == 0
    assert "2025_03" not in _months(store)
    store.close()


def test_a_month_that_others_drop_again_and_again_is_made_as_often(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = TraceStore(server), TraceStore(server)
    store.check_writable()
    make, made = store._upkeep.make_partitions, 0

    def make_and_lose(times: Sequence[float], seconds: float) -> None:
        nonlocal made
        make(times, seconds)
        made += 1
        if made < 5:
            other.prune(Retention(days=1))
            assert "2025_03" not in _months(other)

    monkeypatch.setattr(store._upkeep, "make_partitions", make_and_lose)
    assert store.write(_at(LONG_AGO)).number is not None
    assert made == 5
    made = -1000
    other.prune(Retention(days=1))
    with pytest.raises(TraceError, match="no partition"):
        store.write(_at(LONG_AGO))
    assert -1000 < made < -900  # it comes to an end
    for one in (store, other):
        one.close()


def test_writers_and_pruners_of_months_at_once_leave_the_totals_exact(server: str) -> None:
    stores = [TraceStore(server) for _ in range(3)]

    def write(store: TraceStore) -> None:
        for at in range(40):
            store.write(_at(LONG_AGO + at % 4 * MONTH))

    def prune(store: TraceStore) -> None:
        for month in range(4):
            store.prune(Retention(days=(time.time() - LONG_AGO - month * MONTH) / DAY))
            store._upkeep.sum_up()

    at_once(*(partial(write, store) for store in stores), *(partial(prune, store) for store in stores[:2]))
    check(stores[0])
    for store in stores:
        store.close()


def test_every_thousandth_call_drops_a_month_and_makes_the_next(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.trace.store.EVERY", 3)
    monkeypatch.setattr("guard.trace.insertion.EVERY", 3)
    monkeypatch.setattr("guard.trace.insertion.MOST", 1)
    store = TraceStore(server, Retention(days=1))
    for started in (LONG_AGO, LONG_AGO, time.time()):
        store.write(_at(started))
    assert "2025_03" not in _months(store)
    assert [call.number for call in store.each()] == [3]
    check(store)
    store.close()


# ---- the tables of version 10 ----


def _version_10(place: str, count: int = 5) -> list[Call]:
    """Make a trace of version 10 with calls of some months; return them."""
    store = TraceStore(place)
    for at in range(count):
        store.write(_at(LONG_AGO + at * MONTH, item=Item("run", str(at))))
    store.rate(2, right=True)
    written = list(store.each())
    _run(store, *traces.to_version_10(place)) if count else None
    store.close()
    return written


def test_older_tables_become_a_partition_and_are_not_rewritten(server: str) -> None:
    written = _version_10(server)
    engine = sa.create_engine(server.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as old:
        files = [old.exec_driver_sql(f"SELECT pg_relation_filenode('{t}')").scalar() for t in ("calls", "attempts")]
    engine.dispose()
    store = TraceStore(server)
    assert list(store.each()) == written
    of_partitions = [f"SELECT pg_relation_filenode('{table}_earlier')" for table in ("calls", "attempts")]
    assert _run(store, *of_partitions) == files
    assert store.write(_at(LONG_AGO)).number == 6
    assert store.write(_at(LAST - DAY)).number == 7
    assert set(store.items("run")) == set("01234")
    assert set(store.feedback([2])) == {2}
    check(store)
    assert store.prune(Retention(days=1)) == 6
    assert [call.number for call in store.each()] == [7]
    assert _run(store, "SELECT COUNT(*) FROM items", "SELECT COUNT(*) FROM feedback") == [0, 0]
    check(store)
    store.close()


@pytest.mark.parametrize("steps", range(5))
def test_an_upgrade_that_is_killed_goes_on_and_the_old_guard_beside_it(
    server: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = _version_10(server)
    left = steps
    locked = partitions._lock

    def lock(connection: sa.Connection) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        locked(connection)

    monkeypatch.setattr(partitions, "_lock", lock)
    store = TraceStore(server)
    with pytest.raises(KeyboardInterrupt):
        store.check_writable()
    store.close()
    monkeypatch.undo()
    engine = sa.create_engine(server.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as old:
        (version,) = old.exec_driver_sql("SELECT version FROM guard_schema").one()
        if version == 10:  # what version 10 writes
            columns = "started, seconds, function, target, schema_hash, template, model, options, outcome, error"
            old.exec_driver_sql(f"INSERT INTO calls ({columns}) SELECT {columns} FROM calls WHERE id = 1")  # noqa: S608
            old.exec_driver_sql(
                "INSERT INTO attempts (call, number, messages, findings, error) VALUES (6, 1, '[]', '[]', '')"
            )
            old.exec_driver_sql("UPDATE totals SET parts = 2 * parts, calls = 2 * calls WHERE last = 1")
            old.exec_driver_sql("DELETE FROM calls WHERE id = 6")
            old.exec_driver_sql("UPDATE totals SET parts = parts / 2, calls = calls / 2 WHERE last = 1")
    engine.dispose()
    later = TraceStore(server)
    assert list(later.each()) == written
    assert later.write(CALL).number == (7 if version == 10 else 6)
    check(later)
    later.close()


def test_the_bound_of_an_upgrade_that_was_begun_long_ago_is_set_anew(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = _version_10(server)
    store = TraceStore(server)
    monkeypatch.setattr("guard.trace.partitions.time.time", lambda: LONG_AGO + 6 * MONTH)
    partitions.check_constraints(store._engine)
    monkeypatch.undo()
    assert list(store.each()) == written
    now = time.time()
    assert store.write(_at(now)).number == 6
    with store.begin() as connection:
        assert partitions.partitions(connection)[0].end > now
    store.close()


def test_older_tables_with_a_call_of_the_far_future_stay_one_partition(server: str) -> None:
    store = TraceStore(server)
    store.write(_at(LAST + DAY))
    _run(store, *traces.to_version_10(server))
    store.close()
    later = TraceStore(server)
    assert later.write(CALL).number == 2
    assert _months(later) == ["earlier"]
    check(later)
    later.close()


def test_every_call_is_read_once_over_the_months(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.trace.store.PAGE", 3)
    store = TraceStore(server)
    times = [LONG_AGO + (at * 7 % 11) * MONTH / 2 for at in range(22)]
    for started in times:
        store.write(_at(started))
    assert [call.number for call in store.each()] == list(range(1, 23))
    found = [(call.started, call.number) for call in store.each(since=LONG_AGO + MONTH)]
    assert found == sorted((s, n) for n, s in enumerate(times, 1) if s >= LONG_AGO + MONTH)
    assert [call.number for call in store.latest(limit=5, before=9)] == [8, 7, 6, 5, 4]
    store.close()


def test_a_table_of_records_has_each_call_of_every_month(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.trace.store.PAGE", 3)
    monkeypatch.setattr(record_table, "PORTION", 2)
    monkeypatch.setattr(record_table, "ROWS", 4)
    store = TraceStore(server)
    for at in range(11):
        store.write(_at(LONG_AGO + at * 5 % 11 * MONTH))
    out = tmp_path / "calls.parquet"
    with out.open("w") as file, record_table.parquet(file) as write:
        for call in store.each():
            write(call)
    table = pyarrow.parquet.ParquetFile(out)
    assert table.read(["number"]).column("number").to_pylist() == list(range(1, 12))
    assert table.metadata.num_row_groups == 3  # and so no more than four rows were in memory
    store.close()
