"""What a small model may serve alone: calibrated confidence, a threshold for a precision, and the cost.

Confidence is the mean log-probability of an answer's choices (guard/decoding/confidence.py). Isotonic regression on
answers known to be right or wrong turns it into a probability that never falls as confidence rises. A threshold is
chosen on one half of the questions and measured on the other, because it looks better than it is on the half that it
was chosen on.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST = 10  #: Fewest answers above a threshold for its precision to mean anything.


@dataclass(frozen=True)
class Judged:
    """An answer's confidence, and whether it was right."""

    confidence: float  # mean log-probability, at most 0
    is_right: bool


@dataclass(frozen=True)
class Calibration:
    """Confidence to probability: a rising step function."""

    bounds: tuple[float, ...]  # where each step begins
    probabilities: tuple[float, ...]

    def probability(self, confidence: float) -> float:
        """Return how likely an answer of that confidence is right. O(log steps)."""
        at = bisect.bisect_right(self.bounds, confidence) - 1
        return self.probabilities[max(0, at)]


@dataclass(frozen=True)
class ServedAlone:
    """What the small model serves alone at a threshold."""

    threshold: float  # as in guard.Confidence(logprob=…)
    share: float  # of the questions
    precision: float  # share of right answers among these


def calibrated(judged: Sequence[Judged]) -> Calibration:
    """Return the isotonic regression of rightness on confidence, by pooling adjacent violators. Needs an answer."""
    steps: list[list[float]] = []  # its lowest confidence, right answers, all answers
    by_confidence = sorted(judged, key=lambda one: one.confidence)
    for confidence, alike in itertools.groupby(by_confidence, key=lambda one: one.confidence):
        right = [one.is_right for one in alike]
        steps.append([confidence, float(sum(right)), float(len(right))])
        while len(steps) > 1 and steps[-2][1] * steps[-1][2] >= steps[-1][1] * steps[-2][2]:
            _, more, count = steps.pop()
            steps[-1][1] += more
            steps[-1][2] += count
    return Calibration(tuple(s[0] for s in steps), tuple(s[1] / s[2] for s in steps))


def served(judged: Sequence[Judged], threshold: float) -> ServedAlone:
    """Return what the small model serves alone at a threshold."""
    kept = [one.is_right for one in judged if one.confidence >= threshold]
    return ServedAlone(threshold, len(kept) / max(1, len(judged)), sum(kept) / len(kept) if kept else 0.0)


def curve(judged: Sequence[Judged]) -> list[ServedAlone]:
    """Return the result of each threshold that changes anything, from the highest to the lowest."""
    return [served(judged, threshold) for threshold in sorted({one.confidence for one in judged}, reverse=True)]


def threshold(judged: Sequence[Judged], precision: float) -> float | None:
    """Return the lowest threshold whose expected precision is at least `precision`; None where there is none.

    The expectation is taken over the calibrated probabilities, so a lucky run of answers at the top decides nothing.
    """
    if not judged:
        return None
    found: float | None = None
    right = count = 0.0
    scale = calibrated(judged)
    for one in sorted(judged, key=lambda j: -j.confidence):
        right += scale.probability(one.confidence)
        count += 1
        if count >= LEAST and right / count >= precision:
            found = one.confidence
    return found


def halves(keys: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the indexes of the questions in two halves, split by hash."""
    first = [number for number, key in enumerate(keys) if int(key[-1], 16) % 2 == 0]
    taken = set(first)
    return first, [number for number in range(len(keys)) if number not in taken]


def cost_of_right(share: float, precision: float, large: float, large_precision: float = 1.0) -> float:
    """Return US dollars per right answer where a share is served for free and a large model serves the rest."""
    right = share * precision + (1 - share) * large_precision
    return (1 - share) * large / right if right else math.inf
