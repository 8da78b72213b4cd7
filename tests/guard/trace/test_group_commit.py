"""Group commit: callers that wait together are committed together, and no one's fault is another's."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from guard.trace.group_commit import Late, Writer


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(tmp_path / "jobs.db")))
    sa.event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE done (n INTEGER UNIQUE)")
    yield engine
    engine.dispose()


class Gate:
    """A job that holds the lock until it is told to go on, and what then happens to others that wait behind it."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.entered, self.open = writer, threading.Event(), threading.Event()
        self.failures: list[Exception] = []
        self.threads = [threading.Thread(target=self._run, args=(self._hold,))]
        self.threads[0].start()
        assert self.entered.wait(10)

    def _hold(self, _cursor: Any) -> None:
        self.entered.set()
        assert self.open.wait(10)

    def _run(self, work: Any) -> None:
        try:
            self.writer.commit(work)
        except Exception as error:
            self.failures.append(error)

    def behind(self, *jobs: Any, waiting: int | None = None) -> None:
        """Start threads with jobs; returns when so many of them wait for the lock."""
        for job in jobs:
            self.threads.append(threading.Thread(target=self._run, args=(job,)))
            self.threads[-1].start()
        until = time.monotonic() + 10
        while len(self.writer._pending) < 1 + (len(jobs) if waiting is None else waiting):
            assert time.monotonic() < until
            time.sleep(0.001)

    def finish(self) -> None:
        self.open.set()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()


def _inserting(n: int) -> Any:
    return lambda cursor: cursor.execute("INSERT INTO done VALUES (?)", (n,))


def _done(engine: sa.Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.exec_driver_sql("SELECT n FROM done ORDER BY n").scalars())


def test_callers_that_wait_are_committed_together(engine: sa.Engine) -> None:
    writer = Writer(engine, "BEGIN IMMEDIATE")
    gate = Gate(writer)
    begun: list[str] = []
    writer._held.driver_connection.set_trace_callback(begun.append)
    gate.behind(*map(_inserting, range(20)))
    gate.finish()
    assert _done(engine) == list(range(20))
    assert len([statement for statement in begun if statement == "BEGIN IMMEDIATE"]) == 1
    assert gate.failures == []
    assert not writer._pending
    writer.close()


def test_a_record_that_cannot_be_written_fails_its_own_caller_alone(engine: sa.Engine) -> None:
    writer = Writer(engine, "BEGIN IMMEDIATE")
    gate = Gate(writer)
    gate.behind(_inserting(1), _inserting(2), lambda cursor: cursor.execute("nonsense"), _inserting(3))
    gate.finish()
    assert _done(engine) == [1, 2, 3]
    assert [str(error) for error in gate.failures] == ['near "nonsense": syntax error']
    assert not writer._pending
    writer.close()


def test_a_database_that_fails_fails_all_who_wait_at_once(engine: sa.Engine) -> None:
    writer = Writer(engine, "BEGIN IMMEDIATE")
    gate = Gate(writer)
    gate.behind(*map(_inserting, range(5)))
    writer._begin = "nonsense"
    gate.finish()
    assert [str(error) for error in gate.failures] == ['near "nonsense": syntax error'] * 5
    assert not writer._pending
    writer._begin = "BEGIN IMMEDIATE"
    writer.commit(_inserting(7))
    assert _done(engine) == [7]
    writer.close()


def test_an_interrupted_caller_leaves_its_work_to_those_who_wait(engine: sa.Engine) -> None:
    entered, resume = threading.Event(), threading.Event()

    def interrupted(_cursor: Any) -> None:
        if not entered.is_set():
            entered.set()
            assert resume.wait(10)
            raise KeyboardInterrupt

    def first() -> None:
        with pytest.raises(KeyboardInterrupt):
            writer.commit(interrupted)

    writer = Writer(engine, "BEGIN IMMEDIATE")
    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert entered.wait(10)
    threads += [threading.Thread(target=writer.commit, args=(_inserting(n),)) for n in range(3)]
    for thread in threads[1:]:
        thread.start()
    resume.set()
    for thread in threads:
        thread.join(10)
    assert _done(engine) == [0, 1, 2]
    assert not writer._pending
    writer.close()


def test_a_caller_whose_time_is_over_takes_its_job_back(engine: sa.Engine) -> None:
    writer = Writer(engine, "BEGIN IMMEDIATE")
    gate = Gate(writer)
    with pytest.raises(Late, match="another holds it"):
        writer.commit(_inserting(1), 0.1)
    errors = writer.commit_all([(_inserting(2), 0.1, 0.1), (_inserting(3), 0.2, 0.2)])
    assert [str(error) for error in errors] == ["another holds it"] * 2
    gate.finish()
    assert _done(engine) == []
    assert not writer._pending
    writer.close()


def test_of_a_job_that_is_at_work_is_said_that_it_may_be_written(engine: sa.Engine) -> None:
    writer = Writer(engine, "BEGIN IMMEDIATE")
    gate = Gate(writer)
    entered, resume, errors = threading.Event(), threading.Event(), []

    def slow(_cursor: Any) -> None:
        entered.set()
        assert resume.wait(10)

    gate.behind(slow)
    late = [
        threading.Thread(target=lambda n=n: errors.extend(writer.commit_all([(_inserting(n), 1.5, 1.5)])))
        for n in range(3)
    ]
    for thread in late:
        thread.start()
    while len(writer._pending) < 5:
        time.sleep(0.001)
    gate.open.set()
    assert entered.wait(10)
    time.sleep(2.5)
    resume.set()
    gate.finish()
    for thread in late:
        thread.join(10)
    told = [str(error) for error in errors if error is not None]
    assert len(told) >= 2  # one of them may be who commits
    assert set(told) == {"it may be written or not: the database did not answer in time"}
    assert _done(engine) == [0, 1, 2]
    writer.close()


def test_a_database_that_is_in_use_is_asked_again_until_nobody_has_time_left(engine: sa.Engine) -> None:
    begun = 0

    def opened(cursor: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise BlockingIOError
        return contextlib.nullcontext(cursor)

    is_busy = lambda error: isinstance(error, BlockingIOError)  # noqa: E731 (an argument, twice)
    writer = Writer(engine, "BEGIN IMMEDIATE", opened=opened, is_busy=is_busy)
    writer.commit(_inserting(1), 10)
    assert (_done(engine), begun) == ([1], 3)
    begun = -1_000_000
    with pytest.raises(Late, match="another holds it"):
        writer.commit(_inserting(2), 0.1)
    assert _done(engine) == [1]
    writer.close()


def test_no_more_callers_wait_for_a_commit_than_the_bound(engine: sa.Engine) -> None:
    writer = Writer(engine, "BEGIN IMMEDIATE", pending=3)
    gate = Gate(writer)
    gate.behind(*map(_inserting, range(10)), waiting=2)
    time.sleep(0.05)
    assert len(writer._pending) == 3
    gate.finish()
    assert _done(engine) == list(range(10))
    writer.close()


def test_an_interrupt_in_the_middle_of_a_commit_costs_the_others_nothing(engine: sa.Engine) -> None:
    def interrupted(_cursor: Any) -> None:
        raise KeyboardInterrupt

    writer = Writer(engine, "BEGIN IMMEDIATE")
    writer.commit(_inserting(1))
    with pytest.raises(KeyboardInterrupt):
        writer.commit(interrupted)
    writer.commit(_inserting(2))
    assert _done(engine) == [1, 2]
    assert not writer._pending
    writer.close()
