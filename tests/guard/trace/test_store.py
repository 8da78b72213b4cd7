"""The trace: what is written, what never is, and what survives; the same in both kinds of database."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import multiprocessing
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
import recounts
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_calls import CALL, FAILED, FINDING, MESSAGES
from scripted import Scripted, reply

import guard
from guard.decoding.confidence import Token
from guard.models.base import Reply
from guard.output.repair import Edit
from guard.sidecar.endpoints import operator
from guard.trace import (
    TraceError,
    TraceStore,
    export,
    sql_tables,
)
from guard.trace.call_rows import PAGE
from guard.trace.records import Attempt, Call
from guard.trace.row_codec import LARGE, restored, storable


def test_what_is_read_back_is_what_was_written(place: str) -> None:
    store = TraceStore.at(place)
    assert [store.write(CALL).number, store.write(FAILED).number] == [1, 2]
    assert store.read(1) == CALL
    assert store.read(2) == FAILED
    assert store.read(3) is None
    assert [call.number for call in store.latest()] == [2, 1]
    assert [call.number for call in store.latest(limit=1)] == [2]
    assert [call.number for call in store.latest(outcome="valid")] == [1]
    assert [call.number for call in store.latest(function="nothing")] == []
    assert [call.number for call in store.latest(before=2)] == [1]
    assert list(store.each()) == [CALL, FAILED]
    assert list(store.each(outcome="ModelError")) == [FAILED]
    assert list(store.each(since=CALL.started + 1)) == []


def test_counts_of_tokens_have_64_bits(place: str) -> None:
    counts = {"prompt_tokens": 2**40, "completion_tokens": 2**41, "forced_tokens": 2**42, "thinking_tokens": 2**43}
    call = dataclasses.replace(CALL, attempts=(Attempt(1, (), reply("7", **counts, room=2**44)),))
    store = TraceStore(place)
    assert store.read(store.write(call).number or 0) == call
    store.close()


@pytest.mark.parametrize("letter", ["a", "☕", "\0", "\ud800"])
def test_large_texts_come_back_and_hold_the_writer_up_for_less(place: str, letter: str) -> None:
    text = letter * (LARGE + 1)
    messages = ({"role": "user", "content": text},)
    attempt = Attempt(1, messages, reply(text, thinking=text), (FINDING,), repaired=text)
    call = dataclasses.replace(CALL, attempts=(attempt,))
    store = TraceStore(place)
    assert store.read(store.write(call).number or 0) == call
    store.close()
    if store.path is not None:
        with contextlib.closing(sqlite3.connect(store.path)) as connection:
            kept = connection.execute("SELECT messages, text, thinking, repaired FROM attempts").fetchone()
        assert all(isinstance(part, bytes) and len(part) < LARGE // 10 for part in kept)


def test_pages_of_calls_join_without_a_gap(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.trace.store.PAGE", 3)
    store = TraceStore.at(place)
    for _ in range(7):
        store.write(CALL)
    assert [call.number for call in store.each()] == [1, 2, 3, 4, 5, 6, 7]


def test_an_outline_shows_in_a_list_what_the_call_shows(place: str) -> None:
    store = TraceStore.at(place)
    cut = dataclasses.replace(
        CALL.attempts[1], reply=reply('{"n": 3}', cut_at=("/n",), repeated_at=("/n",), thinking="x")
    )
    for call in (CALL, FAILED, dataclasses.replace(CALL, attempts=(CALL.attempts[0], cut)), CALL):
        store.write(call)
    assert [*map(operator._shown, store.outlines())] == [*map(operator._shown, store.latest())]
    assert [call.number for call in store.outlines(2, before=4)] == [3, 2]
    assert [call.number for call in store.outlines(failed=True)] == [2]
    assert store.outlines(failed=True, before=2) == []


def test_lists_take_no_memory_for_what_they_do_not_show(place: str) -> None:
    store = TraceStore.at(place)
    long = "".join(random.Random(1).choices("abcdefgh ", k=2_000_000))
    asked = ({"role": "user", "content": long},)
    attempt = Attempt(1, asked, reply(long, thinking=long), reason="invalid", repaired=long)
    for _ in range(5):
        store.write(dataclasses.replace(FAILED, attempts=(attempt,)))
    tracemalloc.start()
    try:
        assert len(store.outlines(failed=True)) == len(store.outlines()) == 5
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000  # of 40 MB


def test_large_calls_are_read_and_exported_few_at_a_time(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page held 200 whole calls, whatever their size."""
    for module in ("call_rows", "export"):
        monkeypatch.setattr(f"guard.trace.{module}.PARTS", 2**10)
    store = TraceStore.at(place)
    asked = ({"role": "user", "content": "".join(random.Random(1).choices("abcdefgh ", k=100_000))},)
    call = dataclasses.replace(CALL, attempts=(Attempt(1, asked, reply("{}")),))
    store.write_all([(call, None, 30.0)] * 120)
    for _ in store.each():
        break  # what is loaded at the first use stays
    tracemalloc.start()
    try:
        assert sum(1 for _ in export.rows(store, store.each(), "sft")) == 120
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000  # of 13 MB


def test_however_many_calls_are_read_a_statement_has_few_parameters(place: str) -> None:
    store = TraceStore.at(place)
    store.write_all([(CALL, None, 30.0)] * 3 * PAGE)
    most = 0

    def note(_connection: object, _cursor: object, _statement: str, parameters: Any, *_: object) -> None:
        nonlocal most
        most = max(most, len(parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        assert store.latest(limit=10_000) == [CALL] * 3 * PAGE
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert most <= PAGE


def test_a_trace_that_is_not_there_yet_reads_as_empty_and_is_not_made(place: str, trace_file: Path) -> None:
    store = TraceStore.at(place)
    assert (store.latest(), store.read(1), list(store.each()), list(store.ledger())) == ([], None, [], [])
    assert (store.recorded("key"), store.schema("hash")) == (None, None)
    assert not trace_file.exists()
    store.check_writable()
    assert store.latest() == []


# Any text Python holds: NUL, the escape itself, surrogates that stand alone.
TEXTS = st.text(st.one_of(st.sampled_from("\0\x1a\ud800\udfff☕😀0a"), st.characters(codec=None)), max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 2**31 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
TOKENS = st.builds(Token, TEXTS, FLOATS, FLOATS, st.none() | FLOATS, forced=st.booleans())
REPLIES = st.builds(
    Reply,
    text=TEXTS,
    finish=TEXTS,
    model=TEXTS,
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    forced_tokens=COUNTS,
    seconds=FLOATS,
    mask_seconds=FLOATS,
    thinking_tokens=COUNTS,
    thinking=TEXTS,
    tokens=st.lists(TOKENS, max_size=4).map(tuple),
    retries=COUNTS,
    mode=TEXTS,
    cost=st.none() | FLOATS,
)
ATTEMPTS = st.builds(
    Attempt,
    number=st.just(0),
    messages=st.lists(OBJECTS, max_size=2).map(tuple),
    reply=st.none() | REPLIES,
    findings=st.lists(st.builds(guard.Violation, TEXTS, TEXTS, TEXTS, TEXTS), max_size=2).map(tuple),
    error=TEXTS,
    tier=COUNTS,
    model=TEXTS,
    reason=TEXTS,
    repairs=st.lists(st.builds(Edit, COUNTS, TEXTS, TEXTS, TEXTS), max_size=2).map(tuple),
    repaired=st.none() | TEXTS,
    started=FLOATS,
    seconds=FLOATS,
)
CALLS = st.builds(
    Call,
    function=TEXTS,
    target=TEXTS,
    schema_hash=TEXTS,
    template=TEXTS,
    model=TEXTS,
    options=OBJECTS,
    started=FLOATS,
    seconds=FLOATS,
    outcome=TEXTS,
    error=TEXTS,
    attempts=st.lists(ATTEMPTS, max_size=3).map(
        lambda many: tuple(dataclasses.replace(one, number=n) for n, one in enumerate(many, 1))
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=CALLS)
def test_any_call_is_read_back_as_it_was_written(place: str, call: Call) -> None:
    store = TraceStore.at(place)
    number = store.write(call).number
    assert number is not None
    assert store.read(number) == call
    assert store.latest(limit=1, function=call.function, outcome=call.outcome) == [call]


@given(text=TEXTS)
def test_any_text_is_stored_in_unicode_without_nul_and_restored(text: str) -> None:
    stored = storable(text)
    stored.encode()
    assert "\0" not in stored
    assert restored(stored) == text


def test_every_field_of_a_record_has_a_column(place: str) -> None:
    """A field added to the records and forgotten here would be lost in silence."""
    # What a provider signs is its own: told to the caller, and kept by nobody; so is what its cache had, of which the
    # record has the cost. `inputs`, `fields` and `alternatives` are kept with `sources`.
    handed_on = {"thinking_blocks", "inputs", "fields", "alternatives", "cached_tokens", "cache_creation_tokens"}
    assert {f.name for f in dataclasses.fields(Reply)} - {"model"} - handed_on <= set(
        sql_tables.ATTEMPTS.columns.keys()
    )
    own = {"call", "served", "elapsed"}  # of these three the records have no field of that name
    fields = {f.name for kind in (Attempt, Reply) for f in dataclasses.fields(kind)}
    assert set(sql_tables.ATTEMPTS.columns.keys()) - own == fields - {"reply"} - handed_on
    assert set(sql_tables.CALLS.columns.keys()) - {"id"} == {f.name for f in dataclasses.fields(Call)} - {
        "attempts",
        "number",
        "item",  # in a table of its own: test_mapping.py
        "_trace",  # which is the trace itself: test_feedback.py
    }


def test_an_awaited_write_is_committed_too(place: str) -> None:
    async def calls() -> list[Call]:
        return await asyncio.gather(*(TraceStore.at(place).awrite(CALL) for _ in range(50)))

    written = asyncio.run(calls())
    assert sorted(call.number or 0 for call in written) == list(range(1, 51))
    assert list(TraceStore.at(place).each()) == [CALL] * 50


# ---- survival ----


@pytest.mark.parametrize("writers", [1, 1000])
def test_every_call_that_returned_survives_a_kill(place: str, tmp_path: Path, writers: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, threading\n"
        "import guard\n"
        "from guard.models.base import Reply\n"
        "class Seven:\n"
        "    name = 'seven'\n"
        "    def generate(self, request):\n"
        "        return Reply('7', 'stop', 'seven', 10, 1)\n"
        "def ask():\n"
        "    mine = guard.Guard(Seven())\n"
        "    while True:\n"
        "        try:\n"
        "            call = mine.traced(int, [{'role': 'user', 'content': 'How many?'}])[1]\n"
        "        except guard.TraceError:\n"  # a machine that is busy elsewhere may not get to a thread for 30 s
        "            os.write(1, b'late\\n')\n"
        "        else:\n"
        "            os.write(1, f'{call.number}\\n'.encode())\n"
        f"threads = [threading.Thread(target=ask) for _ in range({writers})]\n"
        "for thread in threads: thread.start()\n"
    )
    with subprocess.Popen(
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(50 if writers == 1 else 1500)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    returned = [int(line) for line in lines if line != "late\n"]
    assert len(set(returned)) == len(returned) > 0
    stored = list(TraceStore.at(place).each())
    assert set(returned) <= {call.number for call in stored}
    assert len(stored) <= len(lines) + writers  # those may have been committed, and their callers not yet told
    assert all(call.outcome == "valid" and call.text == "7" and len(call.attempts) == 1 for call in stored)


def _write(place: str, count: int) -> None:
    for _ in range(count):
        TraceStore.at(place).write(CALL)


def test_threads_and_processes_write_one_trace(place: str) -> None:
    _write(place, 1)  # an open connection, which a forked process must not use
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write, args=(place, 25)) for _ in range(3)]
    threads = [threading.Thread(target=_write, args=(place, 25)) for _ in range(3)]
    for process in processes:
        process.start()
    for worker in (*threads,):
        worker.start()
    for worker in (*threads, *processes):
        worker.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [call.number for call in TraceStore.at(place).latest(limit=1000)] == list(range(151, 0, -1))


@pytest.mark.parametrize("isolation", ["serializable", r"repeatable\ read"])
def test_processes_write_at_once_whatever_isolation_the_server_has_as_its_default(
    postgres_server: postgres.Server, isolation: str
) -> None:
    place = f"{postgres_server.place()} -cdefault_transaction_isolation={isolation}"
    stores = [TraceStore(place) for _ in range(4)]
    recounts.at_once(*[functools.partial(_write_to, store) for store in stores])
    assert stores[0].count() == 100
    recounts.check(stores[0])
    for store in stores:
        store.close()


def _write_to(store: TraceStore) -> None:
    for _ in range(25):
        store.write(CALL)


def test_a_trace_deleted_while_open_is_made_anew(trace_file: Path) -> None:
    store = TraceStore.at(trace_file)
    store.write(CALL)
    for file in trace_file.parent.glob("trace.db*"):
        file.unlink()
    store.write(CALL)
    assert len(store.latest()) == 1


def test_a_lost_connection_to_the_server_loses_nothing(postgres_server: Any) -> None:
    store = TraceStore.at(postgres_server.place())
    for _ in range(3):
        store.write(CALL)
        assert store.read(1) == CALL
        with store._engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    assert list(store.each()) == [CALL] * 3


def test_a_server_whose_machine_is_switched_off_is_soon_missed() -> None:
    """Who waited for its answer waited for two hours, and all records of the process behind it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        store = TraceStore(f"postgresql://postgres@127.0.0.1:{port}/trace")

        def read() -> None:
            with contextlib.suppress(TraceError):
                store.latest()

        reading = threading.Thread(target=read)
        reading.start()
        silent, (_, own) = listener.accept()
        with silent:
            silent.recv(1)  # it has asked, and waits
            time.sleep(0.1)
            sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    reading.join()
    (timer,) = (each[5] for each in sockets if each[1][-4:] == f"{own:04X}" and each[2][-4:] == f"{port:04X}")
    kind, hundredths = (int(part, 16) for part in timer.split(":"))
    assert kind == 2, "the system does not ask whether the server is there"
    assert hundredths <= 500


def test_any_number_of_threads_may_be_the_first_to_write(place: str) -> None:
    begin = threading.Barrier(200)
    store = TraceStore(place)
    failures: list[BaseException] = []

    def first() -> None:
        try:
            begin.wait(60)
            store.write(CALL)
        except BaseException as error:
            failures.append(error)

    with count_connections(store) as opened:
        threads = [threading.Thread(target=first) for _ in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert store.count() == 200
    assert len(opened) <= 2  # one prepared the tables, one writes
    store.close()


@contextlib.contextmanager
def count_connections(store: TraceStore) -> Iterator[list[object]]:
    """Collect the connections that a store opens."""
    opened: list[object] = []

    def note(connection: object, _record: object) -> None:
        opened.append(connection)

    sa.event.listen(store._engine, "connect", note)
    yield opened
    sa.event.remove(store._engine, "connect", note)


# ---- replies and schemas ----


def test_a_recorded_reply_is_found_by_its_key_and_replaced(place: str) -> None:
    store = TraceStore.at(place)
    body = {"text": '{"n": 3}\0\ud800', "tokens": [["{", -0.1]], "cost": None}
    assert store.recorded("k") is None
    assert store.record("k", body)
    assert store.recorded("k") == body
    assert store.recorded("l") is None
    assert store.record("k", {"text": "other"})
    assert store.recorded("k") == {"text": "other"}


def test_what_was_asked_for_is_kept_once_and_compiles_to_the_same(place: str) -> None:
    store = TraceStore.at(place)
    schema = {"type": "object", "properties": {"n": {"$ref": "urn:n"}, "x": {"multipleOf": 0.1, "maximum": 1e300}}}
    documents = {"urn:n": {"type": "integer"}, "urn:unused": {}}
    compiled = guard.compile(
        schema, documents=documents, key_order="any", draft="draft7", limits=guard.Limits(states=1000)
    )
    for _ in range(2):
        store.write(dataclasses.replace(CALL, schema_hash=compiled.hash), compiled)
    kept = store.schema(compiled.hash)
    assert kept == {
        "schema": schema,
        "documents": {"urn:n": {"type": "integer"}},
        "key_order": "any",
        "draft": "draft7",
        "limits": dataclasses.asdict(guard.Limits(states=1000)),
    }
    limits = guard.Limits(**kept.pop("limits"))
    assert guard.compile(**kept, limits=limits).hash == compiled.hash
    assert store.schema("nothing") is None


def test_a_schema_of_any_depth_that_compiles_does_not_fail_the_record(place: str) -> None:
    store = TraceStore.at(place)
    for depth, is_kept in ((190, True), (400, None)):  # of the second it depends on the stack below whether it is
        schema: dict[str, Any] = {"type": "integer"}
        for _ in range(depth):
            schema = {"items": schema}
        compiled = guard.compile(schema, limits=guard.Limits(depth=900))
        number = store.write(dataclasses.replace(CALL, schema_hash=compiled.hash), compiled).number
        assert number is not None
        assert store.read(number) is not None
        if is_kept:
            assert store.schema(compiled.hash) == compiled.arguments()


def test_a_message_that_is_nested_too_deeply_is_refused_in_words(place: str) -> None:
    content: Any = "x"
    for _ in range(10_000):
        content = [content]
    attempt = Attempt(1, ({"role": "user", "content": content},))
    with pytest.raises(TraceError, match="a message is nested too deeply to be recorded; nothing was written"):
        TraceStore.at(place).write(dataclasses.replace(CALL, attempts=(attempt,)))


# ---- what can't be used ----


def test_a_trace_that_cannot_be_written_stops_the_call_before_it_costs_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    model = Scripted("7")
    with pytest.raises(TraceError, match=r"can't be written: .*; name another in GUARD_TRACE"):
        guard.Guard(model, trace=tmp_path / "file" / "trace.db").generate(int, MESSAGES)
    assert model.requests == []


def test_a_file_that_is_no_trace_is_named(trace_file: Path) -> None:
    trace_file.write_text("this is no database, it only looks like a file" * 100)
    with pytest.raises(TraceError, match="file is not a database"):
        TraceStore(trace_file).check_writable()
    with pytest.raises(TraceError, match="file is not a database"):
        TraceStore(trace_file).latest()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:hush-hush@host/db", "can't be a mysql:// URL; name a file, or postgresql://USER@HOST/DATABASE"),
        ("postgresql://u:hush-hush@host:port/db", "the trace's URL can't be read; write it as postgresql://"),
        ("postgresql://u:hush-hush@127.0.0.1:9/db", r"u:\*\*\*@127.0.0.1:9/db can't be read: .*; name another"),
        (
            "postgresql://u@127.0.0.1:9/db?password=hush-hush&sslpassword=hush-hush",
            r"u@127.0.0.1:9/db\?password=\*\*\*&sslpassword=\*\*\* can't be read: .*; name another",
        ),
        ("postgresql://u:a@hush-hush@127.0.0.1:9/db", "more than one @; write an @ of a user's name or a password as"),
        ("postgresql://u:a@hush-hush/b@127.0.0.1:9/db", "more than one @"),
        ("postgresql://u:a@hush-hush?b@127.0.0.1:9/db", "more than one @"),
        (
            "postgresql://u/x:hush-hush@127.0.0.1:9/db",
            "has a / before its @; write a / of a user",
        ),
        ("host=127.0.0.1 port=9 password=hush-hush", "no file's name; write postgresql://USER@HOST/DATABASE, or ./"),
        ("application_name=guard host=127.0.0.1 password=hush-hush", "no file's name; write postgresql://USER@HOST"),
        ("connect_timeout = 5\nhost=127.0.0.1 password=hush-hush", "no file's name; write postgresql://USER@HOST"),
        ("password = hush-hush://", "no file's name; write postgresql://USER@HOST/DATABASE"),
        ("postgresql:u:hush-hush@127.0.0.1:9/db", "no file's name; write postgresql://USER@HOST/DATABASE"),
        ("Postgres:/u:hush-hush@127.0.0.1:9/db", "no file's name; write postgresql://USER@HOST/DATABASE"),
        ("postgresql://u%40x:hush-hush%40@127.0.0.1:9/db?application_name=a@b", r"u%40x:\*\*\*@127.0.0.1:9/db\?app"),
    ],
)
def test_a_url_that_leads_nowhere_is_said_in_one_line_without_its_password(
    url: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for use in (TraceStore.latest, TraceStore.check_usable):
        with pytest.raises(TraceError, match=words.replace("be read: ", "be (read|written): ")) as raised:
            use(TraceStore(url))
        assert list(tmp_path.iterdir()) == []
        assert "hush-hush" not in str(raised.value)
        assert "\n" not in str(raised.value)
        assert "psycopg:" not in str(raised.value)  # which nobody wrote


def test_a_file_named_in_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert TraceStore.at("~/t.db") is TraceStore.at("t.db") is TraceStore.at(tmp_path / "t.db")


def test_a_record_costs_well_under_a_millisecond(trace_file: Path) -> None:
    call = dataclasses.replace(CALL, attempts=CALL.attempts[:1])
    compiled = guard.compile({"type": "integer"})
    store = TraceStore.at(trace_file)
    store.write(call, compiled)
    times = []
    for _ in range(500):
        started = time.perf_counter()
        store.write(call, compiled)
        times.append(time.perf_counter() - started)
    assert sorted(times)[len(times) // 10] < 0.001  # 0.08 ms here; what a busy machine adds, it adds to some


def test_sqlite_is_in_the_mode_that_the_promise_rests_on(trace_file: Path) -> None:
    store = TraceStore.at(trace_file)
    store.write(CALL)
    connection = store._writer._held.driver_connection
    assert isinstance(connection, sqlite3.Connection)
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
    assert [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas] == ["wal", 1, 1, 1]
