"""Figures of the trace, against a slow recount of the same calls, and the money by hand."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiered import LARGE, SMALL, attempt_of, call_of, calls
from typer.testing import CliRunner

from guard.cli.app import app
from guard.trace import TraceStore, stats
from guard.trace.records import Call
from guard.trace.stats import Line


def test_the_figures_of_each_tier_and_what_was_saved(place: str) -> None:
    store = TraceStore.at(place)
    store.write(call_of("f", attempt_of(0)))
    store.write(call_of("f", attempt_of(0, "invalid"), attempt_of(0, prompt=1200)))
    store.write(call_of("f", attempt_of(0, "invalid"), attempt_of(0, "invalid"), attempt_of(1, cost=0.002)))
    store.write(
        call_of("f", attempt_of(0, "confidence"), attempt_of(1, "invalid", cost=None), outcome="ValidationFailed")
    )
    assert stats.collect(store.ledger()) == [
        Line("f", 0, SMALL, 4, 2, 2, 2, 2, 6200, 600, 0.0, 0, LARGE, 2 * 0.00045, 0, alone=2),
        Line("f", 1, LARGE, 2, 1, 1, 0, 0, 2000, 200, 0.002, 1, LARGE, 0.002, 1),
        Line("f", None, "", 4, 2, 3, 2, 2, 8200, 800, 0.002, 1, LARGE, 0.0029, 1, alone=2),
        Line(stats.ALL, None, "", 4, 2, 3, 2, 2, 8200, 800, 0.002, 1, LARGE, 0.0029, 1, alone=2),
    ]


def test_what_an_answer_cost_and_how_many_are_right_is_told_by_what_was_rated(place: str) -> None:
    store = TraceStore.at(place)
    alone = [store.write(call_of("f", attempt_of(0))) for _ in range(6)]
    large = [store.write(call_of("f", attempt_of(0, "confidence"), attempt_of(1, cost=0.01))) for _ in range(4)]
    store.write(call_of("g", attempt_of(0)))

    def line() -> Line:
        return stats.collect(store.ledger(function="f"), ratings=store.ratings(function="f"))[-1]

    assert (line().alone, line().valid, line().cost_per_valid) == (6, 10, pytest.approx(0.004))
    assert (line().precision, line().right, line().cost_per_right) == (None, None, None)
    for call, right in zip(alone, (True, True, False), strict=False):
        call.rate(right)
    assert line().precision == pytest.approx(2 / 3)
    assert line().right == pytest.approx(4 + 4)  # the large model's count as right
    large[0].rate(False)
    large[1].rate(True)
    assert line().right == pytest.approx(4 + 2)
    assert line().cost_per_right == pytest.approx(0.04 / 6)
    assert stats.collect(store.ledger(), ratings=store.ratings())[0].precision == pytest.approx(2 / 3)
    shown = CliRunner().invoke(app, ["trace", "stats", "--function", "f"], env={"GUARD_TRACE": place}).output
    told = (
        "f: 60.0% of valid answers served alone (66.7% of 3 rated right); $0.004 a valid answer; $0.00667 a right one"
    )
    assert told in shown.replace("\n", " ")


def test_another_large_model_may_be_named(place: str) -> None:
    store = TraceStore.at(place)
    store.write(call_of("f", attempt_of(0), tiers=(SMALL,)))
    first = stats.collect(store.ledger())[0]
    assert (first.large, first.large_cost, first.large_unknown) == (SMALL, 0.0, 0)
    first = stats.collect(store.ledger(), "openai:gpt-5-mini")[0]
    assert (first.large, first.large_cost, first.large_unknown) == (LARGE, 0.00045, 0)
    first = stats.collect(store.ledger(), "nobody's")[0]
    assert (first.large, first.large_cost, first.large_unknown) == ("nobody's", 0.0, 1)


def test_a_call_that_asked_nobody_is_a_call_of_its_function_alone(place: str) -> None:
    store = TraceStore.at(place)
    store.write(call_of("", outcome="BudgetExceeded", tiers=()))
    assert stats.collect(store.ledger()) == [
        Line("(T)", None, calls=1, large_unknown=1),
        Line(stats.ALL, None, calls=1, large_unknown=1),
    ]


def test_a_replay_and_a_stream_that_was_left_cost_what_they_cost(place: str) -> None:
    store = TraceStore.at(place)
    store.write(call_of("f", attempt_of(1, cost=0.002, is_kept=True)))
    store.write(call_of("f", attempt_of(1, "interrupted", cost=0.001, finish="cut", is_estimate=True), outcome="x"))
    line = stats.collect(store.ledger())[0]
    assert (line.prompt_tokens, line.cost, line.large_cost) == (1000, 0.001, 0.001)
    assert (line.replayed, line.estimates) == (1, 1)


def test_no_calls_are_a_line_of_nothing(place: str) -> None:
    assert stats.collect(TraceStore.at(place).ledger()) == [Line(stats.ALL)]


@pytest.mark.parametrize(
    ("model", "cost"),
    [("openai:gpt-5-mini", 0.00045), ("gpt-5-mini", 0.00045), ("llamacpp:x.gguf", 0.0), ("scripted", None), ("", None)],
)
def test_prices_are_found_by_the_names_that_guard_has_for_models(model: str, cost: float | None) -> None:
    assert stats.price(model, 1000, 100) == cost


EXAMPLES = itertools.count(1)  # when the calls of an example began, so that it can look at its own


def _recount(every: list[Call], function: str | None, tier: int | None) -> dict[str, float]:
    """Count again from whole records, one figure after the other."""
    mine = [call for call in every if function is None or (call.function or "(T)") == function]
    asked = [(call, [a for a in call.attempts if tier is None or a.tier == tier]) for call in mine]
    if tier is not None:
        asked = [(call, attempts) for call, attempts in asked if attempts]
    here = [call for call, _ in asked if tier is None or call.tier == tier]
    right = ("", "confidence")
    known = [a.reply for _, attempts in asked for a in attempts if a.reply]
    replies = [r for r in known if not r.is_kept]
    return {
        "calls": len(asked),
        "first_valid": sum(bool(a and a[0].reply) and a[0].reason in right for _, a in asked),
        "valid": sum(call.outcome == "valid" for call in here),
        "re_asks": sum(max(0, len([a for a in attempts if a.tier == t]) - 1) for _, attempts in asked for t in (0, 1)),
        "escalations": sum(
            len(
                [
                    1
                    for x, y in zip(c.attempts, c.attempts[1:], strict=False)
                    if y.tier > x.tier and tier in (None, x.tier)
                ]
            )
            for c, _ in asked
        ),
        "prompt_tokens": sum(r.prompt_tokens for r in replies),
        "completion_tokens": sum(r.completion_tokens for r in replies),
        "cost": sum(r.cost for r in replies if r.cost is not None),
        "cost_unknown": sum(r.cost is None for r in replies),
        "estimates": sum(r.is_estimate for r in replies),
        "replayed": sum(r.is_kept for r in known),
        "alone": sum(call.outcome == "valid" and stats.is_small(call.attempts[-1].model, LARGE) for call in here),
        "large_unknown": sum(_large(call) is None for call in here),
        "large_cost": sum(_large(call) or 0.0 for call in here),
    }


def _large(call: Call) -> float | None:
    if call.attempts and any(a.reply for a in call.attempts) and not call.spent:
        return 0.0
    there = [a.reply.cost for a in call.attempts if a.reply in call.spent and a.model == LARGE]
    if there:
        return None if None in there else sum(c for c in there if c is not None)
    replies = call.spent
    if not replies:
        return None
    return replies[0].prompt_tokens * 0.25e-6 + replies[-1].completion_tokens * 2e-6


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(many=st.lists(calls(), max_size=6))
def test_the_figures_are_those_of_a_slow_recount(place: str, many: list[Call]) -> None:
    store = TraceStore.at(place)
    began = float(next(EXAMPLES))
    for call in many:
        store.write(dataclasses.replace(call, started=began))
    lines = stats.collect(store.ledger(since=began))
    every = list(store.each(since=began))
    assert len(every) == store.count(since=began) == len(many)
    functions = {call.function or "(T)" for call in many}
    tiers = {(call.function or "(T)", a.tier) for call in many for a in call.attempts}
    assert {(line.function, line.tier) for line in lines} == tiers | {(f, None) for f in (*functions, stats.ALL)}
    for line in lines:
        counted = _recount(every, None if line.function == stats.ALL else line.function, line.tier)
        assert {name: pytest.approx(value) for name, value in counted.items()} == {
            name: getattr(line, name) for name in counted
        }
