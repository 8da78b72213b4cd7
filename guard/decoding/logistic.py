"""Logistic regression: the weights with which figures of an answer tell whether it is right.

Each figure is standardized, and each weight has a normal prior around what is expected of it, so that a few answers
suffice: what they tell by chance weighs little. The optimum is unique: Newton's method finds it, and the same answers
give the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PRIOR = 20.0  #: The precision of the weights' prior: it counts as much as some hundred answers.
BIAS_PRIOR = 1.0  #: That of the bias, of which nothing is expected.
FOLDS = 20  #: Parts of the answers, each of which is judged by weights of the others.
STEPS = 50  #: Most steps of Newton's method; a few suffice.
DONE = 1e-9  #: The step that is too small to go on.


@dataclass(frozen=True)
class Weights:
    """A linear function of figures: log-odds of being right."""

    bias: float
    each: tuple[float, ...]

    def of(self, figures: Sequence[float]) -> float:
        """Return the log-odds."""
        return self.bias + sum(weight * figure for weight, figure in zip(self.each, figures, strict=True))


def fitted(figures: Sequence[Sequence[float]], right: Sequence[bool], expected: Sequence[float]) -> Weights:
    """Return the likeliest weights for figures of answers, [answers, figures]; needs an answer.

    `expected` are the weights that standardized figures are expected to have before any answer is known. O(answers).
    """
    given = np.asarray(figures, dtype=np.float64)
    mean, deviation = given.mean(axis=0), given.std(axis=0)
    deviation[deviation < DONE] = np.inf  # a constant tells nothing
    columns = np.column_stack([np.ones(len(given)), (given - mean) / deviation])
    wanted = np.asarray(right, dtype=np.float64)
    prior = np.array([BIAS_PRIOR, *(PRIOR for _ in expected)])
    centre = np.array([0.0, *expected])
    weights = np.zeros(len(centre))
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-columns @ weights))
        slope = columns.T @ (chance - wanted) + prior * (weights - centre)
        bend = (columns * (chance * (1 - chance))[:, None]).T @ columns + np.diag(prior)
        step = np.linalg.solve(bend, slope)
        weights -= step
        if np.abs(step).max() < DONE:
            break
    each = weights[1:] / deviation
    return Weights(float(weights[0] - each @ mean), tuple(map(float, each)))


def cross_fitted(figures: Sequence[Sequence[float]], right: Sequence[bool], expected: Sequence[float]) -> list[float]:
    """Return the log-odds of each answer by weights that were fitted without it, where it is not the only one.

    Weights flatter the answers that they were fitted to: a threshold that is chosen on those promises too much. The
    parts are many, so that their weights are nearly those of all answers, which will be used. O(FOLDS * answers).
    """
    if len(right) < 2:
        return [fitted(figures, right, expected).of(figures[0])] if right else []
    found = [0.0] * len(right)
    folds = min(FOLDS, len(right))
    for fold in range(folds):
        others = [number for number in range(len(right)) if number % folds != fold]
        weights = fitted([figures[number] for number in others], [right[number] for number in others], expected)
        for number in range(fold, len(right), folds):
            found[number] = weights.of(figures[number])
    return found
