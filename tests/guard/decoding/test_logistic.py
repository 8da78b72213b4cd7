"""Logistic regression: weights at the optimum, those of the world where there are many answers, and finite ones."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.decoding.logistic import BIAS_PRIOR, FOLDS, PRIOR, Weights, cross_fitted, fitted

ROWS = st.lists(st.tuples(st.tuples(st.floats(-9, 9), st.floats(0, 1e6)), st.booleans()), min_size=1, max_size=40)


EXPECTED = st.tuples(*[st.sampled_from([0.0, -0.5, 1.0])] * 2)


def loss(weights: Weights, figures: list[tuple[float, ...]], right: list[bool], expected: tuple[float, ...]) -> float:
    """The judge: negative log-likelihood, and the prior over weights of standardized figures."""
    count = len(figures)
    total = 0.0
    for row, is_right in zip(figures, right, strict=True):
        odds = weights.bias + sum(w * x for w, x in zip(weights.each, row, strict=True))
        total += max(0.0, odds) + math.log1p(math.exp(-abs(odds))) - (odds if is_right else 0.0)
    centre = weights.bias
    for weight, column, hoped in zip(weights.each, zip(*figures, strict=True), expected, strict=True):
        mean = sum(column) / count
        deviation = math.sqrt(sum((x - mean) ** 2 for x in column) / count)
        total += PRIOR / 2 * (weight * deviation - hoped) ** 2
        centre += weight * mean
    return total + BIAS_PRIOR / 2 * centre**2


@given(rows=ROWS, step=st.tuples(*[st.floats(-0.1, 0.1)] * 3), expected=EXPECTED)
def test_no_weights_near_them_are_likelier(
    rows: list[tuple[tuple[float, ...], bool]], step: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    figures, right = [row for row, _ in rows], [is_right for _, is_right in rows]
    found = fitted(figures, right, expected)
    scale = [max(1e-3, max(abs(row[at]) for row in figures)) for at in range(2)]
    other = Weights(
        found.bias + step[0], tuple(w + s / each for w, s, each in zip(found.each, step[1:], scale, strict=True))
    )
    assert loss(found, figures, right, expected) <= loss(other, figures, right, expected) + 1e-9


def test_weights_are_those_of_the_world() -> None:
    chance = random.Random(1)
    figures = [(chance.gauss(1, 2), chance.gauss(0, 1), chance.gauss(5, 1)) for _ in range(20_000)]
    right = [chance.random() < 1 / (1 + math.exp(-(0.5 - a + 2 * b))) for a, b, _ in figures]
    found = fitted(figures, right, (0.0, 0.0, 0.0))
    assert found.each == pytest.approx((-1, 2, 0), abs=0.1)
    assert found.bias == pytest.approx(0.5, abs=0.3)


@pytest.mark.parametrize("right", [[True] * 5, [False] * 5, [True, False, True, False, True]])
def test_figures_that_never_change_weigh_nothing(right: list[bool]) -> None:
    found = fitted([(3.0, 0.0)] * 5, right, (-1.0, 1.0))
    assert found.each == (0.0, 0.0)
    assert (found.bias > 0) == (sum(right) > 2)


@given(rows=ROWS)
def test_each_is_judged_by_weights_of_others(rows: list[tuple[tuple[float, ...], bool]]) -> None:
    """Whether it was right itself changes nothing for it."""
    figures, right = [row for row, _ in rows], [is_right for _, is_right in rows]
    found = cross_fitted(figures, right, (-1.0, 0.5))
    assert len(found) == len(rows)
    if len(rows) > 1:
        assert cross_fitted(figures, [not right[0], *right[1:]], (-1.0, 0.5))[0] == found[0]
        others = [at for at in range(len(rows)) if at % min(FOLDS, len(rows))]
        weights = fitted([figures[at] for at in others], [right[at] for at in others], (-1.0, 0.5))
        assert found[0] == weights.of(figures[0])


def test_a_threshold_keeps_its_promise_on_noise() -> None:
    """Of figures that tell nothing, fitted weights would find what tells their own answers apart."""
    chance, flattered, honest = random.Random(2), 0.0, 0.0
    for _ in range(40):
        figures = [tuple(chance.gauss(0, 1) for _ in range(4)) for _ in range(40)]
        right = [chance.random() < 0.5 for _ in figures]
        weights = fitted(figures, right, (0.0,) * 4)
        top = sorted(range(40), key=lambda at: -weights.of(figures[at]))[:10]
        flattered += sum(right[at] for at in top) / 400
        apart = cross_fitted(figures, right, (0.0,) * 4)
        honest += sum(right[at] for at in sorted(range(40), key=lambda at: -apart[at])[:10]) / 400
    assert flattered > 0.6
    assert honest < 0.52


def test_what_is_expected_helps_where_answers_are_few_and_yields_where_they_are_many() -> None:
    world = (-1.5, -0.5, 0.0, -0.5)

    def drawn(chance: random.Random, count: int) -> tuple[list[tuple[float, ...]], list[bool]]:
        figures = [tuple(chance.gauss(0, 1) for _ in world) for _ in range(count)]
        odds = [sum(w * x for w, x in zip(world, row, strict=True)) for row in figures]
        return figures, [chance.random() < 1 / (1 + math.exp(-each)) for each in odds]

    def shortfall(expected: tuple[float, ...], count: int, runs: int) -> float:
        """The mean distance of the weights from those of the world, which draws alike for each expectation."""
        chance = random.Random(4)
        found = [fitted(*drawn(chance, count), expected).each for _ in range(runs)]
        return sum(math.dist(each, world) for each in found) / runs

    few = {expected: shortfall(expected, 40, 30) for expected in ((-1.0, -0.5, -0.5, -0.5), (0.0,) * 4, (1.0,) * 4)}
    assert list(few) == sorted(few, key=lambda expected: few[expected])
    assert shortfall((1.0,) * 4, 20_000, 1) < 0.1
