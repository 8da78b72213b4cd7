"""A canary: a new version answers a share of the inputs, and is withdrawn where it does worse.

The hash of an input, with a salt that no caller knows, decides whether the canary answers it, so the same question
always goes the same way. A first answer *succeeds* where the call accepts it: it was valid, complete and confident
enough, and the call neither asked again nor escalated to a larger model. What its caller ended is neither a success nor
a failure: a call that was interrupted, whose budget or `max_tokens` was spent, or whose prompt or schema is beyond a
limit. The baseline is the serving version's share of successes.

The test is sequential: it stays valid although it looks after every answer. For a success rate q below the baseline p,
take the product of q/p over successes and (1-q)/(1-p) over failures. Where the true rate is p or more, its expectation
is at most 1 at every step, and so is that of the mean of these products over a grid of q. By Ville's inequality that
mean ever reaches 1/ALPHA with probability at most ALPHA. The canary is ended where it does.
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
    from guard.trace.records import Attempt, Call
    from guard.trace.store import TraceStore

ALPHA = 0.005  #: The largest share of canaries ended wrongly: they are no worse.
CAUTION = 1.0  #: Standard errors by which the baseline is set below the counted share.
GRID = 20  #: Success rates below the baseline in the mean.
MOST = 2_000  #: First answers of a canary that are tested, at most.
LEAST_BASELINE = 50  #: Fewest answers of the serving version for a baseline.


@dataclass(frozen=True)
class CanaryVerdict:
    """The result of the test."""

    answers: int  # first answers of the canary
    successes: int
    baseline: float | None  # None: too few answers
    evidence: float  # that the canary is worse; 1/ALPHA ends it

    @property
    def is_worse(self) -> bool:
        """Whether the canary must be ended."""
        return self.evidence >= 1 / ALPHA


class Evidence:
    """The state of the sequential test: the evidence for a success rate below the baseline."""

    def __init__(self, baseline: float) -> None:
        """Begin a test against a baseline above 0."""
        baseline = min(max(baseline, 1e-3), 1 - 1e-3)
        rates = [baseline * (at + 0.5) / GRID for at in range(GRID)]
        self._steps = [(math.log(q / baseline), math.log((1 - q) / (1 - baseline))) for q in rates]
        self._sums = [0.0] * GRID

    def take(self, is_success: bool) -> None:
        """Add an answer."""
        self._sums = [total + step[not is_success] for total, step in zip(self._sums, self._steps, strict=True)]

    @property
    def value(self) -> float:
        """The mean of the products; its expectation is at most 1 where the canary is no worse."""
        top = max(self._sums)
        mean = sum(math.exp(total - top) for total in self._sums) / GRID
        return math.exp(min(700.0, top)) * mean


def cautious(successes: int, answers: int) -> float:
    """Return a counted success rate less CAUTION standard errors."""
    rate = (successes + 1) / (answers + 2)
    return max(0.0, rate - CAUTION * math.sqrt(rate * (1 - rate) / answers))


def verdict(outcomes: Iterable[bool], baseline: float | None) -> CanaryVerdict:
    """Test the canary's first answers in their order; stops where the evidence suffices."""
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


def is_canarys(function: str, messages: Sequence[Mapping[str, Any]], canary: Canary) -> bool:
    """Whether the canary answers an input. O(bytes of the messages)."""
    said = [[message.get("role"), message.get("content")] for message in messages]
    text = json.dumps([canary.salt, function, said], sort_keys=True, default=str)
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) < canary.share * 2**32


def judge(store: TraceStore, registry: Registry, function: str) -> CanaryVerdict | None:
    """Test a function's canary on the trace, and end it where it is worse. Returns None where there is no canary."""
    serving = registry.serving(function)
    if serving.canary is None:
        return None
    found = verdict(*_counted(store, function, serving.current, serving.canary))
    if found.is_worse:  # several processes may see this at once; the first one ends it
        why = f"{found.successes} of {found.answers} first answers succeeded, {found.baseline:.1%} were to be kept"
        registry.end_canary(function, serving.canary, why)
    return found


def _counted(store: TraceStore, function: str, current: int, canary: Canary) -> tuple[list[bool], float | None]:
    """Return whether each first answer of the canary succeeded, and the baseline: as recorded, or counted beside it."""
    asked = f"tuned:{function}"
    new, old = f"{asked}@{canary.version}", f"{asked}@{current}"
    outcomes: list[bool] = []
    successes = answers = 0
    for call in store.each(since=canary.since):
        if len(outcomes) == MOST:
            break
        first = next((attempt for attempt in call.attempts if attempt.model == asked), None)
        served = first.reply.model if first is not None and first.reply is not None else ""
        is_success = None if first is None else _is_success(call, first)
        if is_success is None:
            continue
        if served == new:
            outcomes.append(is_success)
        elif served == old:
            answers += 1
            successes += is_success
    if canary.baseline is not None:
        return outcomes, canary.baseline
    return outcomes, cautious(successes, answers) if answers >= LEAST_BASELINE else None


def _is_success(call: Call, first: Attempt) -> bool | None:
    """Whether the call accepted its first answer; None where its caller ended it, which says nothing of the version."""
    if first.reason in ("interrupted", "budget", "schema"):
        return None
    if first.reason == "length" and (reply := first.reply) is not None and not reply.repeated_at:
        is_callers = call.options.get("max_tokens") is not None
        return None if is_callers or reply.finish != "length" else False
    return not first.reason
