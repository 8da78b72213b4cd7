"""How sure a model was of an answer: what its tokens tell, against the thresholds of a policy.

Only models that decode under masks here tell of their tokens; of others nothing is known, and nothing is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from guard.calls.policy import Confidence
from guard.models.base import Token


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
