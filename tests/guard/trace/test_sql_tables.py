"""Versions of the tables: what an older Guard wrote is migrated, once; what a newer one wrote is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import traces
from sample_calls import CALL, FINDING
from scripted import reply

from guard.trace import (
    VERSION,
    TraceError,
    TraceStore,
    sql_tables,
)
from guard.trace.records import Attempt, Call
from guard.trace.sql_tables import SCHEMA, version_of

#: The tables of version 1 as Guard 0.1 made them, with a call that failed a first time and one whose model raised.
VERSION_1 = """
CREATE TABLE guard_schema (version INTEGER NOT NULL);
INSERT INTO guard_schema VALUES (1);
CREATE TABLE calls (
    id {number}, started FLOAT NOT NULL, seconds FLOAT NOT NULL, function TEXT NOT NULL, target TEXT NOT NULL,
    schema_hash TEXT NOT NULL, template TEXT NOT NULL, model TEXT NOT NULL, options TEXT NOT NULL,
    outcome TEXT NOT NULL, error TEXT NOT NULL);
CREATE INDEX ix_calls_started ON calls (started);
CREATE INDEX ix_calls_function ON calls (function);
CREATE INDEX ix_calls_outcome ON calls (outcome);
CREATE TABLE attempts (
    call {reference} NOT NULL, number INTEGER NOT NULL, messages TEXT NOT NULL, findings TEXT NOT NULL,
    error TEXT NOT NULL, text TEXT, finish TEXT, served TEXT, prompt_tokens INTEGER, completion_tokens INTEGER,
    forced_tokens INTEGER, seconds FLOAT, mask_seconds FLOAT, PRIMARY KEY (call, number),
    FOREIGN KEY(call) REFERENCES calls (id) ON DELETE CASCADE);
INSERT INTO calls (started, seconds, function, target, schema_hash, template, model, options, outcome, error) VALUES
    (1770000000.5, 0.75, 'shop.count', 'Count', 'c0ffee', 'typed/1', 'smollm2', '{{"retries": 1}}', 'valid', ''),
    (1770000001.5, 0.25, 'shop.count', 'Count', 'c0ffee', 'typed/1', 'smollm2', '{{}}', 'ModelError', 'down');
INSERT INTO attempts VALUES
    (1, 1, '[{{"role": "user", "content": "?"}}]',
     '[{{"at": "/n", "rule": "minimum", "expected": "a number >= 3", "got": "1"}}]',
     '', '{{"n": 1}}', 'stop', 'smollm2', 100, 8, 4, 0.25, 0.125),
    (1, 2, '[]', '[]', '', '{{"n": 3}}', 'stop', 'smollm2', 120, 8, 4, 0.5, 0.125),
    (2, 1, '[]', '[]', 'down', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"""


def _version_1(place: str) -> sa.Engine:
    """Make a trace of version 1."""
    if "://" in place:
        engine = sa.create_engine(place.replace("postgresql:", "postgresql+psycopg:"))
        sql = VERSION_1.format(number="BIGSERIAL NOT NULL PRIMARY KEY", reference="BIGINT")
    else:
        engine = sa.create_engine(f"sqlite:///{place}")
        sql = VERSION_1.format(number="INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", reference="INTEGER")
    with engine.begin() as connection:
        for statement in filter(None, map(str.strip, sql.split(";\n"))):
            connection.exec_driver_sql(statement)
    return engine


def _migrated() -> list[Call]:
    old = {"thinking": "", "thinking_tokens": 0, "retries": 0, "mode": "masks", "cost": None, "model": "smollm2"}
    asked: dict[str, Any] = {"model": "smollm2", "tier": 0}
    first = reply('{"n": 1}', **old)
    second = reply('{"n": 3}', **{**old, "prompt_tokens": 120, "seconds": 0.5})
    attempts = (
        Attempt(1, ({"role": "user", "content": "?"},), first, (FINDING,), reason="invalid", seconds=0.25, **asked),
        Attempt(2, (), second, seconds=0.5, **asked),
    )
    call = dataclasses.replace(CALL, model="smollm2", options={"retries": 1}, attempts=attempts)
    failed = dataclasses.replace(
        call,
        options={},
        started=1_770_000_001.5,
        seconds=0.25,
        outcome="ModelError",
        error="down",
        attempts=(Attempt(1, (), error="down", reason="error", **asked),),
    )
    return [call, failed]


@pytest.mark.parametrize("first", ["read", "write"])
def test_a_trace_of_version_1_is_migrated_at_first_use(place: str, first: str) -> None:
    _version_1(place).dispose()
    store = TraceStore(place)
    if first == "write":
        assert store.write(CALL).number == 3
    assert list(store.each())[:2] == _migrated()
    assert store.write(CALL).number == (4 if first == "write" else 3)
    many = dataclasses.replace(CALL, attempts=(Attempt(1, (), reply("7", prompt_tokens=2**40)),))
    assert store.read(store.write(many).number or 0) == many
    assert store.record("k", {"n": 1})
    store.close()


def test_calls_of_the_sidecar_before_purposes_were_kept_are_not_for_training(place: str) -> None:
    store = TraceStore(place)
    for function in ("/v1/chat/completions", "shop.read", ""):
        store.write(dataclasses.replace(CALL, function=function))
    with store._engine.begin() as connection:
        for statement in (
            *traces.to_version_10(place),
            "ALTER TABLE calls DROP COLUMN record_for",
            "ALTER TABLE attempts DROP COLUMN sureness",
            "ALTER TABLE keys DROP COLUMN may_train",
            "UPDATE guard_schema SET version = 9",
        ):
            connection.exec_driver_sql(statement)
    store.close()
    migrated = TraceStore(place)
    assert [call.record_for for call in migrated.each()] == ["operation", "training", "training"]
    migrated.close()


def _shape(engine: sa.Engine) -> dict[str, Any]:
    found = sa.inspect(engine)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)],
            sorted((str(i["name"]), tuple(i["column_names"])) for i in found.get_indexes(table)),
            found.get_pk_constraint(table)["constrained_columns"],
        )
        for table in found.get_table_names()
        if not re.fullmatch(r"(calls|attempts|totals)_(\d{4}_\d\d|earlier)", table)  # a partition
    }


def test_migrated_tables_are_those_that_are_made_today(place: str, request: pytest.FixtureRequest) -> None:
    other = request.getfixturevalue("postgres_server").place() if "://" in place else f"{place}.new"
    engine = _version_1(place)
    for name in (place, other):
        store = TraceStore(name)
        store.check_writable()
        store.close()
    fresh = TraceStore(other)
    assert _shape(engine) == _shape(fresh._engine)
    assert set(_shape(engine)) == set(sql_tables.TABLES.tables) | ({"sqlite_sequence"} & set(_shape(engine)))
    fresh.close()
    engine.dispose()


def _write_in_processes(place: str, count: int) -> None:
    """Have so many processes write a call each, at once."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=TraceStore(place).write, args=(CALL,)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * count


def test_processes_that_migrate_at_once_do_it_once(place: str) -> None:
    _version_1(place).dispose()
    _write_in_processes(place, 6)
    assert list(TraceStore(place).each()) == [*_migrated(), *[CALL] * 6]


def test_processes_that_make_a_trace_at_once_make_one(place: str) -> None:
    _write_in_processes(place, 6)
    assert list(TraceStore(place).each()) == [CALL] * 6


def test_a_migration_that_fails_leaves_the_old_version_whole(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _version_1(place)
    before = _shape(engine)
    monkeypatch.setitem(sql_tables._MIGRATIONS, 1, (*sql_tables._MIGRATIONS[1], "nonsense"))
    with pytest.raises(TraceError, match=r"can't be written: .*syntax error"):
        TraceStore(place).check_writable()
    assert _shape(engine) == before
    monkeypatch.undo()
    assert list(TraceStore(place).each()) == _migrated()
    engine.dispose()


def test_a_trace_of_a_newer_version_is_refused_by_name(place: str) -> None:
    store = TraceStore.at(place)
    store.write(CALL)
    with store._engine.begin() as connection:
        connection.execute(sql_tables.SCHEMA.update().values(version=99))
    with pytest.raises(TraceError, match=f"version 99 .* version {VERSION}; upgrade Guard"):
        TraceStore(place).latest()
    with pytest.raises(TraceError, match="GUARD_TRACE"):
        TraceStore(place).write(CALL)


def test_what_refuses_an_older_guard_runs_no_python_and_replaces_an_earlier_form(trace_file: Path) -> None:
    """A function of Python's waits for the GIL, in each insert; beside a busy thread that is milliseconds."""
    store = TraceStore(trace_file)
    store.write(CALL)
    store.close()
    called: list[int] = []
    earlier = f"CREATE TRIGGER newer BEFORE INSERT ON calls BEGIN SELECT {sql_tables.FUNCTION}(); END"
    copy = "INSERT INTO calls SELECT id + {}, {} FROM calls WHERE id = 1"
    columns = ", ".join(f'"{column.name}"' for column in sql_tables.CALLS.columns if column.name != "id")
    with contextlib.closing(sqlite3.connect(trace_file, isolation_level=None)) as connection:
        connection.create_function(sql_tables.FUNCTION, 0, lambda: called.append(1))
        connection.execute(copy.format(10, columns))
        assert called == []
        connection.execute("DROP TRIGGER newer")
        connection.execute(earlier)
        connection.execute(copy.format(20, columns))
        assert called == [1]
    again = TraceStore(trace_file)
    assert again.write(CALL).number == 22
    again.close()
    with contextlib.closing(sqlite3.connect(trace_file)) as connection:
        assert connection.execute("SELECT sql FROM sqlite_master WHERE name = 'newer'").fetchall() == [
            (sql_tables.REFUSING,)
        ]


def _another_programs(place: str, *statements: str) -> sa.Engine:
    """Return an engine on a database that another program has made."""
    url = place.replace("postgresql://", "postgresql+psycopg://") if "://" in place else f"sqlite:///{place}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    return engine


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE TABLE calls (id INTEGER, who TEXT)", "calls"),
        ("CREATE TABLE keys (a TEXT)", "keys"),
        ("CREATE VIEW feedback AS SELECT 1 AS a", "feedback"),
        ("CREATE INDEX ix_calls_started ON people (name)", "ix_calls_started"),
    ],
)
def test_a_database_in_which_another_program_has_the_name_is_refused_unchanged(
    place: str, statement: str, name: str
) -> None:
    engine = _another_programs(place, "CREATE TABLE people (name TEXT)", statement)
    before = None if "://" in place else Path(place).read_bytes()
    tables = _shape(engine)
    for use in (
        lambda s: s.write(CALL),
        lambda s: s.check_writable(),
        lambda s: s.check_usable(),
        lambda s: s.record("k", {}),
        lambda s: list(s.each()),
    ):
        store = TraceStore(place)
        with pytest.raises(TraceError, match=rf"is another program's database: it has its own {name}; name another"):
            use(store)
        store.close()
    assert _shape(engine) == tables
    assert before is None or Path(place).read_bytes() == before
    engine.dispose()


def test_a_trace_is_looked_at_as_it_is(place: str) -> None:
    store = TraceStore(place)
    store.check_usable()
    with store.looking() as connection:
        assert connection is None
    assert "://" in place or not Path(place).exists()
    store.check_writable()
    with store.begin() as connection:
        connection.execute(SCHEMA.update().values(version=VERSION - 1))
    other = TraceStore(place)
    other.check_usable()
    with other.looking() as connection:
        assert connection is not None
        assert version_of(connection) == VERSION - 1
    with store.begin() as connection:
        connection.execute(SCHEMA.update().values(version=VERSION + 1))
    with pytest.raises(TraceError, match="upgrade Guard"):
        other.check_usable()
    store.close()
    other.close()


def test_a_version_that_is_no_number_is_said(trace_file: Path) -> None:
    store = TraceStore(trace_file)
    store.write(CALL)
    with store.begin() as connection:
        connection.exec_driver_sql("UPDATE guard_schema SET version = 'x'")
    store.close()
    for use in (TraceStore.check_writable, TraceStore.check_usable, lambda s: list(s.each())):
        with pytest.raises(TraceError, match=r"the version of its tables is 'x', which is no number"):
            use(TraceStore(trace_file))


def test_a_pipe_is_no_trace(tmp_path: Path) -> None:
    """To open it would wait for whoever writes into it."""
    os.mkfifo(tmp_path / "pipe")
    store = TraceStore(tmp_path / "pipe")
    for use in (store.check_writable, store.check_usable, lambda: list(store.each())):
        with pytest.raises(TraceError, match="is neither a file nor a new one's name; name another in GUARD_TRACE"):
            use()


def test_another_programs_trigger_is_not_replaced(trace_file: Path) -> None:
    _another_programs(
        str(trace_file),
        "CREATE TABLE people (name TEXT)",
        "CREATE TRIGGER Newer BEFORE INSERT ON people BEGIN SELECT 1; END",
    ).dispose()
    with pytest.raises(TraceError, match="it has its own newer"):
        TraceStore(trace_file).write(CALL)


def test_a_database_of_another_program_without_such_names_is_shared(place: str) -> None:
    engine = _another_programs(place, "CREATE TABLE people (name TEXT)", "INSERT INTO people VALUES ('Ada')")
    store = TraceStore(place)
    assert store.write(CALL).number == 1
    store.close()
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT name FROM people").scalars().all() == ["Ada"]
        if "://" not in place:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()
