"""How long a trace is waited for that others use: as long as a deadline says, and nobody who reads waits at all."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import Scripted, reply

import guard
from guard.models.base import Reply
from guard.sidecar import keys
from guard.sidecar.endpoints import operator
from guard.trace import TraceError, TraceStore, redact_with, stop_redacting_with
from guard.trace.records import Attempt, Call

CALL = Call("f", "T", "h", "", "m", {}, 1.0, attempts=(Attempt(1, ({"role": "user"},), Reply("1", "stop", "m", 1, 1)),))
MESSAGES = [{"role": "user", "content": "How many?"}]
#: Far above what is asked for, for a machine that others make slow, and far below what was waited before.
SLACK = 10.0


@contextlib.contextmanager
def locked(place: str) -> Iterator[None]:
    """Hold what every writer needs."""
    if "://" in place:
        import psycopg

        with psycopg.connect(place) as other:
            other.execute("LOCK TABLE calls, guard_schema, spending, keys IN EXCLUSIVE MODE")
            yield
            other.rollback()
        return
    other = sqlite3.connect(place, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
    finally:
        other.close()


@pytest.fixture
def store(place: str) -> TraceStore:
    """Return a trace that is ready."""
    made = TraceStore.at(place)
    made.write(CALL)
    return made


def test_a_file_whose_mode_others_change_is_waited_for(trace_file: Path) -> None:
    """Of several that were the first in a file at once, SQLite refused one its mode, at once, as locked."""
    store = TraceStore(str(trace_file))
    store.write(CALL)
    store.close()
    other = sqlite3.connect(trace_file, isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA journal_mode=DELETE")  # as a copy by VACUUM INTO has it
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(TraceError, match="database is locked"):
        TraceStore(str(trace_file)).write(CALL, seconds=0.3)
    assert 0.3 <= time.monotonic() - began < 0.3 + SLACK
    later = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    later.start()
    assert TraceStore(str(trace_file)).write(CALL).number == 2
    later.join()
    other.close()
    with contextlib.closing(sqlite3.connect(trace_file)) as anew:
        assert anew.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_write_waits_as_long_as_it_may_and_leaves_nothing_behind(store: TraceStore, place: str) -> None:
    with locked(place):
        began = time.monotonic()
        with pytest.raises(TraceError, match=r"was not written within 0.3 s: another holds it"):
            store.write(CALL, seconds=0.3)
        assert 0.3 <= time.monotonic() - began < SLACK
    assert store.write(CALL).number is not None
    assert store.count() == 2


def test_all_who_wait_at_once_wait_no_longer_than_one(store: TraceStore, place: str) -> None:
    failures: list[str] = []

    def write(number: int) -> None:
        try:
            store.write(CALL, seconds=0.3 + number / 100)
        except TraceError as error:
            failures.append(str(error))

    with locked(place):
        began = time.monotonic()
        threads = [threading.Thread(target=write, args=(number,)) for number in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < SLACK  # one after the other it would be half a minute
    assert len(failures) == 60
    store.write(CALL)
    assert store.count() == 2


def test_who_has_time_left_is_written_although_others_had_none(store: TraceStore, place: str) -> None:
    found: list[Any] = []

    def write(seconds: float) -> None:
        found.extend(store.write_all([(CALL, None, seconds), (CALL, None, 60.0)]))

    threads = [threading.Thread(target=write, args=(seconds,)) for seconds in (0.1, 0.2, 0.3)]
    with locked(place):
        for thread in threads:
            thread.start()
        time.sleep(0.6)
    for thread in threads:
        thread.join()
    assert [isinstance(number, TraceError) for number in found] == [True, False] * 3
    assert store.count() == 4


def test_a_record_that_takes_its_whole_time_to_make_is_not_laid_on_another(store: TraceStore) -> None:
    """Nobody held the trace: a hook took the time, as redaction does of a text of megabytes on a busy machine."""

    def slow(text: str) -> str:
        time.sleep(0.2)
        return text

    redact_with(slow)
    try:
        with pytest.raises(TraceError, match=r"not written within 0.1 s: when its turn came .* no time was left"):
            store.write(CALL, seconds=0.1)
    finally:
        stop_redacting_with(slow)
    assert store.count() == 1


def test_a_budget_of_seconds_holds_over_the_record(store: TraceStore, place: str) -> None:
    with locked(place):
        began = time.monotonic()
        with pytest.raises(TraceError, match="another holds it"):
            guard.Guard(Scripted(reply("3"), name="m"), budget=guard.Budget(seconds=0.4)).generate(int, MESSAGES)
        assert time.monotonic() - began < SLACK
    assert store.count() == 1


def test_a_budget_of_seconds_holds_over_the_record_awaited_too(store: TraceStore, place: str) -> None:
    ask = guard.Guard(Scripted(*[reply("3")] * 50, name="m"), budget=guard.Budget(seconds=0.4))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def calls() -> list[Any]:
        ticking = asyncio.create_task(tick())
        found = await asyncio.gather(*(ask.agenerate(int, MESSAGES) for _ in range(50)), return_exceptions=True)
        ticking.cancel()
        return found

    with locked(place):
        began = time.monotonic()
        found = asyncio.run(calls())
        assert time.monotonic() - began < SLACK
    assert all(isinstance(error, TraceError) for error in found)
    assert ticks > 5  # the loop was free meanwhile
    store.write(CALL)
    assert store.count() == 2


def test_who_reads_waits_for_nobody(store: TraceStore, place: str) -> None:
    keys.create(store, "shop")
    with locked(place):
        began = time.monotonic()
        assert len(store.latest()) == 1
        assert store.read(1) is not None
        assert store.outlines(failed=True) == []
        assert sum(row.figures["ended"] for row in store.ledger()) == 1
        assert operator.figures(store, 60, 1.0)["models"]["m"][0]["calls"] == 1
        assert len(keys.every(store)) == 1
        assert time.monotonic() - began < SLACK


def test_nobody_waits_for_who_reads(store: TraceStore) -> None:
    with store.reading() as connection:
        assert connection is not None
        before = connection.exec_driver_sql("SELECT COUNT(*) FROM calls").scalar()
        store.write(CALL, seconds=5.0)
        keys.create(store, "shop")
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM calls").scalar() == before == 1  # one moment is seen
        with pytest.raises(Exception, match=r"[Rr]ead-?only|cannot"):
            connection.exec_driver_sql("DELETE FROM calls")


def full(place: str, is_full: bool) -> None:
    """Let a database take no more than 1,000 characters at a time and no call, or all again.

    So does a disk without room, on which a row may still be changed where it is.
    """
    conditions = {"calls": "TRUE", "schemas": "length(NEW.text) > 1000"}
    if "://" not in place:
        with contextlib.closing(sqlite3.connect(place)) as other:
            for table, condition in conditions.items():
                body = f"BEFORE INSERT ON {table} WHEN {condition} BEGIN SELECT RAISE(ABORT, 'no room'); END"
                other.execute(f"CREATE TRIGGER full_{table} {body}" if is_full else f"DROP TRIGGER full_{table}")
        return
    import psycopg

    with psycopg.connect(place) as other:
        function = "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''53100''; END'"
        other.execute(f"CREATE OR REPLACE FUNCTION no_room() {function}")
        for table, condition in conditions.items():
            body = f"BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION no_room()"
            trigger = f"CREATE TRIGGER full_{table} {body}" if is_full else f"DROP TRIGGER full_{table} ON {table}"
            other.execute(trigger)


def test_a_probe_after_a_write_that_failed_tests_whether_there_is_room(store: TraceStore, place: str) -> None:
    """A sidecar said that it was ready while its database's disk was full: a row was changed where it stood."""
    full(place, True)
    store.probe(5.0)  # nothing has failed yet
    for _ in range(2):
        with pytest.raises(TraceError):
            store.write(CALL)
        for _ in range(2):
            with pytest.raises(TraceError):
                store.probe(5.0)
    full(place, False)
    store.probe(5.0)
    assert store.write(CALL).number is not None
    with store.reading() as connection:
        assert connection is not None
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM schemas WHERE hash LIKE 'probe %%'").scalar() == 0


def test_a_probe_tells_whether_anything_can_be_written(store: TraceStore, place: str) -> None:
    store.probe(5.0)
    with locked(place), pytest.raises(TraceError):
        store.probe(0.2)
    store.probe(5.0)
