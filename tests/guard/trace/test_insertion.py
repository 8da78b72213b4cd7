"""Insertion: records that are written together are those that are written one by one, and none fails another."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recounts import check
from sample_calls import CALL, FAILED

import guard
from guard.trace import TraceError, TraceStore, redact_with, stop_redacting_with
from guard.trace.group_commit import Late
from guard.trace.records import Call, Item
from guard.trace.redaction import Redaction
from guard.trace.row_codec import _json, _redacted_json
from guard.trace.sql_tables import MOST_ROWS

SECRETS = ("correct-horse", 'quo"ted\\pass', "a\nb", "wört-secret", "short")
SIGNS = ("sk-", "x" * 16, "://", "u:p@", "Bearer ")
TEXTS = st.text(max_size=5) | st.lists(
    st.sampled_from(
        [*SECRETS, "sk-", "x" * 16, "://", "u:p@", "Bearer ", "\\", '"', "\n", "\\n", "\0", "\x1a", "\ud800"]
    ),
    max_size=4,
).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXTS | st.integers() | st.booleans() | st.none(), inner, max_size=3)
        | st.dictionaries(TEXTS, inner, max_size=3).map(MappingProxyType)
    ),
    max_leaves=8,
)


@given(VALUES, st.lists(st.sampled_from(SECRETS), unique=True), st.booleans())
@settings(max_examples=1000)
def test_the_json_of_a_redacted_value_is_found_without_looking_at_its_parts(
    value: Any, secrets: Sequence[str], is_hooked: bool
) -> None:
    hooks = (str.upper,) if is_hooked else ()
    redaction = Redaction(tuple(secrets), hooks)
    assert _redacted_json(value, redaction) == _json(redaction.value(value))


def _call(number: int, **changed: Any) -> Call:
    """A call that can be told apart from others, with an attempt more or less, and now and then an input of a batch."""
    attempts = (CALL.attempts, FAILED.attempts, ())[number % 3]
    item = Item("run", f"input {number % 4}") if number % 5 == 0 else None
    return dataclasses.replace(CALL, function=f"f{number}", attempts=attempts, item=item, **changed)


def _contents(store: TraceStore) -> list[tuple[Any, ...]]:
    return [(call.number, call.function, call.attempts, call.started) for call in store.each()]


@pytest.mark.parametrize("count", [1, 2, 7, MOST_ROWS, MOST_ROWS + 1, 2 * MOST_ROWS + 3])
def test_records_written_together_are_those_written_one_by_one(place: str, count: int) -> None:
    compiled = guard.compile({"type": "integer"})
    together, alone = TraceStore(place), TraceStore(place + "-alone" if "://" not in place else place)
    calls = [_call(number) for number in range(count)]
    numbers = together.write_all([(call, compiled, 30.0) for call in calls])
    assert numbers == list(range(1, count + 1))
    items = together.items("run")
    if "://" in place:  # the numbers go on
        later = [alone.write(call, compiled).number for call in calls]
        found = _contents(alone)
        assert later == list(range(count + 1, 2 * count + 1))
        assert [row[1:] for row in found[:count]] == [row[1:] for row in found[count:]]
        assert alone.items("run") == {key: (number + count, outcome) for key, (number, outcome) in items.items()}
    else:
        for call in calls:
            alone.write(call, compiled)
        assert _contents(together) == _contents(alone)
        assert items == alone.items("run")
    for store in (together, alone):
        assert store.schema(CALL.schema_hash) == compiled.arguments()
        check(store)
        store.close()


def test_a_number_is_never_given_out_again(place: str) -> None:
    store = TraceStore(place)
    assert store.write_all([(_call(number), None, 30.0) for number in range(5)]) == [1, 2, 3, 4, 5]
    with store.begin() as connection:
        connection.exec_driver_sql("DELETE FROM attempts")
        connection.exec_driver_sql("DELETE FROM calls WHERE id > 2")
    first, second = store.write_all([(_call(number), None, 30.0) for number in range(2)])
    assert isinstance(first, int)
    assert first > 5
    assert second == first + 1
    store.close()


def test_a_record_that_cannot_be_written_fails_alone_among_many(place: str) -> None:
    store = TraceStore(place)
    broken = dataclasses.replace(CALL.attempts[0].reply, prompt_tokens=2**70)
    bad = dataclasses.replace(CALL, attempts=(dataclasses.replace(CALL.attempts[0], reply=broken),))
    found = store.write_all([(call, None, 30.0) for call in (_call(0), bad, _call(1), bad, _call(2))])
    assert [isinstance(number, int) for number in found] == [True, False, True, False, True]
    assert [call.function for call in store.each()] == ["f0", "f1", "f2"]
    check(store)
    store.close()


@pytest.mark.parametrize("long", ["", "x" * 101])
def test_what_a_model_leaves_out_is_an_empty_text(long: str, trace_file: Path) -> None:
    store = TraceStore(trace_file)
    silent: Any = dataclasses.replace(CALL.attempts[0].reply, finish=None, thinking=None, model=long)
    call = store.write(dataclasses.replace(CALL, attempts=(dataclasses.replace(CALL.attempts[0], reply=silent),)))
    assert call.number is not None
    (kept,) = store.each()
    assert (kept.attempts[0].reply.finish, kept.attempts[0].reply.thinking) == ("", "")
    assert kept.attempts[0].reply.model == long
    store.close()


def test_a_hook_that_fails_for_one_record_fails_that_one(place: str) -> None:
    def refuse(text: str) -> str:
        if text == "f1":
            raise ValueError(text)
        return text

    store = TraceStore(place)
    redact_with(refuse)
    try:
        found = store.write_all([(_call(number), None, 30.0) for number in range(3)])
    finally:
        stop_redacting_with(refuse)
    assert [isinstance(number, int) for number in found] == [True, False, True]
    assert isinstance(found[1], TraceError)
    store.close()


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_record_that_may_wait_longer_is_written_where_another_is_late(place: str, is_taken: bool) -> None:
    """Behind a transaction that lasts, and in one: another thread's that has taken both records."""
    store = TraceStore(place)
    store.check_writable()
    entered, leave, found = threading.Event(), threading.Event(), []

    def hold(_to: Any) -> None:
        entered.set()
        leave.wait(30)

    def write() -> None:
        found.extend(store.write_all([(_call(1), None, 0.3), (_call(2), None, 60.0)]))

    first, second = (threading.Thread(target=lambda: store._writer.commit(hold)) for _ in range(2))
    first.start()
    assert entered.wait(10)
    entered.clear()
    writers = [threading.Thread(target=write)]
    if is_taken:  # the first goes on and takes what waits: the second's work, which lasts, and the records
        second.start()
        while not store._writer._pending or len(store._writer._pending) < 2:
            time.sleep(0.001)
        writers[0].start()
        while len(store._writer._pending) < 3:
            time.sleep(0.001)
        leave.set()
        leave.clear()
        assert entered.wait(10)
    else:
        writers[0].start()
    threading.Timer(1.0, leave.set).start()
    for thread in (first, *([second] if is_taken else ()), *writers):
        thread.join()
    assert isinstance(found[0], int if is_taken else TraceError)
    assert isinstance(found[1], int)
    assert [call.function for call in store.each()] == (["f1", "f2"] if is_taken else ["f2"])
    store.close()


def test_a_late_record_does_not_part_the_others(trace_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TraceStore(trace_file)
    store.check_writable()
    commit_all, jobs = store._writer.commit_all, []
    monkeypatch.setattr(store._writer, "commit_all", lambda works: jobs.append(len(works)) or commit_all(works))
    found = store.write_all([(_call(number), None, -0.1 if number == 1 else 30.0) for number in range(5)])
    assert [isinstance(number, int) for number in found] == [True, False, True, True, True]
    assert jobs == [1]
    store.close()


def test_a_call_of_many_attempts_fits_the_parameters_of_an_old_sqlite(trace_file: Path) -> None:
    store = TraceStore(trace_file)
    store.check_writable()
    store._writer.commit(lambda _to: None)
    store._writer._held.driver_connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    attempts = tuple(dataclasses.replace(CALL.attempts[0], number=number) for number in range(1, 101))
    assert store.write(dataclasses.replace(CALL, attempts=attempts)).number == 1
    assert store.write_all([(_call(number), None, 30.0) for number in range(200)]) == list(range(2, 202))
    store.close()


@pytest.mark.parametrize("damage", ["DELETE FROM sqlite_sequence", "UPDATE sqlite_sequence SET seq = 1"])
def test_a_file_whose_sequence_is_damaged_takes_records(trace_file: Path, damage: str) -> None:
    store = TraceStore(trace_file)
    store.write_all([(_call(number), None, 30.0) for number in range(3)])
    with store.begin() as connection:
        connection.exec_driver_sql(damage)
    assert store.write(CALL).number == 4
    store.close()


def test_what_may_have_been_written_is_not_written_again(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the commit itself, or a wait that ends during it, leaves open whether it was done."""
    store = TraceStore(place)
    store.check_writable()
    for error in (Late("it may be written or not", is_open=True), OSError("the connection broke")):
        commits: list[int] = []

        def commit_all(works: Sequence[Any], error: Exception = error, commits: list[int] = commits) -> list[Any]:
            commits.append(len(works))
            return [error for _ in works]

        monkeypatch.setattr(store._writer, "commit_all", commit_all)
        found = store.write_all([(_call(number), None, 30.0) for number in range(3)])
        assert all(isinstance(one, TraceError) for one in found)
        assert commits == [1]
    store.close()
