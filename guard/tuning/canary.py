"""A canary: a new version answers a share of the inputs, and is taken back where it does worse.

An input is the canary's by its hash alone, so the same question always goes the same way. A first answer *succeeds*
where the call takes it: it was valid, whole and sure enough, and the call neither asked again nor went on to a larger
model.
The share of successes of the version that serves is the baseline.

The test is sequential: it may look after every answer, for ever. For a success rate q below the baseline p, the product
of q/p over successes and (1-q)/(1-p) over failures has expectation at most 1 at each step where the true rate is p or
more; so has the mean of these products over a grid of q. By Ville's inequality it ever reaches 1/ALPHA with probability
ALPHA at most. Where it does, the canary is ended.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard.tuning.registry import Canary, Registry

if TYPE_CHECKING:
    from guard.trace.store import TraceStore

ALPHA = 0.005  #: Of canaries that are no worse, the share that is ended at most;
CAUTION = 1.0  #: where the baseline is so many standard errors below what was counted.
GRID = 20  #: Success rates below the baseline that are looked for.
MOST = 2_000  #: Answers of a canary that are looked at; what ends one does so long before.
LEAST_BASELINE = 50  #: Answers of the version that serves, below which nothing is decided.


@dataclass(frozen=True)
class CanaryVerdict:
    """What the test says."""

    answers: int  # the canary's first answers
    successes: int
    baseline: float | None  # None: there are too few answers to tell
    evidence: float  # that it is worse: 1/ALPHA ends it

    @property
    def is_worse(self) -> bool:
        """Whether the canary is to be ended."""
        return self.evidence >= 1 / ALPHA


class Evidence:
    """The test's state: how much speaks for a success rate below the baseline."""

    def __init__(self, baseline: float) -> None:
        """Take the rate that is to be kept, above 0."""
        baseline = min(max(baseline, 1e-3), 1 - 1e-3)
        rates = [baseline * (at + 0.5) / GRID for at in range(GRID)]
        self._steps = [(math.log(q / baseline), math.log((1 - q) / (1 - baseline))) for q in rates]
        self._sums = [0.0] * GRID

    def take(self, is_success: bool) -> None:
        """Add an answer."""
        self._sums = [total + step[not is_success] for total, step in zip(self._sums, self._steps, strict=True)]

    @property
    def value(self) -> float:
        """Return the mean of the products; at most 1 on average where nothing is worse."""
        top = max(self._sums)
        mean = sum(math.exp(total - top) for total in self._sums) / GRID
        return math.exp(min(700.0, top)) * mean


def cautious(successes: int, answers: int) -> float:
    """Return a baseline that was counted, less its standard error."""
    rate = (successes + 1) / (answers + 2)
    return max(0.0, rate - CAUTION * math.sqrt(rate * (1 - rate) / answers))


def verdict(outcomes: Iterable[bool], baseline: float | None) -> CanaryVerdict:
    """Return what the test says of the canary's first answers, in their order; once it has ended, no more are heard."""
    evidence = Evidence(baseline) if baseline is not None else None
    answers = successes = 0
    value = 1.0
    for is_success in outcomes:
        answers += 1
        successes += is_success
        if evidence is not None and value < 1 / ALPHA:
            evidence.take(is_success)
            value = evidence.value
    return CanaryVerdict(answers, successes, baseline, value)


def is_canarys(function: str, messages: Sequence[Mapping[str, Any]], share: float) -> bool:
    """Whether an input goes to the canary."""
    said = [[message.get("role"), message.get("content")] for message in messages]
    text = json.dumps([function, said], sort_keys=True, default=str)
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) < share * 2**32


def judge(store: TraceStore, registry: Registry, function: str) -> CanaryVerdict | None:
    """Judge a function's canary by the trace, and end it where it is worse; None where there is none."""
    serving = registry.serving(function)
    if serving.canary is None:
        return None
    found = verdict(*_counted(store, function, serving.current, serving.canary))
    if found.is_worse:  # several processes may see it at once: the first ends it
        why = f"{found.successes} of {found.answers} first answers succeeded, {found.baseline:.1%} were to be kept"
        registry.end_canary(function, serving.canary, why)
    return found


def _counted(store: TraceStore, function: str, current: int, canary: Canary) -> tuple[list[bool], float | None]:
    """Return how the canary's first answers went, and the baseline: what was given, or what the other version does."""
    asked = f"tuned:{function}"
    new, old = f"{asked}@{canary.version}", f"{asked}@{current}"
    outcomes: list[bool] = []
    successes = answers = 0
    for call in store.each(since=canary.since):
        if len(outcomes) == MOST:
            break
        first = next((attempt for attempt in call.attempts if attempt.model == asked), None)
        served = first.reply.model if first is not None and first.reply is not None else ""
        if first is not None and served == new:
            outcomes.append(not first.reason)
        elif first is not None and served == old:
            answers += 1
            successes += not first.reason
    if canary.baseline is not None:
        return outcomes, canary.baseline
    return outcomes, cautious(successes, answers) if answers >= LEAST_BASELINE else None
