"""The trace: what is written, what never is, and what survives; the same in both kinds of database."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import Scripted, reply

import guard
from guard.decoding.confidence import Token
from guard.models.base import Reply
from guard.output.repair import Edit
from guard.trace import (
    REDACTED,
    VERSION,
    TraceError,
    TraceStore,
    redact_with,
    redacted,
    sql_tables,
    stop_redacting_with,
)
from guard.trace.group_commit import Late, Writer
from guard.trace.records import Attempt, Call
from guard.trace.retention import EVERY, Retention
from guard.trace.row_codec import LARGE, restored, storable

FINDING = guard.Violation("/n", "minimum", "a number >= 3", "1")
CALL = Call(
    function="shop.count",
    target="Count",
    schema_hash="c0ffee",
    template="typed/1",
    model="scripted",
    options={"retries": 1, "seed": 7, "max_tokens": 64, "temperature": 0.0},
    started=1_770_000_000.5,
    seconds=0.75,
    attempts=(
        Attempt(1, ({"role": "user", "content": "How many? ☕"},), reply('{"n": 1}'), (FINDING,), reason="invalid"),
        Attempt(
            2,
            ({"role": "user", "content": "Again."},),
            reply(
                '```{"n": 3}```',
                thinking="Three.",
                thinking_tokens=2,
                tokens=(Token('{"', -0.25, 0.5, 1.5), Token("n", 0.0, 0.75, None, forced=True)),
                retries=1,
                mode="masks",
                cost=0.0025,
            ),
            tier=1,
            model="large",
            repairs=(Edit(0, "fence", "```", ""), Edit(11, "fence", "```", "")),
            repaired='{"n": 3}',
            started=1_770_000_001.0,
            seconds=0.5,
        ),
    ),
)
FAILED = dataclasses.replace(CALL, outcome="ModelError", error="down", attempts=(Attempt(1, (), error="down"),))
MESSAGES = [{"role": "user", "content": "How many?"}]


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
    # record has the cost. `inputs` is kept with `sources`.
    handed_on = {"thinking_blocks", "inputs", "cached_tokens", "cache_creation_tokens"}
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


# ---- group commit ----


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
    errors = writer.commit_all([(_inserting(2), 0.1), (_inserting(3), 0.2)])
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
        threading.Thread(target=lambda n=n: errors.extend(writer.commit_all([(_inserting(n), 1.5)]))) for n in range(3)
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


# ---- redaction ----


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnop1234567890",
        "hf_abcdefghijklmnopqrstuvwx",
        "ghp_abcdefghijklmnopqrstuvwx1234",
        "Bearer abcdefghijklmnopqrstuvwxyz",
        "https://user:correct-horse@host/path",
        'a"quoted\\pass\nword',
    ],
)
def test_a_secret_is_never_written(secret: str, trace_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PASSWORD", 'a"quoted\\pass\nword')
    model = Scripted(reply(json.dumps(secret)), guard.ModelError(f"401 for {secret}"), name="m")
    with pytest.raises(guard.ModelError):
        guard.Guard(model, retries=1).generate(int, [{"role": "user", "content": f"It is {secret}."}])
    bare = secret.removeprefix("Bearer ").removeprefix("https://").removesuffix("@host/path")
    escaped = (bare, json.dumps(bare)[1:-1], json.dumps(json.dumps(bare)[1:-1])[1:-1], json.dumps(repr(bare))[2:-2])
    for written in escaped:
        for file in trace_file.parent.glob("trace.db*"):
            assert written.encode() not in file.read_bytes()
    (stored,) = TraceStore.at(trace_file).latest()
    assert REDACTED in stored.error
    assert REDACTED in stored.attempts[0].messages[0]["content"]


SECRET = "correct-horse-battery"


def _parts(text: str) -> Call:
    """Return a call that holds a text only in parts, or clipped."""
    half = len(text) // 2
    attempt = Attempt(
        1,
        (),
        reply(
            f'"{text}"', tokens=tuple(Token(part, -0.5, 0.25, None) for part in (f'"{text[:half]}', f'{text[half:]}"'))
        ),
        (guard.Violation("", "maxLength", "at most 3 characters", f"'{text[:half]}…"),),
        repairs=(Edit(0, "prose", text[:half], ""),),
        repaired=f'"{text}"',
    )
    return dataclasses.replace(CALL, attempts=(attempt,))


def test_no_part_of_a_secret_is_written(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TraceStore.at(place)
    call = _parts(SECRET)
    assert store.read(store.write(call).number or 0) == call
    monkeypatch.setenv("SOME_PASSWORD", SECRET)
    (stored,) = (store.read(store.write(call).number or 0),)
    assert stored is not None
    (attempt,) = stored.attempts
    assert attempt.reply is not None
    assert (attempt.reply.text, attempt.repaired) == (f'"{REDACTED}"', f'"{REDACTED}"')
    assert [(t.text, t.logprob, t.removed) for t in attempt.reply.tokens] == [("", -0.5, 0.25)] * 2
    assert attempt.findings[0].got == REDACTED
    assert attempt.repairs == (Edit(0, "prose", REDACTED, REDACTED),)


def test_tokens_that_spell_a_secret_which_the_text_lacks_are_not_written(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_PASSWORD", SECRET)
    tokens = tuple(Token(character, -0.5, 0.25, None) for character in SECRET)
    call = dataclasses.replace(CALL, attempts=(Attempt(1, (), reply("cut", tokens=tokens)),))
    stored = TraceStore.at(place).read(TraceStore.at(place).write(call).number or 0)
    assert stored is not None
    assert stored.attempts[0].reply is not None
    assert {token.text for token in stored.attempts[0].reply.tokens} == {""}


@pytest.mark.parametrize(
    "text", ["", "task-oriented-programming-language", "a: b@c", "https://host/p?a=b@c", "Bearer of news"]
)
def test_a_text_without_secrets_is_left_alone(text: str) -> None:
    assert redacted(text) == text


def test_a_changed_environment_is_noticed(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TraceStore.at(place)
    call = dataclasses.replace(CALL, error="it is correct-horse")
    monkeypatch.setenv("MY_TOKEN", "wrong-horse")
    assert store.read(store.write(call).number or 0) == call
    monkeypatch.setenv("MY_TOKEN", "correct-horse")
    assert store.latest(limit=1)[0] is not None
    store.write(call)
    assert store.latest(limit=1)[0].error == f"it is {REDACTED}"


def test_hooks_see_every_text_before_it_is_written(place: str) -> None:
    texts: set[str] = set()

    def shout(text: str) -> str:
        texts.add(text)
        return text.replace("e", "E")

    redact_with(shout)
    try:
        TraceStore.at(place).write(CALL)
    finally:
        stop_redacting_with(shout)
    stored = TraceStore.at(place).latest()[0]
    assert (stored.function, stored.target) == ("shop.count", "Count")
    assert stored.model == "scriptEd"
    assert stored.options["sEEd"] == 7
    assert stored.attempts[0].messages == ({"rolE": "usEr", "contEnt": "How many? ☕"},)
    assert stored.attempts[0].findings[0].expected == "a numbEr >= 3"
    second = stored.attempts[1]
    assert second.reply is not None
    assert (second.model, second.reply.thinking) == ("largE", "ThrEE.")
    assert {"Three.", "Again.", '```{"n": 3}```', '{"n": 3}', "fence"} <= texts
    TraceStore.at(place).write(CALL)
    assert TraceStore.at(place).latest()[0] == CALL


def _raising(text: str) -> str:
    raise KeyError(text)


def _forgetting(text: str) -> Any:
    return None


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (_raising, "the redaction hook _raising failed with KeyError; nothing was written"),
        (_forgetting, "the redaction hook _forgetting returned NoneType, not str; nothing was written"),
    ],
)
def test_a_hook_that_fails_fails_the_write(hook: Any, words: str, place: str) -> None:
    redact_with(hook)
    try:
        with pytest.raises(TraceError, match=f"^{words}$"):
            TraceStore.at(place).write(CALL)
        with pytest.raises(TraceError, match=f"^{words}$"):
            TraceStore.at(place).record("key", {"text": "x"})
    finally:
        stop_redacting_with(hook)
    assert TraceStore.at(place).latest() == []


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


def test_a_reply_that_redaction_would_change_is_not_kept(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PASSWORD", SECRET)
    store = TraceStore.at(place)
    assert not store.record("k", {"text": f"it is {SECRET}"})
    assert store.recorded("k") is None


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


# ---- retention ----


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
    monkeypatch.setattr("guard.trace.store.MOST", 3)
    monkeypatch.setattr("guard.trace.store.EVERY", 10)
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
    monkeypatch.setattr("guard.trace.store.time", pause)
    monkeypatch.setattr("guard.trace.store.LEAST", 2)
    monkeypatch.setattr("guard.trace.store.HOLD_S", 0.0)
    assert store.prune(Retention(calls=2)) == 7
    assert written[:4] == [10, 11, 12, 13]
    assert _numbers(store) == [8, 9, *written]
    store.close()
    other.close()


def test_recorded_replies_go_in_portions_too(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.trace.store.LEAST", 2)
    monkeypatch.setattr("guard.trace.store.HOLD_S", 0.0)
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


# ---- versions ----

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
    ],
)
def test_a_url_that_leads_nowhere_is_said_in_one_line_without_its_password(url: str, words: str) -> None:
    with pytest.raises(TraceError, match=words) as raised:
        TraceStore(url).latest()
    assert "hush-hush" not in str(raised.value)
    assert "\n" not in str(raised.value)


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
