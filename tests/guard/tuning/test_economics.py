"""What may be served alone: calibration that rises, thresholds that keep their precision on other questions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.tuning.economics import Judged, calibrated, cost_of_right, curve, halves, served, threshold

JUDGED = st.lists(st.builds(Judged, st.floats(-5, 0), st.booleans()), min_size=1, max_size=60)


def drawn(seed: int, count: int = 2_000) -> list[Judged]:
    """Draw answers that are right with probability exp(confidence)."""
    chance = random.Random(seed)
    confidences = [-chance.expovariate(2.0) for _ in range(count)]
    return [Judged(c, chance.random() < 2.718281828**c) for c in confidences]


@given(judged=JUDGED)
def test_probabilities_rise_with_confidence_and_keep_the_mean(judged: list[Judged]) -> None:
    scale = calibrated(judged)
    assert list(scale.probabilities) == sorted(scale.probabilities)
    assert list(scale.bounds) == sorted(set(scale.bounds))
    mean = sum(scale.probability(one.confidence) for one in judged) / len(judged)
    assert mean == pytest.approx(sum(one.is_right for one in judged) / len(judged))


def test_probabilities_are_those_of_the_world() -> None:
    scale = calibrated(drawn(1, 20_000))
    for confidence in (-0.1, -0.5, -1.0):
        assert scale.probability(confidence) == pytest.approx(2.718281828**confidence, abs=0.05)


@pytest.mark.parametrize("precision", [0.8, 0.9])
def test_a_threshold_keeps_its_precision_on_other_questions(precision: float) -> None:
    least = threshold(drawn(1), precision)
    assert least is not None
    found = served(drawn(2), least)
    assert found.precision == pytest.approx(precision, abs=0.03)
    assert found.share > 0.2


def test_no_threshold_is_found_where_nothing_is_right() -> None:
    assert threshold([Judged(-0.1, False)] * 50, 0.5) is None
    assert threshold([Judged(-0.1, True)] * 5, 0.5) is None
    assert threshold([], 0.5) is None


@given(judged=JUDGED)
def test_a_curve_ends_with_all_questions(judged: list[Judged]) -> None:
    found = curve(judged)
    assert found[-1].share == 1
    assert found[-1].precision == pytest.approx(sum(one.is_right for one in judged) / len(judged))
    assert [one.share for one in found] == sorted(one.share for one in found)


def test_halves_and_money() -> None:
    first, other = halves(["a0", "a1", "a2", "a3", "af"])
    assert (first, other) == ([0, 2], [1, 3, 4])
    assert cost_of_right(0, 0, 0.01) == pytest.approx(0.01)
    assert cost_of_right(0.5, 1, 0.01) == pytest.approx(0.005)
    assert cost_of_right(1, 0, 0.01) == float("inf")
