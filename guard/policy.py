"""How far a call may go: attempts, tiers, budgets, and what each kind of failure leads to; all frozen values.

A call asks the tiers in order. What goes wrong with an attempt is one of `FAILURES`; what is done about it is one of
`ACTIONS`: ask the same tier again with the findings, go on to the next tier, or end the call with the failure's error.
Where the action can't be carried out (attempts spent, no further tier) the next weaker one is: ask → escalate → fail.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from guard.bounds import MOST_COUNT, MOST_SECONDS, MOST_SUM, MOST_TEMPERATURE, MOST_USD, check

#: What can go wrong with an attempt, and what is done about it where the policy does not say.
FAILURES: Mapping[str, str] = MappingProxyType(
    {
        "invalid": "ask",  # the answer breaks the type or a validator
        "length": "escalate",  # it was cut off, or the budget of tokens can't hold one
        "refusal": "fail",  # the model declined, or the provider withheld the answer
        "error": "escalate",  # the model or its transport failed, after the transport's own retries
        "schema": "escalate",  # the schema can't be enforced on this tier
        "confidence": "escalate",  # the answer is valid, but the model was not sure of it
        "budget": "escalate",  # this tier's own budget is spent
    }
)
ACTIONS = ("ask", "escalate", "fail")


@dataclass(frozen=True)
class Budget:
    """The most that something may cost; None is no limit."""

    seconds: float | None = None  # wall clock, everything included
    tokens: int | None = None  # prompt, thinking and completion, over all attempts
    usd: float | None = None  # money; a model without a known price can't be asked under it

    def __post_init__(self) -> None:
        if self.seconds is not None:
            check("seconds", self.seconds, 0, MOST_SECONDS, is_above=True)
        if self.tokens is not None:
            check("tokens", self.tokens, 0, MOST_SUM, is_above=True)
        if self.usd is not None:
            check("usd", self.usd, 0, MOST_USD, is_above=True)


@dataclass(frozen=True)
class Confidence:
    """The least confidence with which a tier's answer is taken; None asks nothing. See guard/confidence.py."""

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


@dataclass(frozen=True)
class Policy:
    """How far a call may go."""

    retries: int = 2  # re-asks of each tier after its first attempt
    max_tokens: int = 512  # of each attempt's completion
    temperature: float = 0.0  # 0 is greedy
    seed: int = 0
    budget: Budget = Budget()  # of the whole call
    tier_budget: Budget = Budget()  # of each tier but the last
    confidence: Confidence = Confidence()  # of each tier's answer but the last's
    on: Mapping[str, str] = field(default_factory=dict)  # failure → action, where it differs from FAILURES
    thinking: int = 0  # tokens that a reasoning model may think before the value
    repair: bool = True  # of what models without masks write

    def __post_init__(self) -> None:
        check("retries", self.retries, 0, MOST_COUNT, is_whole=True)
        check("max_tokens", self.max_tokens, 1, MOST_COUNT, is_whole=True)
        check("temperature", self.temperature, 0, MOST_TEMPERATURE)
        check("seed", self.seed, -(2**63), 2**64 - 1, is_whole=True)
        check("thinking", self.thinking, 0, MOST_COUNT, is_whole=True)
        for failure, action in self.on.items():
            if failure not in FAILURES:
                raise ValueError(f"on={{{failure!r}: …}} must name one of {', '.join(FAILURES)}")
            if action not in ACTIONS:
                raise ValueError(f"on={{{failure!r}: {action!r}}} must be one of {', '.join(ACTIONS)}")
            if action == "ask" and failure in ("refusal", "budget"):
                raise ValueError(f"on={{{failure!r}: 'ask'}} would ask for ever; use 'escalate' or 'fail'")

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the fields, not what was made of them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def action(self, failure: str) -> str:
        """Return what is done about a failure."""
        return self.on.get(failure, FAILURES[failure])

    @functools.cached_property
    def as_json(self) -> Mapping[str, Any]:
        """The policy as JSON, what is not set left out."""

        def shown(value: Any) -> Any:
            if dataclasses.is_dataclass(value):
                return {f.name: shown(getattr(value, f.name)) for f in dataclasses.fields(value)}
            if isinstance(value, Mapping):
                return dict(value)
            return value

        whole: dict[str, Any] = shown(self)
        return MappingProxyType({k: v for k, v in whole.items() if not isinstance(v, dict) or _is_set(v)})


def _is_set(value: dict[str, Any]) -> bool:
    return any(part is not None for part in value.values())
