"""Hints between circuit breakers: each opening is heard once by each other process, and opens nothing by itself."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.errors import Unavailable
from guard.sidecar.breaker_hints import BreakerHints
from guard.sidecar.circuit_breaker import CLOSED, OPEN, Breaker
from guard.trace import TraceStore

#: Which process, which model, whether it opens there, and by how many seconds the process's clock is wrong then.
CLOCKS = st.sampled_from([0, 0, -400, 31_536_000])
TURNS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.booleans(), CLOCKS), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(turns=TURNS)
def test_each_hears_of_the_latest_opening_by_others_that_it_does_not_know(
    place: str, turns: list[tuple[int, str, bool, int]]
) -> None:
    store = TraceStore.at(place)
    start = time.time()
    with store.begin() as connection:
        connection.exec_driver_sql("DELETE FROM breakers")
    processes = [BreakerHints(store) for _ in range(3)]
    opened: list[dict[str, float]] = [{} for _ in processes]
    told: dict[str, float] = {}  # what the database must hold
    known: list[dict[str, float]] = [{} for _ in processes]
    for number, (process, model, opens, wrong) in enumerate(turns):
        if opens:
            opened[process][model] = start + number + wrong
            told[model] = known[process][model] = start + number + wrong
        news = {name for name, at in told.items() if at != known[process].get(name)}
        heard = processes[process].exchange(opened[process])
        assert set(heard) == news
        known[process] |= {name: told[name] for name in news}
        for name, seconds in heard.items():
            assert abs(time.time() - told[name] - seconds) < 60


def test_a_hint_opens_a_breaker_at_the_first_failure_and_a_success_ends_it() -> None:
    breaker = Breaker("m", 8, 60.0)
    breaker.hear()
    breaker.check()
    assert (breaker.state, breaker.last_opened) == (CLOSED, 0.0)
    breaker.failed()
    assert breaker.state == OPEN
    assert abs(breaker.last_opened - time.time()) < 60
    with pytest.raises(Unavailable):
        breaker.check()
    breaker.hear()
    assert breaker.state == OPEN
    well = Breaker("m", 8, 60.0)
    well.hear()
    well.succeeded()
    for _ in range(7):
        well.failed()
    assert well.state == CLOSED
