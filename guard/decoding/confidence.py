"""How sure a model was of an answer: what its tokens tell, against the thresholds of a policy.

Only models that decode under masks here tell of their tokens; of others nothing is known, and nothing is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from guard.support.bounds import check


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a completion, as the masks met it; only models that decode here can tell."""

    text: str  # a character that several tokens spell is the last one's; the others are ""
    logprob: float  # natural logarithm of its probability among the allowed tokens; 0 where it was forced
    removed: float  # the share of the model's probability that the mask took away here, 0 to 1
    margin: float | None  # by how much its logprob exceeds the best other allowed one's; None: there was no other
    forced: bool = False  # appended without asking the model
    top: tuple[tuple[str, float], ...] = ()  # the likeliest tokens here, with their logprobs, where they were asked for


@dataclass(frozen=True)
class Confidence:
    """The least confidence at which a tier's answer is accepted; None sets no threshold.

    The last tier's answer is always accepted, unless `Policy.on` has an action for the failure "confidence".
    """

    logprob: float | None = None  # mean log-probability of the tokens, at most 0: -0.5
    removed: float | None = None  # most of the model's probability that masks may take away, on average, 0 to 1
    margin: float | None = None  # least lead of what was chosen over the next best, where an enum leaves a choice

    def __post_init__(self) -> None:
        if self.logprob is not None:
            check("logprob", self.logprob, -sys.float_info.max, 0)
        if self.removed is not None:
            check("removed", self.removed, -sys.float_info.max, sys.float_info.max)
            if not 0 <= self.removed <= 1:
                raise ValueError(f"removed={self.removed} must be between 0 and 1")
        if self.margin is not None:
            check("margin", self.margin, 0, sys.float_info.max)

    @property
    def asks(self) -> bool:
        """Whether any threshold is set."""
        return self != Confidence()


def measured(tokens: Sequence[Token]) -> Confidence | None:
    """Return the mean log-probability, mean share of mass removed, and least margin; None where nothing is known.

    Forced tokens are left out: the model had no say in them.
    """
    chosen = [token for token in tokens if not token.forced]
    if not chosen:
        return None
    margins = [token.margin for token in chosen if token.margin is not None]
    return Confidence(
        logprob=min(0.0, sum(token.logprob for token in chosen) / len(chosen)),
        removed=min(1.0, max(0.0, sum(token.removed for token in chosen) / len(chosen))),
        margin=max(0.0, min(margins)) if margins else None,
    )


def shortfall(found: Confidence | None, least: Confidence) -> str:
    """Say in words what falls short of the least that is asked; "" where nothing does or nothing is known."""
    if found is None:
        return ""
    if least.logprob is not None and found.logprob is not None and found.logprob < least.logprob:
        return f"mean log-probability {found.logprob:.3f} is below {least.logprob}"
    if least.removed is not None and found.removed is not None and found.removed > least.removed:
        return f"masks removed {found.removed:.1%} of the probability, above {least.removed:.1%}"
    if least.margin is not None and found.margin is not None and found.margin < least.margin:
        return f"the closest choice was led by {found.margin:.3f}, below {least.margin}"
    return ""
