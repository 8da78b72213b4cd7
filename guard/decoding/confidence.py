"""How sure a model was of an answer: what its tokens tell, against the thresholds of a policy.

Only models that decode under masks here tell of their tokens; of others nothing is known, and nothing is asked.
What the tokens are worth as a share of right answers is calibration.py's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from guard.decoding.places import scalars
from guard.support.bounds import check

MOST_NAMED = 3  #: Values that are named in words.


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a completion, as the masks met it; only models that decode here can tell."""

    text: str  # a character that several tokens spell is the last one's; the others are ""
    logprob: float  # natural logarithm of its probability among the allowed tokens; 0 where it was forced
    removed: float  # the share of the model's probability that the mask took away here, 0 to 1
    margin: float | None  # by how much its logprob exceeds the best other allowed one's; None: there was no other
    forced: bool = False  # appended without asking the model
    top: tuple[tuple[bytes, float], ...] = ()  # the likeliest tokens here, with their logprobs, if they were asked for


@dataclass(frozen=True)
class Sureness:
    """What a model's calibration (calibration.py) says of one answer."""

    precision: float  # expected share of right answers among those at least as sure
    probabilities: Mapping[str, float] = field(hash=False)  # of being right, by JSON Pointer; "" is the whole answer


@dataclass(frozen=True)
class Confidence:
    """The least confidence at which a tier's answer is accepted; None sets no threshold.

    The last tier's answer is always accepted, unless `Policy.on` has an action for the failure "confidence".
    """

    logprob: float | None = None  # mean log-probability of the tokens, at most 0: -0.5
    removed: float | None = None  # most of the model's probability that masks may take away, on average, 0 to 1
    value: float | None = None  # least probability of each value, 0 to 1; what falls short is asked alone
    margin: float | None = None  # least lead of what was chosen over the next best, where an enum leaves a choice
    #: Share of right answers among those that are taken, 0 to 1; the model must be calibrated for the type.
    precision: float | None = None

    def __post_init__(self) -> None:
        if self.logprob is not None:
            check("logprob", self.logprob, -sys.float_info.max, 0)
        if self.removed is not None:
            check("removed", self.removed, -sys.float_info.max, sys.float_info.max)
            if not 0 <= self.removed <= 1:
                raise ValueError(f"removed={self.removed} must be between 0 and 1")
        if self.value is not None:
            check("value", self.value, 0, sys.float_info.max)
            if self.value > 1:
                raise ValueError(f"value={self.value} must be between 0 and 1")
        if self.margin is not None:
            check("margin", self.margin, 0, sys.float_info.max)
        if self.precision is not None:
            check("precision", self.precision, 0, 1)

    @property
    def asks(self) -> bool:
        """Whether any threshold is set."""
        return self != _NONE


_NONE = Confidence()  #: No threshold.


def measured(tokens: Sequence[Token], sureness: Sureness | None = None) -> Confidence | None:
    """Return the mean log-probability, mean share of mass removed, and least margin; None where nothing is known.

    Forced tokens are left out: the model had no say in them. `sureness` is what a calibration says.
    """
    chosen = [token for token in tokens if not token.forced]
    if not chosen:
        return None
    margins = [token.margin for token in chosen if token.margin is not None]
    return Confidence(
        logprob=min(0.0, sum(token.logprob for token in chosen) / len(chosen)),
        removed=min(1.0, max(0.0, sum(token.removed for token in chosen) / len(chosen))),
        margin=max(0.0, min(margins)) if margins else None,
        precision=None if sureness is None else sureness.precision,
    )


def by_value(tokens: Sequence[Token], text: str) -> dict[str, float]:
    """Return the probability of each string, number and literal of a JSON text by JSON Pointer.

    It is that of the value's tokens without the forced ones: among what the masks allow, or among the candidates of a
    value that was chosen whole. Empty where the tokens don't spell the text.
    """
    spelled = "".join(token.text for token in tokens)
    start = spelled.find(text) if text else -1
    if start < 0:
        return {}
    whole = spelled.encode(errors="replace")
    before = len(spelled[:start].encode(errors="replace"))
    found = {}
    at, number = 0, 0
    for pointer, first, end in scalars(whole[before:]):
        total = 0.0
        while number < len(tokens) and at < before + end:
            size = len(tokens[number].text.encode(errors="replace"))
            if at + size > before + first and not tokens[number].forced:
                total += tokens[number].logprob
            at += size
            number += 1
        found[pointer] = math.exp(min(0.0, total))
    return found


def unsure(tokens: Sequence[Token], text: str, least: Confidence) -> str:
    """Say in words which values of an answer are less probable than is asked; "" where none is or nothing is known."""
    if least.value is None:
        return ""
    low = {at: chance for at, chance in by_value(tokens, text).items() if chance < least.value}
    named = ", ".join(f"{at or '(root)'} {chance:.2f}" for at, chance in list(low.items())[:MOST_NAMED])
    more = f" and {len(low) - MOST_NAMED} more" if len(low) > MOST_NAMED else ""
    return f"the probability of some values is below {least.value}: {named}{more}" if low else ""


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
    if least.precision is not None and found.precision is None:
        return f"precision={least.precision} needs a calibration for this type: guard shadow makes one"
    if least.precision is not None and found.precision is not None and found.precision < least.precision:
        return f"of answers as sure as this {found.precision:.1%} are expected to be right, below {least.precision:.1%}"
    return ""
