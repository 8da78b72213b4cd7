"""A canary: a new version answers a share of the inputs, and is withdrawn where it does worse.

The hash of an input, with a salt that no caller knows, decides whether the canary answers it, so the same question
always goes the same way. A first answer *succeeds* where the call accepts it: it was valid, complete and confident
enough, and the call neither asked again nor escalated to a larger model. What its caller ended is neither a success nor
a failure: a call that was interrupted, whose budget or `max_tokens` was spent, or whose prompt or schema is beyond a
limit. The same is counted of the version that serves, in the same time.

The test is sequential: it stays valid although it looks again and again. Take the probability of each answer in turn,
as foreseen from those before by Laplace's rule, for each version by itself; and divide the product by the largest
probability of all the answers where the canary is no worse. Below the division bar stands at least the probability by
the true rates, so the quotient never exceeds one whose expectation is 1 at every step, however many answers of either
version came. By Ville's inequality it ever reaches 1/ALPHA with probability at most ALPHA. The canary is ended where it
does. Where the success rate before the canary is given, that is the other version's; none of its answers are counted.
"""

from __future__ import annotations

import hashlib
import itertools
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
MOST = 2_000  #: First answers of a canary that are tested, at most.


@dataclass(frozen=True)
class CanaryVerdict:
    """The result of the test."""

    answers: int  # first answers of the canary
    successes: int
    baseline: float | None  # success rate beside it, or as given; None: no answer of the other version
    evidence: float  # that the canary is worse; 1/ALPHA ends it

    @property
    def is_worse(self) -> bool:
        """Whether the canary must be ended."""
        return self.evidence >= 1 / ALPHA


@dataclass
class FirstAnswers:
    """How many first answers of a version there are, and how many of them succeeded."""

    answers: int = 0
    successes: int = 0

    def take(self, is_success: bool) -> None:
        """Count an answer."""
        self.answers += 1
        self.successes += is_success

    @property
    def rate(self) -> float:
        """The share of successes."""
        return self.successes / max(1, self.answers)

    @property
    def foreseen(self) -> float:
        """The logarithm of the answers' probability, each foreseen from those before: (successes + 1) / (answers + 2).

        That product is the mean of the probabilities by all rates from 0 to 1, whatever the order.
        """
        failures = self.answers - self.successes
        return math.lgamma(self.successes + 1) + math.lgamma(failures + 1) - math.lgamma(self.answers + 2)

    def by_rate(self, rate: float) -> float:
        """Return the logarithm of the answers' probability by a success rate."""
        failures = self.answers - self.successes
        return sum(times * math.log(share) for times, share in ((self.successes, rate), (failures, 1 - rate)) if times)


def evidence(new: FirstAnswers, old: FirstAnswers | float) -> float:
    """Return the evidence that the new version is worse than the old one, or than a success rate."""
    if isinstance(old, float):
        least = min(max(old, 1e-3), 1 - 1e-3)
        found = new.foreseen - new.by_rate(max(new.rate, least))
    else:
        both = FirstAnswers(new.answers + old.answers, new.successes + old.successes)
        is_worse = new.rate < old.rate  # so that they are likeliest with one rate, of all in which it is not
        likeliest = both.by_rate(both.rate) if is_worse else new.by_rate(new.rate) + old.by_rate(old.rate)
        found = new.foreseen + old.foreseen - likeliest
    return math.exp(min(700.0, found))


def is_canarys(function: str, messages: Sequence[Mapping[str, Any]], canary: Canary) -> bool:
    """Whether the canary answers an input. O(bytes of the messages)."""
    said = [[message.get("role"), message.get("content")] for message in messages]
    text = json.dumps([canary.salt, function, said], sort_keys=True, default=str)
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) < canary.share * 2**32


def judge(stores: Iterable[TraceStore], registry: Registry, function: str) -> CanaryVerdict | None:
    """Test a function's canary on what these traces have of it, and end it where it is worse.

    Returns None where there is no canary.
    """
    serving = registry.serving(function)
    if serving.canary is None:
        return None
    canary = serving.canary
    new, old = _counted(stores, function, serving.current, canary)
    beside = float(canary.baseline) if canary.baseline is not None else old
    baseline = beside if isinstance(beside, float) else (beside.rate if beside.answers else None)
    found = CanaryVerdict(new.answers, new.successes, baseline, evidence(new, beside))
    if found.is_worse:  # several processes may see this at once; the first one ends it
        why = f"{found.successes} of {found.answers} first answers succeeded, {found.baseline:.1%} were to be kept"
        registry.end_canary(function, canary, why)
    return found


def _counted(
    stores: Iterable[TraceStore], function: str, current: int, canary: Canary
) -> tuple[FirstAnswers, FirstAnswers]:
    """Count the first answers of the canary, and those of the version that serves, since the canary began."""
    asked = f"tuned:{function}"
    new, old = FirstAnswers(), FirstAnswers()
    sides = {f"{asked}@{canary.version}": new, f"{asked}@{current}": old}
    for call in itertools.chain.from_iterable(store.each(since=canary.since) for store in stores):
        if new.answers == MOST:
            break
        first = next((attempt for attempt in call.attempts if attempt.model == asked), None)
        if first is None or first.reply is None or first.reply.model not in sides:
            continue
        is_success = _is_success(call, first)
        if is_success is not None:
            sides[first.reply.model].take(is_success)
    return new, old


def _is_success(call: Call, first: Attempt) -> bool | None:
    """Whether the call accepted its first answer; None where its caller ended it, which says nothing of the version."""
    if first.reason in ("interrupted", "budget", "schema"):
        return None
    if first.reason == "length" and (reply := first.reply) is not None and not reply.repeated_at:
        is_callers = call.options.get("max_tokens") is not None
        return None if is_callers or reply.finish != "length" else False
    return not first.reason
