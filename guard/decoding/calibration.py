"""Calibrated confidence: what a model's log-probabilities are worth, as shares of right answers on one type.

Confidence is the log-probability of an answer among all that the masks allow, or of one of its fields: the sum over
their choices. A mean tells right answers from wrong ones less well, since it hides one poor choice among many plain
ones. Isotonic regression on answers known to be right or wrong (pooling adjacent violators) turns confidence into a
probability that never falls as confidence rises. The *precision* at a confidence is the share of right answers that is
expected among all answers at least as sure: that is what `guard.Confidence(precision=0.95)` asks for.

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
from typing import Any

from guard.decoding.confidence import Sureness, Token
from guard.kernels.json_pointer import pointer

FILE = "calibration.json"  #: In a model's folder.
VERSION = 2  #: Of the file; another one's is not read.
LEAST = 10  #: Fewest answers above a threshold for its precision to mean anything.
WHOLE = ""  #: The JSON Pointer of the whole value.


@dataclass(frozen=True)
class Judged:
    """An answer's confidence, and whether it was right; or a field's."""

    confidence: float  # log-probability, at most 0
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


def threshold(judged: Sequence[Judged], precision: float) -> float | None:
    """Return the lowest confidence whose precision is at least `precision`; None where there is none."""
    found = precisions(judged)
    if found is None:
        return None
    return next((at for at, value in found.as_json() if value >= precision), None)


def confidences(text: str, tokens: Sequence[Token]) -> dict[str, float]:
    """Return the confidence of an answer and of each of its top-level fields, by JSON Pointer.

    A field without a choice has the confidence 0: there was nothing to get wrong. Empty where nothing is known.
    """
    if all(token.forced for token in tokens):
        return {}
    lead = max(0, "".join([token.text for token in tokens]).find(text))  # some tokenizers begin with a space
    starts = list(itertools.accumulate((len(token.text) for token in tokens), initial=-lead))
    found = {WHOLE: _logprob(tokens)}
    for at, (begin, end) in spans(text).items():
        first = max(0, bisect.bisect_right(starts, begin) - 1)
        found[at] = _logprob(tokens[first : bisect.bisect_left(starts, end)])
    return found


def _logprob(tokens: Iterable[Token]) -> float:
    return min(0.0, sum(token.logprob for token in tokens if not token.forced))


def spans(text: str) -> dict[str, tuple[int, int]]:
    """Return where the members of a JSON object stand in its text, by JSON Pointer; nothing of another text. O(n)."""
    found: dict[str, tuple[int, int]] = {}
    decoder = json.JSONDecoder()
    try:
        at = _past(text, 0, "{")
        while text[at] == '"':
            name, at = decoder.raw_decode(text, at)
            begin = _past(text, _past(text, at, ""), ":")
            _, end = decoder.raw_decode(text, begin)
            found[pointer((name,))] = begin, end
            at = _past(text, end, "")
            if text[at] != ",":
                break
            at = _past(text, at, ",")
    except (ValueError, IndexError, RecursionError):
        return {}
    return found


def _past(text: str, at: int, mark: str) -> int:
    """Return the place past white space, a mark and white space; ValueError where the mark is not there."""
    while text[at] in " \t\r\n":
        at += 1
    if not mark:
        return at
    if text[at] != mark:
        raise ValueError(mark)
    return _past(text, at + 1, "")


@dataclass(frozen=True)
class Calibration:
    """A model's calibration on answers of some schemas."""

    schemas: frozenset[str]  # hashes
    answers: int  # it was made on
    precision: StepFunction | None  # None: too few answers for any
    probabilities: Mapping[str, StepFunction]  # by JSON Pointer

    @classmethod
    def made(cls, schemas: Iterable[str], judged: Mapping[str, Sequence[Judged]]) -> Calibration:
        """Return the calibration by judged answers and fields, by JSON Pointer; whole answers are under ""."""
        whole = judged.get(WHOLE, ())
        scales = {at: calibrated(found) for at, found in judged.items() if found}
        return cls(frozenset(schemas), len(whole), precisions(whole), scales)

    def sureness(self, schema: str, text: str, tokens: Sequence[Token]) -> Sureness | None:
        """Return what it says of an answer; None where it was not made for the schema, or nothing is known."""
        found = confidences(text, tokens) if schema in self.schemas else {}
        if not found:
            return None
        precision = 0.0 if self.precision is None else self.precision.at(found[WHOLE], below=0.0)
        scales = self.probabilities
        return Sureness(precision, {at: scales[at].at(sure) for at, sure in found.items() if at in scales})

    def as_json(self) -> dict[str, Any]:
        """Return it as the file has it."""
        return {
            "version": VERSION,
            "schemas": sorted(self.schemas),
            "answers": self.answers,
            "precision": None if self.precision is None else self.precision.as_json(),
            "probabilities": {at: scale.as_json() for at, scale in self.probabilities.items()},
        }

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Calibration:
        """Return the calibration of a file's JSON; ValueError where it is of another version."""
        if not isinstance(kept, dict) or kept.get("version") != VERSION:
            raise ValueError(f"this {FILE} is not of version {VERSION}")
        precision = kept["precision"]
        scales = {at: StepFunction.of(pairs) for at, pairs in kept["probabilities"].items()}
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
