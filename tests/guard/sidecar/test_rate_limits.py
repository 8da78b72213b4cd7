"""Rates and budgets against a slow judge that counts every request: as many as a key may, never more, never fewer."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.sidecar import keys, rate_limits
from guard.sidecar.keys import Key
from guard.sidecar.rate_limits import Ledger
from guard.trace import TraceError, TraceStore
from guard.trace.sql_tables import SPENDING

START = 29_500_000 * 60.0  #: The beginning of a minute.


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(time=made.time, monotonic=time.monotonic))
    return made


class Judge:
    """Counts each request by the minute, and each token and dollar by the day."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.requests: Counter[int] = Counter()
        self.tokens: Counter[int] = Counter()
        self.usd: Counter[int] = Counter()

    def refusal(self, now: float) -> str | None:
        key, day = self.key, int(now // 86_400)
        if key.tokens_per_day is not None and self.tokens[day] >= key.tokens_per_day:
            return f"tokens_per_day={key.tokens_per_day}"
        if key.usd_per_day is not None and self.usd[day] >= key.usd_per_day:
            return f"usd_per_day={key.usd_per_day:g}"
        most = key.requests_per_minute
        if most is not None and self.requests[int(now // 60)] >= most:
            return f"requests_per_minute={most}"
        return None


def asked(ledger: Ledger, key: Key) -> str | None:
    """Ask as the gate does; returns why it may not be."""
    if ledger.take(key):
        return None
    excess = ledger.admit(key)
    return None if excess is None else excess.what


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 70)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 20, 59.5, 60, 3_600, 40_000])),
        st.tuples(st.just("spend"), st.integers(0, 60)),
    ),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(
    rate=st.none() | st.sampled_from([1, 2, 63, 65, 130]),
    tokens=st.none() | st.integers(1, 100),
    usd=st.none() | st.sampled_from([0.5, 1.0]),
    steps=STEPS,
)
def test_one_process_lets_in_exactly_what_a_count_of_each_request_would(
    place: str, clock: Clock, rate: int | None, tokens: int | None, usd: float | None, steps: list[tuple[str, Any]]
) -> None:
    store = TraceStore.at(place)
    key, _ = keys.create(store, "shop", requests_per_minute=rate, tokens_per_day=tokens, usd_per_day=usd)
    ledger, judge = Ledger(store), Judge(key)
    clock.now = START
    for what, much in steps:
        if what == "wait":
            clock.now += much
        elif what == "spend":
            ledger.owe(key, much, much / 64)
            ledger.charge()
            judge.tokens[int(clock.now // 86_400)] += much
            judge.usd[int(clock.now // 86_400)] += much / 64
        else:
            for _ in range(much):
                refusal = judge.refusal(clock.now)
                assert asked(ledger, key) == refusal
                judge.requests[int(clock.now // 60)] += refusal is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)
@given(turns=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 12)), max_size=8))
def test_a_rate_holds_where_clocks_differ_and_the_minute_has_begun_for_some(
    place: str, clock: Clock, turns: list[tuple[int, int, int]]
) -> None:
    store = TraceStore.at(place)
    key, _ = keys.create(store, "shop", requests_per_minute=10)
    ledgers, inside = [Ledger(store) for _ in range(3)], Counter[int]()
    for number, minute, much in [(0, 0, 20), (1, 1, 1), (0, 0, 20), *turns]:
        clock.now = START + 60 * minute
        inside[minute] += sum(asked(ledgers[number], key) is None for _ in range(much))
    assert max(inside.values()) <= 10


def test_a_rate_holds_where_a_clock_was_ahead_by_a_day(place: str, clock: Clock) -> None:
    store = TraceStore.at(place)
    key, _ = keys.create(store, "shop", requests_per_minute=10)
    ledgers = [Ledger(store) for _ in range(3)]
    assert sum(asked(ledgers[0], key) is None for _ in range(20)) == 10
    clock.now += 86_400
    assert asked(ledgers[1], key) is None
    clock.now -= 86_400
    assert [sum(asked(ledger, key) is None for _ in range(20)) for ledger in ledgers] == [0, 0, 0]


def test_minutes_that_are_over_for_long_are_forgotten(
    place: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "OVER", 60)
    store = TraceStore.at(place)
    key, _ = keys.create(store, "shop", requests_per_minute=10, tokens_per_day=10)
    ledger = Ledger(store)
    for _ in range(100):
        asked(ledger, key)
        clock.now += 60
    with store.reading() as connection:
        assert connection is not None
        assert connection.scalar(sa.select(sa.func.count()).select_from(SPENDING)) == rate_limits.OVER + 1


TURNS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 70)), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)
@given(rate=st.sampled_from([1, 64, 130]), turns=TURNS, day=st.booleans())
def test_processes_together_never_let_in_more_and_fewer_only_by_what_one_of_them_holds(
    place: str, clock: Clock, rate: int, turns: list[tuple[int, int]], day: bool
) -> None:
    store = TraceStore.at(place)
    key, _ = keys.create(store, "shop", requests_per_minute=rate, tokens_per_day=10 if day else None)
    ledgers = [Ledger(store) for _ in range(3)]
    portion = max(1, rate // rate_limits.PORTIONS)
    inside, was_refused = 0, False
    for number, much in turns:
        for _ in range(much):
            if asked(ledgers[number], key) is None:
                inside += 1
            else:
                was_refused = True
                assert inside >= rate - (len(ledgers) - 1) * portion
    assert inside <= rate
    assert was_refused or inside == sum(much for _, much in turns)


def test_a_key_with_a_budget_and_a_rate_is_let_in_as_often_as_its_rate_says(place: str, clock: Clock) -> None:
    store = TraceStore.at(place)
    key, _ = keys.create(store, "shop", requests_per_minute=640, tokens_per_day=1_000_000)
    ledger = Ledger(store)
    assert [asked(ledger, key) for _ in range(641)] == [None] * 640 + ["requests_per_minute=640"]
    clock.now += 60
    assert asked(ledger, key) is None


@pytest.mark.parametrize("budget", [None, 10])
def test_threads_that_ask_at_once_are_let_in_exactly_as_often(place: str, clock: Clock, budget: int | None) -> None:
    store = TraceStore.at(place)
    key, _ = keys.create(store, "shop", requests_per_minute=130, tokens_per_day=budget)
    ledger = Ledger(store)
    inside: list[bool] = []

    def work() -> None:
        inside.extend(asked(ledger, key) is None for _ in range(40))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(inside) == 130


def test_a_reading_of_a_budget_lets_requests_in_for_a_moment_and_not_near_the_limit(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(time=lambda: START, monotonic=lambda: now[0]))
    store = TraceStore.at(place)
    key, _ = keys.create(store, "shop", tokens_per_day=6_400)
    first, second = Ledger(store), Ledger(store)
    assert not first.take(key)  # nothing is known of the day yet
    first.owe(key, 10, 0.0)
    first.charge()
    second.owe(key, 6_390 - 101, 0.0)
    second.charge()  # 101 tokens are left, one more than a 64th of the budget
    assert (first.take(key), second.take(key)) == (True, True)
    second.owe(key, 1, 0.0)
    second.charge()
    assert (first.take(key), second.take(key)) == (True, False)
    now[0] += rate_limits.READING_S + 0.01
    assert not first.take(key)
    assert first.admit(key) is None
    second.owe(key, 100, 0.0)
    second.charge()
    assert first.admit(key) == rate_limits.Excess("tokens_per_day=6400", 86_400 - START % 86_400, is_budget=True)


def test_what_can_not_be_counted_is_counted_the_next_time_and_once(
    place: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TraceStore.at(place)
    key, _ = keys.create(store, "shop", tokens_per_day=100)
    ledger = Ledger(store)
    ledger.charge()
    assert ledger.admit(key) is None
    assert ledger.take(key)
    ledger.owe(key, 60, 0.5)
    with monkeypatch.context() as patched:

        def down(_: float) -> Any:
            raise TraceError("down")

        patched.setattr(store, "begin", down)
        for _ in range(2):
            with pytest.raises(TraceError, match="down"):
                ledger.charge()
            ledger.owe(key, 10, 0.25)
    assert not ledger.take(key)  # no model is asked by what was known before
    ledger.charge()
    ledger.charge()
    with store.reading() as connection:
        assert connection is not None
        found = connection.execute(sa.select(SPENDING)).all()
    assert found == [(key.id, f"day {int(START // 86_400)}", 3, 80, 1.0)]
