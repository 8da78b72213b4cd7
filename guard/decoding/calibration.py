"""Calibrated confidence: what the figures of a model's answers are worth, as shares of right answers on one type.

Logistic regression joins an answer's figures (answer_figures.py), or those of one of its fields, to one number, its
*confidence*. Isotonic regression on answers known to be right or wrong (pooling adjacent violators) turns confidence
into a probability that never falls as confidence rises. The *precision* at a confidence is the share of right answers
that is expected among all answers at least as sure: that is what `guard.Confidence(precision=0.95)` asks for.

A calibration holds for the schemas on whose answers it was made, and lies beside the weights, in `calibration.json`.
`guard shadow` writes it.
"""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.decoding.answer_figures import WHOLE, AnswerFigures, figures
from guard.decoding.confidence import Sureness, Token
from guard.decoding.logistic import Weights, cross_fitted, fitted

if TYPE_CHECKING:
    from guard.schemas.compiled import Compiled

FILE = "calibration.json"  #: In a model's folder.
VERSION = 3  #: Of the file; another one's is not read.
#: What the figures are expected to tell before an answer is known: log-odds by standard deviation. All speak against an
#: answer, and most does the probability of what it says.
EXPECTED = AnswerFigures(said=-1.0, ended=-0.5, unstated=-0.5, missed=-0.5)
LEAST = 10  #: Fewest answers above a threshold for its precision to mean anything.


@dataclass(frozen=True)
class Known:
    """An answer's figures, and whether it was right; or a field's."""

    figures: Sequence[float]
    is_right: bool


@dataclass(frozen=True)
class Judged:
    """An answer's confidence, and whether it was right; or a field's."""

    confidence: float  # log-odds of being right
    is_right: bool


@dataclass(frozen=True)
class StepFunction:
    """A function that never falls: constant from each bound to the next."""

    bounds: tuple[float, ...]  # where each step begins, ascending
    values: tuple[float, ...]

    def at(self, confidence: float, below: float | None = None) -> float:
        """Return the value at a confidence; under the first bound `below`, by default the first step's. O(log n)."""
        place = bisect.bisect_right(self.bounds, confidence) - 1
        return below if place < 0 and below is not None else self.values[max(0, place)]

    def as_json(self) -> list[list[float]]:
        """Return pairs of a bound and the value from there on."""
        return [list(step) for step in zip(self.bounds, self.values, strict=True)]

    @classmethod
    def of(cls, pairs: Iterable[Sequence[float]]) -> StepFunction:
        """Return the function of such pairs."""
        bounds, values = zip(*pairs, strict=True)
        return cls(tuple(map(float, bounds)), tuple(map(float, values)))


def calibrated(judged: Sequence[Judged]) -> StepFunction:
    """Return the probability of being right by confidence: isotonic regression. Needs an answer."""
    steps: list[list[float]] = []  # its lowest confidence, right answers, all answers
    by_confidence = sorted(judged, key=lambda one: one.confidence)
    for confidence, alike in itertools.groupby(by_confidence, key=lambda one: one.confidence):
        right = [one.is_right for one in alike]
        steps.append([confidence, float(sum(right)), float(len(right))])
        while len(steps) > 1 and steps[-2][1] * steps[-1][2] >= steps[-1][1] * steps[-2][2]:
            _, more, count = steps.pop()
            steps[-1][1] += more
            steps[-1][2] += count
    return StepFunction(tuple(s[0] for s in steps), tuple(s[1] / s[2] for s in steps))


def precisions(judged: Sequence[Judged]) -> StepFunction | None:
    """Return the expected share of right answers among those at least as sure; None of fewer than LEAST answers.

    The expectation is taken over the calibrated probabilities, so a lucky run of answers at the top decides nothing.
    The surest LEAST answers share the precision of the last of them.
    """
    if len(judged) < LEAST:
        return None
    scale, found = calibrated(judged), dict[float, float]()
    right, last = 0.0, 1.0
    for count, one in enumerate(sorted(judged, key=lambda j: -j.confidence), 1):
        right += scale.at(one.confidence)
        if count >= LEAST:
            found[one.confidence] = last = min(last, right / count)  # a sum's own error must not make it rise
    return StepFunction.of(sorted(found.items()))


def threshold(scale: StepFunction | None, precision: float) -> float | None:
    """Return the lowest confidence whose precision by a scale is at least `precision`; None where there is none."""
    steps = [] if scale is None else scale.as_json()
    return next((at for at, value in steps if value >= precision), None)


@dataclass(frozen=True)
class Scale:
    """From figures to confidence, and from confidence to the probability of being right."""

    weights: Weights
    steps: StepFunction

    def probability(self, found: Sequence[float]) -> float:
        """Return the probability that what has these figures is right."""
        return self.steps.at(self.weights.of(found))


@dataclass(frozen=True)
class Calibration:
    """A model's calibration on answers of some schemas."""

    schemas: frozenset[str]  # hashes
    answers: int  # it was made on
    precision: StepFunction | None  # by confidence in the whole answer; None: too few answers for any
    scales: Mapping[str, Scale]  # by JSON Pointer

    @classmethod
    def made(cls, schemas: Iterable[str], known: Mapping[str, Sequence[Known]]) -> Calibration:
        """Return the calibration by known answers and fields, by JSON Pointer; whole answers are under ""."""
        scales: dict[str, Scale] = {}
        precision = None
        for at, found in known.items():
            given, right = [one.figures for one in found], [one.is_right for one in found]
            apart = cross_fitted(given, right, EXPECTED)
            judged = [Judged(confidence, is_right) for confidence, is_right in zip(apart, right, strict=True)]
            scales[at] = Scale(fitted(given, right, EXPECTED), calibrated(judged))
            if at == WHOLE:
                precision = precisions(judged)
        return cls(frozenset(schemas), len(known.get(WHOLE, ())), precision, scales)

    def confidence(self, found: Sequence[float]) -> float:
        """Return the confidence in a whole answer. Needs a calibration made on some."""
        return self.scales[WHOLE].weights.of(found)

    def sureness(self, compiled: Compiled, text: str, tokens: Sequence[Token], prompt: str) -> Sureness | None:
        """Return what it says of an answer; None where it was not made for the schema, or nothing is known."""
        if compiled.hash not in self.schemas or not (found := figures(text, tokens, prompt, compiled.schema)):
            return None
        precision = 0.0 if self.precision is None else self.precision.at(self.confidence(found[WHOLE]), below=0.0)
        scales = self.scales
        return Sureness(precision, {at: scales[at].probability(each) for at, each in found.items() if at in scales})

    def as_json(self) -> dict[str, Any]:
        """Return it as the file has it."""
        return {
            "version": VERSION,
            "schemas": sorted(self.schemas),
            "answers": self.answers,
            "precision": None if self.precision is None else self.precision.as_json(),
            "scales": {
                at: {"bias": scale.weights.bias, "weights": list(scale.weights.each), "steps": scale.steps.as_json()}
                for at, scale in self.scales.items()
            },
        }

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Calibration:
        """Return the calibration of a file's JSON; ValueError where it is of another version."""
        if not isinstance(kept, dict) or kept.get("version") != VERSION:
            raise ValueError(f"this {FILE} is not of version {VERSION}")
        precision = kept["precision"]
        scales = {
            at: Scale(Weights(scale["bias"], tuple(scale["weights"])), StepFunction.of(scale["steps"]))
            for at, scale in kept["scales"].items()
        }
        return cls(
            frozenset(kept["schemas"]),
            kept["answers"],
            None if precision is None else StepFunction.of(precision),
            scales,
        )


class Calibrations:
    """The calibration in a model's folder, as it is there now. Any number of threads may use it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._known: tuple[object, Calibration | None] | None = None

    def now(self) -> Calibration | None:
        """Return the calibration; None where there is none. The file is read again only where it was replaced."""
        try:
            stat = self._path.stat()
        except OSError:
            return None
        mark: object = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        known = self._known
        if known is None or known[0] != mark:
            try:
                found = Calibration.of(json.loads(self._path.read_text(encoding="utf-8")))
            except (OSError, ValueError, KeyError, TypeError):  # none that this version reads: nothing is known
                found = None
            known = self._known = mark, found
        return known[1]
