"""What a small model may serve alone: confidence made into probabilities, a threshold for a precision, and the money.

Confidence is the mean log-probability of an answer's choices (guard/decoding/confidence.py). On answers whose rightness
is known, isotonic regression makes probabilities of it, which never fall where confidence rises. A threshold is chosen
on one half of the questions and looked at on the other: on those that it was chosen on, it flatters itself.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST = 10  #: Answers above a threshold, below which its precision says nothing.


@dataclass(frozen=True)
class Judged:
    """An answer of which is known whether it was right."""

    confidence: float  # mean log-probability, at most 0
    is_right: bool


@dataclass(frozen=True)
class Calibration:
    """Probabilities by confidence: steps that rise."""

    bounds: tuple[float, ...]  # where each step begins
    probabilities: tuple[float, ...]

    def probability(self, confidence: float) -> float:
        """Return how likely an answer of that confidence is right; below the first step, as at it."""
        at = bisect.bisect_right(self.bounds, confidence) - 1
        return self.probabilities[max(0, at)]


@dataclass(frozen=True)
class ServedAlone:
    """What a threshold leaves to the small model."""

    threshold: float  # as in guard.Confidence(logprob=…)
    share: float  # of the questions
    precision: float  # share of right answers among these


def calibrated(judged: Sequence[Judged]) -> Calibration:
    """Return the isotonic regression of rightness on confidence (pool adjacent violators); needs one answer."""
    steps: list[list[float]] = []  # confidence at which it begins, right ones, all
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
    """Return what a threshold leaves to the small model."""
    kept = [one.is_right for one in judged if one.confidence >= threshold]
    return ServedAlone(threshold, len(kept) / max(1, len(judged)), sum(kept) / len(kept) if kept else 0.0)


def curve(judged: Sequence[Judged]) -> list[ServedAlone]:
    """Return what each threshold that matters leaves, from the highest to the lowest."""
    return [served(judged, threshold) for threshold in sorted({one.confidence for one in judged}, reverse=True)]


def threshold(judged: Sequence[Judged], precision: float) -> float | None:
    """Return the threshold that leaves most at that precision, by the calibrated probabilities; None where none does.

    Of the answers above it, as many as the calibration expects are right, so that one lucky run at the top decides
    nothing.
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
    """Return the numbers of questions in two halves, by their hashes."""
    first = [number for number, key in enumerate(keys) if int(key[-1], 16) % 2 == 0]
    taken = set(first)
    return first, [number for number in range(len(keys)) if number not in taken]


def cost_of_right(share: float, precision: float, large: float, large_precision: float = 1.0) -> float:
    """Return dollars a right answer where a share is served for nothing and the rest by a large model."""
    right = share * precision + (1 - share) * large_precision
    return (1 - share) * large / right if right else math.inf
