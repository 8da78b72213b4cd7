"""Rows within a time: what is not ready is pending, what is ready is exact, and nobody waits for another's schema."""

from __future__ import annotations

import os
import threading
import time
import warnings
from random import Random
from typing import Any

import clock
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import allowed
from strategies import Case, byte_vocabulary, cases, vocabularies

import guard
from guard.kernels import fill_bitmasks
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas.compiled import Compiled, FrontEnd, Options

PLAIN = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"enum": ["a", "bc"]}}},
    "required": ["name", "tags"],
}
TEXT = b'{"name": "some text", "tags": ["a", "bc", "a"]}'
WITHIN = 0.03  #: Seconds; a hostile row takes many times as long.


def hostile(n: int = 20_000) -> Any:
    """A matcher whose next mask takes long: thousands of objects that only numbers tell apart."""
    limits = guard.Limits(alternatives=10_000_000, seconds=60)
    schema = {"enum": [{"a": i, "b": i * 7919 % 104729, "salt": time.perf_counter_ns()} for i in range(n)]}
    matcher = guard.compile(schema, limits=limits).matcher(byte_vocabulary())
    assert matcher.accept_bytes(b'{"a": ')
    return matcher


def alone(matcher: Any, remaining: int | None = None) -> np.ndarray[Any, Any]:
    """The row that a matcher fills when nothing hurries it."""
    row = allocate_bitmask(1, byte_vocabulary().size)
    matcher.fill_bitmask(row, remaining=remaining)
    return row[0]


def until_ready(matchers: list[Any], bitmask: np.ndarray[Any, Any], **how: Any) -> int:
    """Fill until no row is pending; return how many calls that took."""
    until, calls = time.monotonic() + 60 * clock.SLOWER, 0
    while time.monotonic() < until:
        calls += 1
        if not any(fill_bitmasks(matchers, bitmask, **how) or []):
            return calls
        time.sleep(0.0002)  # on a busy machine the threads that make the rows have their turn
    raise AssertionError("a row is pending for ever")


@settings(max_examples=60)
@given(case=cases(), tokens=vocabularies(), seed=st.integers(0, 2**32), within=st.sampled_from([0.0, 0.0001, 1.0]))
def test_rows_are_those_that_are_filled_without_a_time(
    case: Case, tokens: guard.Vocabulary, seed: int, within: float
) -> None:
    """Whatever the time is, under budgets and without, of schemas that are met here first."""
    r = Random(seed)
    try:
        judge = Compiled(FrontEnd(case.schema, Options(**case.options), {})).matcher(tokens)
        fresh = Compiled(FrontEnd(case.schema, Options(**case.options), {}))
        matchers = [fresh.matcher(tokens) for _ in range(3)]
        bitmask, expected = allocate_bitmask(3, tokens.size + 40), allocate_bitmask(1, tokens.size)
        for _ in range(6):
            left = [r.choice([None, None, max(judge.distance(), 0) + r.randrange(3)]) for _ in matchers]
            bitmask[...] = -1
            until_ready(matchers, bitmask, remaining=left, within=within)
            for row, budget in zip(bitmask, left, strict=True):
                judge.fill_bitmask(expected, remaining=budget)
                np.testing.assert_array_equal(row[: expected.shape[1]], expected[0])
                assert not row[expected.shape[1] :].any()
            choice = allowed(judge, tokens).tolist()
            if judge.is_finished() or not choice:
                return
            token = r.choice(choice)
            assert all(matcher.accept(token) for matcher in [judge, *matchers])
    except guard.SchemaError as error:
        if error.limit is None:
            raise


def test_plain_rows_are_filled_beside_hostile_ones_which_come_later() -> None:
    """All plain rows in the first call and in its time; the hostile ones in a later call, as if nothing had hurried."""
    matchers = [hostile(), *(guard.compile(PLAIN).matcher(byte_vocabulary()) for _ in range(6)), hostile()]
    for matcher in matchers[1:-1]:
        assert matcher.accept_bytes(TEXT[:20])
    fill_bitmasks(matchers[1:-1], allocate_bitmask(6, 257))  # what is done once is not the question here
    for matcher in matchers[1:-1]:
        assert matcher.accept_bytes(TEXT[20:21])
    bitmask = np.full((8, 9), -1, dtype=np.int32)
    start = time.perf_counter()
    pending = fill_bitmasks(matchers, bitmask, within=0.3)
    assert time.perf_counter() - start < 0.3 + 0.2
    assert pending == [True, *[False] * 6, True]
    assert (bitmask[[0, 7]] == -1).all()  # a pending row is left as it was
    for matcher, row in zip(matchers[1:-1], bitmask[1:-1], strict=True):
        np.testing.assert_array_equal(row, alone(matcher.copy()))
    assert until_ready(matchers, bitmask, within=WITHIN) > 1
    for matcher, row in zip(matchers, bitmask, strict=True):
        np.testing.assert_array_equal(row, alone(matcher.copy()))


def test_a_row_goes_on_while_nobody_asks_for_it() -> None:
    matcher, bitmask = hostile(12_000), allocate_bitmask(1, 257)
    assert fill_bitmasks([matcher], bitmask, within=0) == [True]
    assert not matcher.is_finished()  # answers at once
    time.sleep(0.2)
    until_ready([matcher], bitmask, within=10)
    np.testing.assert_array_equal(bitmask[0], alone(matcher.copy()))


@pytest.mark.parametrize("move", ["accept", "accept_bytes", "rollback", "reset", "gone"])
def test_who_moves_a_matcher_gives_its_pending_row_up(move: str) -> None:
    matcher, bitmask = hostile(), allocate_bitmask(1, 257)
    assert fill_bitmasks([matcher], bitmask, within=WITHIN) == [True]
    start = time.perf_counter()
    if move == "accept":
        assert matcher.accept(ord("7"))
    elif move == "accept_bytes":
        assert not matcher.accept_bytes(b"x")
    elif move == "rollback":
        matcher.rollback()
    elif move == "reset":
        matcher.reset()
        until_ready([matcher], bitmask, within=10)
        np.testing.assert_array_equal(bitmask[0], alone(matcher.copy()))
    else:
        del matcher
    assert (time.perf_counter() - start) / clock.SLOWER < 60


def test_what_is_asked_of_a_matcher_waits_for_its_row() -> None:
    """A plain fill, and one of a batch without a time, take the row that was begun."""
    for ask in (lambda m: alone(m), lambda m: batch(m), lambda m: alone(m.copy())):
        matcher, bitmask = hostile(12_000), allocate_bitmask(1, 257)
        assert fill_bitmasks([matcher], bitmask, within=0) == [True]
        row = ask(matcher)
        assert fill_bitmasks([matcher], bitmask, within=10) == [False]
        np.testing.assert_array_equal(row, bitmask[0])
        np.testing.assert_array_equal(row, alone(matcher.copy()))


def batch(matcher: Any) -> np.ndarray[Any, Any]:
    """The row of a batch without a time."""
    row = allocate_bitmask(1, 257)
    assert fill_bitmasks([matcher], row) is None
    return row[0]


def test_a_pending_row_under_another_budget_is_made_anew() -> None:
    matcher, bitmask = guard.compile(PLAIN).matcher(byte_vocabulary()), allocate_bitmask(1, 257)
    assert matcher.accept_bytes(b'{"name": "')
    needed = matcher.distance()
    for budget in (needed, needed + 1, None, needed):
        fill_bitmasks([matcher], bitmask, remaining=[budget], within=0)
        until_ready([matcher], bitmask, remaining=[None if budget else needed], within=0.01)
        np.testing.assert_array_equal(bitmask[0], alone(matcher.copy(), None if budget else needed))
        assert matcher.is_scarce() == (not budget)


def test_a_matcher_may_stand_in_a_batch_twice() -> None:
    matcher, bitmask = guard.compile(PLAIN).matcher(byte_vocabulary()), allocate_bitmask(4, 257)
    assert matcher.accept_bytes(b'{"name": "')
    budgets = [None, matcher.distance(), None, matcher.distance() + 2]
    until_ready([matcher] * 4, bitmask, remaining=budgets, within=5)
    for row, budget in zip(bitmask, budgets, strict=True):
        np.testing.assert_array_equal(row, alone(matcher.copy(), budget))


def test_a_limit_is_raised_by_the_call_that_finds_it() -> None:
    """The other rows are filled; who asks again has it tried again."""
    thrice = {"type": "string", "maxLength": 60, "allOf": [{"pattern": f"{c}.*{c}.*{c}"} for c in "abcdefghijklmnop"]}
    compiled = guard.compile(thrice, limits=guard.Limits(seconds=0.3, states=10_000_000))
    matchers = [guard.compile(PLAIN).matcher(byte_vocabulary()), compiled.matcher(byte_vocabulary())]
    assert matchers[1].accept_bytes(b'"')
    bitmask = allocate_bitmask(2, 257)
    for _ in range(2):
        bitmask[...] = 0
        with pytest.raises(guard.SchemaError) as raised:
            until_ready(matchers, bitmask, within=2)
        assert raised.value.limit == "seconds"
        np.testing.assert_array_equal(bitmask[0], alone(matchers[0].copy()))


@pytest.mark.parametrize("within", [-1, -1e-9, float("nan")])
def test_a_time_that_is_none_is_refused(within: float) -> None:
    matcher = guard.compile(PLAIN).matcher(byte_vocabulary())
    with pytest.raises(ValueError, match="within must be at least 0 seconds"):
        fill_bitmasks([matcher], allocate_bitmask(1, 257), within=within)


def test_threads_fill_batches_of_their_own_within_a_time() -> None:
    """Several callers at once, hostile and plain rows mixed: every row is exact."""
    wrong: list[Any] = []
    plain = guard.compile(PLAIN)
    expected = []
    judge = plain.matcher(byte_vocabulary())
    for byte in TEXT:
        expected.append(alone(judge))
        assert judge.accept(byte)

    def walk(seed: int) -> None:
        try:
            r, bitmask = Random(seed), allocate_bitmask(4, 257)
            matchers = [plain.matcher(byte_vocabulary()) for _ in range(3)]
            for step, byte in enumerate(TEXT):
                batch = [*matchers, hostile(4000)] if r.random() < 0.1 else matchers
                pending = fill_bitmasks(batch, bitmask, within=r.choice([0, 0.001, 0.01]))
                for n, matcher in enumerate(matchers):
                    if pending[n]:
                        until_ready([matcher], bitmask[n : n + 1], within=0.05)
                    if (bitmask[n] != expected[step]).any() or not matcher.accept(byte):
                        wrong.append((seed, step, n))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=walk, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_child_of_a_fork_has_its_own_rows_and_refuses_those_that_were_half_way() -> None:
    running, plain = hostile(), guard.compile(PLAIN).matcher(byte_vocabulary())
    bitmask = allocate_bitmask(2, 257)
    assert fill_bitmasks([running, plain], bitmask, within=WITHIN)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, from Python 3.12 on
        child = os.fork()
    if child == 0:
        code = 1
        try:
            mine = guard.compile(PLAIN).matcher(byte_vocabulary())
            until_ready([mine], bitmask, within=1)
            same = (bitmask[0] == alone(mine.copy())).all()
            try:
                fill_bitmasks([running], bitmask, within=1)
            except RuntimeError:
                code = 0 if same else 2
            del running
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    until_ready([running, plain], bitmask, within=5)
    np.testing.assert_array_equal(bitmask[0], alone(running.copy()))
