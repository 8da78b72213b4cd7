"""What may be served alone: calibration that rises, thresholds that keep their precision on other questions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.decoding.calibration import Judged, precisions, threshold
from guard.tuning.economics import curve, halves, served

JUDGED = st.lists(st.builds(Judged, st.floats(-5, 0), st.booleans()), min_size=1, max_size=60)


def drawn(seed: int, count: int = 2_000) -> list[Judged]:
    """Draw answers that are right with probability exp(confidence)."""
    chance = random.Random(seed)
    confidences = [-chance.expovariate(2.0) for _ in range(count)]
    return [Judged(c, chance.random() < 2.718281828**c) for c in confidences]


@pytest.mark.parametrize("precision", [0.8, 0.9])
def test_a_threshold_keeps_its_precision_on_other_questions(precision: float) -> None:
    least = threshold(precisions(drawn(1)), precision)
    assert least is not None
    found = served(drawn(2), least)
    assert found.precision == pytest.approx(precision, abs=0.03)
    assert found.share > 0.2


@given(judged=JUDGED)
def test_a_curve_ends_with_all_questions(judged: list[Judged]) -> None:
    found = curve(judged)
    assert found[-1].share == 1
    assert found[-1].precision == pytest.approx(sum(one.is_right for one in judged) / len(judged))
    assert [one.share for one in found] == sorted(one.share for one in found)


def test_halves_are_split_by_the_last_digit() -> None:
    first, other = halves(["a0", "a1", "a2", "a3", "af"])
    assert (first, other) == ([0, 2], [1, 3, 4])
