"""Running totals: always what a recount of the records says, whoever wrote, pruned or migrated."""

from __future__ import annotations

import dataclasses
import itertools
import random
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import traces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recounts import at_once, check, counted, kept
from scripted import reply
from tiered import LARGE, SMALL, calls

from guard.models.remote import prices
from guard.sidecar.endpoints import operator
from guard.trace import TraceError, TraceStore, stats, totals
from guard.trace.records import Attempt, Call
from guard.trace.retention import Retention
from guard.trace.totals import SIZES, Totals

NOW = 1_770_000_000.0


def _spread(many: list[Call], seed: int) -> list[Call]:
    draw = random.Random(seed)
    return [
        dataclasses.replace(call, started=NOW + draw.randrange(300), seconds=draw.randrange(1, 9) / 8) for call in many
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(many=st.lists(calls(), max_size=12), seed=st.integers(0, 99), kept=st.integers(1, 6))
def test_after_writes_and_prunings_the_totals_are_those_of_a_recount(
    place: str, many: list[Call], seed: int, kept: int
) -> None:
    store = TraceStore.at(place)
    store.check_writable()
    for call in _spread(many, seed):
        store.write(call)
    check(store)
    store.prune(Retention(calls=kept))
    check(store)
    assert store.count() <= kept


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(many=st.lists(calls(), max_size=8), since=st.integers(-10, 310), large=st.sampled_from([None, LARGE, SMALL]))
def test_statistics_since_any_second_are_those_of_the_records(
    place: str, many: list[Call], since: int, large: str | None
) -> None:
    store = TraceStore.at(place)
    store.prune(Retention(days=1))  # of the example before
    for call in _spread(many, since):
        store.write(call)
    began = NOW + since
    found = stats.collect(store.ledger(since=began), large)
    expected = stats.collect(counted(store, began).rows(), large)
    assert [dataclasses.asdict(line) for line in found] == [
        {name: pytest.approx(value) if isinstance(value, float) else value for name, value in vars(line).items()}
        for line in expected
    ]


@pytest.mark.parametrize("model", ["openai:gpt-5-mini", "anthropic:claude-sonnet-4-5", "google:gemini-2.5-pro"])
@given(prompts=st.lists(st.tuples(st.integers(0, 600_000), st.integers(0, 9_999)), min_size=1, max_size=8))
def test_a_price_that_depends_on_the_prompts_size_is_summed_up_exactly(
    model: str, prompts: list[tuple[int, int]]
) -> None:
    counted = Totals()
    for number, (prompt, completion) in enumerate(prompts):
        row = {"started": NOW, "seconds": 1.0, "function": "f", "target": "", "model": SMALL, "large": SMALL}
        attempt = {
            "tier": 0, "model": SMALL, "reason": "", "text": "", "is_kept": 0, "is_estimate": 0, "finish": "stop",
            "prompt_tokens": prompt, "completion_tokens": completion, "cost": None,
        }  # fmt: skip
        counted.add(number, {**row, "outcome": "valid"}, [attempt])
    provider, _, name = model.partition(":")
    costs = [prices.cost(name, *pair, provider=provider) for pair in prompts]
    whole = stats.collect(counted.rows(), model)[-1]
    assert (whole.large_cost, whole.large_unknown) == (pytest.approx(sum(c or 0.0 for c in costs)), costs.count(None))


def test_a_price_that_changes_within_a_size_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def cost(_model: str, prompt: int, completion: int, **_: Any) -> float:
        return (prompt + completion) * (2e-6 if prompt > 5_000 else 1e-6)

    monkeypatch.setattr(prices, "cost", cost)
    stats.price.cache_clear()
    stats._rates.cache_clear()
    assert stats._priced("openai:odd", 0, 1, 100, 10) is None
    assert stats._priced("openai:odd", SIZES[0], 2, 90_000, 10) == pytest.approx(0.18002)
    stats.price.cache_clear()
    stats._rates.cache_clear()


def _in_minute(minute: int, seconds: float, function: str = "f") -> Call:
    attempt = Attempt(1, (), reply("{}", prompt_tokens=10, completion_tokens=1, cost=0.5), model=SMALL)
    return Call(function, "T", "h", "", SMALL, {}, NOW + minute * 60, seconds, attempts=(attempt,))


def test_writers_and_pruners_of_several_processes_at_once_leave_the_totals_exact(place: str) -> None:
    stores = [TraceStore(place) for _ in range(4)]

    def write(store: TraceStore, number: int) -> None:
        for at in range(40):
            store.write(_in_minute(at % 3, (number * 40 + at) / 8, "fg"[at % 2]))

    def prune(store: TraceStore) -> None:
        for most in (90, 70, 50, 30):
            store.prune(Retention(calls=most))

    writers = [partial(write, store, number) for number, store in enumerate(stores)]
    at_once(*writers, *(partial(prune, store) for store in stores[:2]))
    check(stores[0])
    for store in stores:
        store.close()


@pytest.mark.parametrize("days", [3, 365])
def test_a_clock_that_was_ahead_for_a_time_leaves_the_totals_exact(
    place: str, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, real = TraceStore.at(place), time.time

    def written() -> None:
        store.write(dataclasses.replace(_in_minute(0, 1.0), started=time.time()))

    written()
    monkeypatch.setattr(time, "time", lambda: real() + days * 86_400)
    written()
    store._upkeep.sum_up()
    written()
    monkeypatch.setattr(time, "time", lambda: real() + (days + 2) * 86_400)
    store._upkeep.sum_up()
    monkeypatch.setattr(time, "time", real)
    written()
    check(store)
    assert stats.collect(store.ledger())[-1].calls == 4
    assert store.prune(Retention(calls=2)) == 2
    check(store)


def test_a_record_that_fails_leaves_no_trace_in_the_totals(place: str) -> None:
    store = TraceStore.at(place)
    deep: Any = "x"
    for _ in range(10_000):
        deep = [deep]
    bad = dataclasses.replace(_in_minute(0, 1.0), attempts=(Attempt(1, ({"role": "user", "content": deep},)),))
    numbers = store.write_all([(call, None, 30.0) for call in (_in_minute(0, 1.0), bad, _in_minute(0, 2.0))])
    assert [isinstance(number, int) for number in numbers] == [True, False, True]
    check(store)
    assert stats.collect(store.ledger())[-1].calls == 2


#: What version 4 had and version 5 has not, and the other way round.
DOWN = (
    "DROP TABLE totals",
    "DROP INDEX ix_calls_failed",
    "DROP INDEX ix_calls_function",
    "DROP INDEX ix_calls_outcome",
    "CREATE INDEX ix_calls_function ON calls (function)",
    "CREATE INDEX ix_calls_outcome ON calls (outcome)",
    "UPDATE guard_schema SET version = 4",
)


def test_the_records_of_version_4_are_counted_when_it_is_migrated(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.trace.totals.PAGE", 3)
    store = TraceStore(place)
    for number in range(10):
        store.write(_in_minute(number % 4, 1.0, "fg"[number % 2]))
    expected = stats.collect(store.ledger())
    with store._engine.begin() as connection:
        for statement in (*traces.to_version_5(place), *DOWN):
            connection.exec_driver_sql(statement)
    store.close()
    migrated = TraceStore(place)
    assert stats.collect(migrated.ledger()) == expected
    check(migrated)
    migrated.close()


def test_what_an_older_guard_would_write_beside_is_refused(place: str) -> None:
    store = TraceStore.at(place)
    store.write(_in_minute(0, 1.0))
    columns = "started, seconds, function, target, schema_hash, template, model, options, outcome, error"
    insert = f"INSERT INTO calls ({columns}) SELECT {columns} FROM calls"  # noqa: S608 (ours)
    if "://" in place:
        with pytest.raises(TraceError, match='null value in column "id"'), store.begin() as old:
            old.exec_driver_sql(insert)
    else:
        with sqlite3.connect(place) as old, pytest.raises(sqlite3.OperationalError, match="no such function: guard_"):
            old.execute(insert)
        old.close()
    check(store)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(seconds=st.lists(st.integers(0, 5), max_size=12), since=st.integers(-1, 6), until=st.integers(-1, 6))
def test_pages_hold_each_call_of_a_time_once_and_never_many(
    place: str, seconds: list[int], since: int, until: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "PAGE", 3)
    store = TraceStore.at(place)
    store.prune(Retention(days=1e-9))
    ids = {
        store.write(dataclasses.replace(_in_minute(0, 1.0), started=NOW + second)).number: second for second in seconds
    }
    with store.reading() as connection:
        assert connection is not None
        mark = "?" if store.path else "%s"
        found = list(totals.pages(connection.connection.cursor(), mark, NOW + since, NOW + until))
    assert [number for page in found for number in page] == sorted(
        (number for number, second in ids.items() if since <= second < until), key=lambda number: (ids[number], number)
    )
    assert all(1 <= len(page) <= 3 for page in found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(minutes=st.integers(1, 400), ages=st.lists(st.integers(0, 500 * 60), max_size=8))
def test_figures_over_time_count_each_call_of_the_last_minutes_once(place: str, minutes: int, ages: list[int]) -> None:
    store = TraceStore.at(place)
    now = time.time()
    store.prune(Retention(days=1e-9))
    for age in ages:
        store.write(dataclasses.replace(_in_minute(0, age / 8), started=now - age))
    found = operator.figures(store, minutes, now)
    step = found["step_seconds"]
    assert step % 60 == 0
    assert step * operator.BUCKETS >= minutes * 60
    assert found["until"] - 60 <= now < found["until"]
    mine = [age for age in ages if now - age >= found["since"]]
    points = found["models"].get(SMALL, [])
    by_step = {p["started"]: (p["calls"], p["max_seconds"], p["usd"]) for p in points}
    for began, (count, longest, usd) in by_step.items():
        there = [age for age in mine if began <= now - age < began + step]
        assert (count, longest, usd) == (len(there), max(age / 8 for age in there), 0.5 * len(there))
    assert sum(count for count, _, _ in by_step.values()) == len(mine)
    assert len(list(itertools.chain(by_step))) <= operator.BUCKETS


# ---- what a look costs ----


def _plans(store: TraceStore, look: Any) -> list[str]:
    """Return how SQLite goes about the statements of a look, without those that are no queries."""
    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    sa.event.listen(store._database.reader, "before_cursor_execute", note)
    try:
        look()
    finally:
        sa.event.remove(store._database.reader, "before_cursor_execute", note)
    with store.reading() as connection:
        assert connection is not None
        found = [
            row[-1]
            for statement, parameters in statements
            if statement.lstrip().startswith("SELECT")
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert found
    return found


def test_no_look_goes_through_all_records(trace_file: Path) -> None:
    store = TraceStore.at(trace_file)
    store.write(_in_minute(0, 1.0))
    for look in (
        store.ledger,
        lambda: store.ledger(since=NOW + 90),
        lambda: store.latest(limit=20, function="f"),
        lambda: store.latest(limit=20, outcome="Refused"),
        lambda: store.outlines(failed=True),
        lambda: operator.figures(store, 60, NOW),
    ):
        for step in _plans(store, look):
            is_narrow = "ix_calls" in step or "COVERING INDEX" in step  # an index that holds no record
            assert not step.startswith("SCAN") or is_narrow or not ("calls" in step or "attempts" in step), step


@pytest.mark.parametrize(
    ("look", "index"),
    [
        (lambda store: store.outlines(failed=True), "ix_calls_failed"),
        (lambda store: store.latest(limit=20, outcome="Refused"), "ix_calls_outcome"),
        (lambda store: store.latest(limit=20, function="f"), "ix_calls_function"),
    ],
)
def test_rare_calls_are_found_by_an_index_in_their_order(trace_file: Path, look: Any, index: str) -> None:
    store = TraceStore.at(trace_file)
    store.check_writable()
    plan = _plans(store, lambda: look(store))
    assert index in plan[0], plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


def test_a_thousand_calls_alike_are_one_row_for_each_minute(place: str) -> None:
    store = TraceStore.at(place)
    store.write_all([(_in_minute(number % 3, 1.0), None, 60.0) for number in range(1_000)])
    assert len(kept(store)) == 3
    assert stats.collect(store.ledger())[-1].calls == 1_000
