"""Paired counts: who passes, against models whose truth is known, and against the binomial distribution."""

from __future__ import annotations

import random

import numpy as np
import pytest

from guard.tuning.paired_counts import ERROR, PairedCounts, compare

RUNS = 400


def counts(questions: int, only_old: int, only_new: int) -> PairedCounts:
    return PairedCounts(questions, questions - only_new, questions - only_old, only_old, only_new)


@pytest.mark.parametrize(
    ("only_old", "only_new", "p_value"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 2 / 32), (4, 13, 0.04904175), (5, 33, 4.256e-06)],
)
def test_mcnemars_test_is_the_binomials(only_old: int, only_new: int, p_value: float) -> None:
    old = [True] * only_old + [False] * only_new + [True, False] * 10
    new = [False] * only_old + [True] * only_new + [True, False] * 10
    found = compare(old, new)
    assert found.p_value == pytest.approx(p_value, rel=0.02)
    assert found.difference == pytest.approx((only_new - only_old) / len(old))


@pytest.mark.parametrize(
    ("questions", "was", "now"),
    [(20, 1, 0.95), (20, 1, 0.9), (20, 0.95, 0.85), (50, 1, 0.95), (50, 0.98, 0.93), (100, 1, 0.97), (200, 1, 0.975)],
)
def test_a_model_that_is_worse_by_more_than_the_margin_passes_once_in_forty_runs(
    questions: int, was: float, now: float
) -> None:
    """A bootstrap said that it was certainly no worse where no answer of 20 differed: 38% of the first ones passed."""
    chance = random.Random(f"{questions} {was} {now}")
    passed = 0
    for _ in range(RUNS):
        old = [chance.random() < was for _ in range(questions)]
        new = [is_right and chance.random() < now / was for is_right in old]
        passed += compare(old, new).is_not_worse(0.02)
    assert passed <= 0.04 * RUNS  # 2.5%, and three standard errors


@pytest.mark.parametrize("questions", [20, 60])
@pytest.mark.parametrize("margin", [0.0, 0.02, 0.1])
def test_no_truth_beyond_the_margin_passes_more_often_than_is_said(questions: int, margin: float) -> None:
    """Over all results, by the trinomial distribution's formula alone."""
    numbers = range(questions + 1)
    passing = [
        (lost, won)
        for won in numbers
        for lost in numbers
        if lost - won < questions * margin
        and lost + won <= questions
        and counts(questions, lost, won).is_not_worse(margin)
    ]
    assert passing
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, questions + 1)))])
    lost, won = np.array(passing).T
    same = questions - lost - won
    ways = factorials[-1] - factorials[lost] - factorials[won] - factorials[same]
    for further in (1e-9, 0.01, 0.1):
        for share in np.linspace(1e-9, (1 - margin - further) / 2 - 1e-9, 301):
            to_lose = share + margin + further
            logs = lost * np.log(to_lose) + won * np.log(share) + same * np.log(1 - share - to_lose)
            assert np.exp(ways + logs).sum() <= ERROR + 2e-5


@pytest.mark.parametrize(
    ("questions", "only_old", "only_new", "passes"),
    [
        (150, 0, 0, False), (200, 0, 0, True), (200, 1, 0, False), (300, 1, 0, True), (250, 1, 1, True),
        (60, 0, 54, True), (200, 5, 10, True), (200, 10, 10, False), (2_000, 40, 50, True), (20, 20, 0, False),
    ],
)  # fmt: skip
def test_what_passes(questions: int, only_old: int, only_new: int, passes: bool) -> None:
    found = counts(questions, only_old, only_new)
    assert found.is_not_worse(0.02) is passes
    low, high = found.interval()
    assert (low > -0.02) is passes
    assert -1 <= low <= found.difference <= high <= 1
    turned = counts(questions, only_new, only_old).interval()
    assert (-high, -low) == turned


def test_the_interval_of_none_that_differs_is_that_of_a_binomial() -> None:
    """Of 20 questions none was lost: at a loss of 17% that is as rare as 2.5%. It is no proof of equality."""
    low, high = counts(20, 0, 0).interval()
    assert -0.19 < low < -(1 - 0.025 ** (1 / 20)) < -0.16
    assert low == -high


def test_how_many_questions_are_needed_is_about_how_many_suffice() -> None:
    assert counts(20, 0, 0).needed(0.02) == 189
    for enough, lost, won in ((191, 0, 0), (281, 1, 0), (237, 1, 1), (364, 5, 5), (440, 3, 0)):
        assert counts(enough, lost, won).is_not_worse(0.02)
        assert counts(enough, lost, won).needed(0.02) == pytest.approx(enough, rel=0.02)
        assert not counts(int(0.97 * enough), lost, won).is_not_worse(0.02)
    assert counts(100, 5, 1).needed(0.02) is None
    assert counts(100, 0, 0).needed(0.0) is None
