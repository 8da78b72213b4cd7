"""How far a call may go: attempts, tiers, budgets, and the action for each kind of failure. All values are frozen.

A call asks the tiers in order. An attempt fails in one of the `FAILURES`, which leads to one of the `ACTIONS`: ask the
same tier again with the findings, go on to the next tier, or end the call with the failure's error. If an action is
impossible (attempts spent, no tier left), the next weaker one is taken: ask → escalate → fail. `on` applies to every
tier. Without it, two kinds of valid answers are accepted in the end: the last tier's, whatever its confidence, and one
that `max_tokens` cut (`length`), which is marked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from guard.decoding.confidence import Confidence
from guard.errors import BudgetExceeded
from guard.kernels.cached import cached_property
from guard.models.base import Reply
from guard.support.bounds import (
    LEAST_SEED,
    MOST_COUNT,
    MOST_SECONDS,
    MOST_SEED,
    MOST_SUM,
    MOST_TEMPERATURE,
    MOST_USD,
    check,
    check_kind,
)

Failure = Literal["invalid", "length", "refusal", "error", "schema", "confidence", "budget"]
Action = Literal["ask", "escalate", "return", "fail"]
Repetition = Literal["tell", "stop", "allow"]
Choose = Literal["auto", "greedy", "score"]

#: Kinds of failure, each with its default action.
FAILURES: Mapping[str, str] = MappingProxyType(
    {
        "invalid": "ask",  # the answer violates the type or a validator
        "length": "ask",  # max_tokens cut it or can't hold one (asked with more tokens), or a string repeats itself
        "refusal": "fail",  # the model declined, or the provider withheld the answer
        "error": "escalate",  # the model or its transport failed, after the transport's own retries
        "schema": "escalate",  # the schema can't be enforced on this tier
        "confidence": "escalate",  # the answer is valid, but its confidence too low
        "budget": "escalate",  # this tier's own budget is spent
    }
)
ACTIONS = ("ask", "escalate", "return", "fail")  #: "return" is for "length" only, where the answer is valid.
FIRST_TOKENS = 512  #: Default tokens of a completion; doubled whenever they cut one.
#: What is done about a string that repeats itself (guard/decoding/repetition.py): it is told, as `length`; it is ended
#: where the model decodes here, and told; or nothing.
REPETITION = ("tell", "stop", "allow")
#: How a model that decodes here takes a value that is a closed choice, as grounded values are: token by token, or all
#: that it could be are scored as a whole (guard/decoding/whole_values.py). "auto" scores grounded values at a
#: temperature of 0 where the model can.
CHOOSE = ("auto", "greedy", "score")


@dataclass(frozen=True)
class Budget:
    """Upper bounds of a call's time, tokens and money; None is no limit."""

    seconds: float | None = None  # wall clock, everything included
    tokens: int | None = None  # prompt, thinking and completion, over all attempts
    usd: float | None = None  # US dollars; models without a known price can't be asked under it

    def __post_init__(self) -> None:
        if self.seconds is not None:
            check("seconds", self.seconds, 0, MOST_SECONDS, is_above=True)
        if self.tokens is not None:
            check("tokens", self.tokens, 0, MOST_SUM, is_above=True)
        if self.usd is not None:
            check("usd", self.usd, 0, MOST_USD, is_above=True)

    def after(self, replies: Sequence[Reply], seconds: float, what: str) -> Budget:
        """Return the rest after these replies and so many seconds; BudgetExceeded, after `what`, where it is spent."""
        costs = [reply.cost for reply in replies]
        if self.usd is not None and None in costs:
            name = replies[costs.index(None)].model
            raise BudgetExceeded(
                f"an answer of {name} has no known cost, so what is left of the budget isn't known either"
            )
        spent = {
            "seconds": seconds,
            "tokens": sum(reply.prompt_tokens + reply.completion_tokens for reply in replies),
            "usd": sum(cost for cost in costs if cost is not None),
        }
        left = {}
        for name, most in vars(self).items():
            if most is not None and spent[name] >= most:
                raise BudgetExceeded(f"the budget of {most} {name} is spent after {what}")
            left[name] = None if most is None else most - spent[name]
        return Budget(**left)


@dataclass(frozen=True)
class Policy:
    """The settings of a call: retries, budgets, confidence, and the action for each failure."""

    retries: int = 2  # re-asks of each tier after its first attempt
    max_tokens: int | None = None  # of each attempt's completion; None: FIRST_TOKENS, and more where they cut an answer
    temperature: float = 0.0  # 0 is greedy
    seed: int = 0
    budget: Budget = Budget()  # of the whole call
    tier_budget: Budget = Budget()  # of each tier but the last
    confidence: Confidence = field(
        default_factory=Confidence
    )  # of each tier's answer but the last's, of that too where `on` names it
    on: Mapping[str, str] = field(default_factory=dict, hash=False)  # failure → action, where it differs from FAILURES
    thinking: int = 0  # tokens that a reasoning model may think before the value
    repair: bool = True  # of answers by models without masks
    repetition: Repetition = "tell"
    choose: Choose = "auto"

    def __post_init__(self) -> None:
        check("retries", self.retries, 0, MOST_COUNT, is_whole=True)
        if self.max_tokens is not None:
            check("max_tokens", self.max_tokens, 1, MOST_COUNT, is_whole=True)
        check("temperature", self.temperature, 0, MOST_TEMPERATURE)
        check("seed", self.seed, LEAST_SEED, MOST_SEED, is_whole=True)
        check("thinking", self.thinking, 0, MOST_COUNT, is_whole=True)
        if self.repetition not in REPETITION:
            raise ValueError(f"repetition={self.repetition!r} must be one of {', '.join(REPETITION)}")
        if self.choose not in CHOOSE:
            raise ValueError(f"choose={self.choose!r} must be one of {', '.join(CHOOSE)}")
        check_kind("repair", self.repair, bool, "True or False")
        check_kind("budget", self.budget, Budget, "a guard.Budget: guard.Budget(seconds=30)")
        check_kind("tier_budget", self.tier_budget, Budget, "a guard.Budget: guard.Budget(seconds=10)")
        check_kind("confidence", self.confidence, Confidence, "a guard.Confidence: guard.Confidence(margin=0.2)")
        check_kind("on", self.on, Mapping, "a dictionary, from failures to actions")
        object.__setattr__(self, "on", dict(self.on))  # the caller's may change
        for failure, action in self.on.items():
            if failure not in FAILURES:
                raise ValueError(f"on={{{failure!r}: …}} must name one of {', '.join(FAILURES)}")
            if action not in ACTIONS:
                raise ValueError(f"on={{{failure!r}: {action!r}}} must be one of {', '.join(ACTIONS)}")
            if action == "ask" and failure in ("refusal", "budget"):
                raise ValueError(f"on={{{failure!r}: 'ask'}} would ask for ever; use 'escalate' or 'fail'")
            if action == "return" and failure != "length":
                raise ValueError(f"on={{{failure!r}: 'return'}}: there is no valid answer to return, but of 'length'")
            if action == "ask" and not self.retries:
                raise ValueError(f"on={{{failure!r}: 'ask'}} asks nobody under retries=0; leave one out")
        if "confidence" in self.on and not self.confidence.asks:
            raise ValueError(f"on={{'confidence': {self.on['confidence']!r}}} needs thresholds: give confidence=")

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the fields without derived values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def within(self, budget: Budget) -> Policy:
        """Return this policy with another budget of the whole call; what was checked once is not checked again."""
        same = object.__new__(Policy)
        vars(same).update(vars(self), budget=budget)
        vars(same).pop("as_json", None)
        return same

    def action(self, failure: str) -> str:
        """Return the action for a failure."""
        return self.on.get(failure, FAILURES[failure])

    def returns(self, failure: str) -> bool:
        """Whether a valid answer with this failure is accepted in the end, if nothing better comes."""
        return failure == "length" and self.on.get(failure, "return") == "return"

    def is_sure_asked(self, *, is_last: bool) -> bool:
        """Whether a tier's answers must reach the confidence; the last tier's only where `on` says so."""
        is_named = self.on.get("confidence", "escalate") != "escalate"
        return self.confidence.asks and (is_named or not is_last)

    def check_tiers(self, count: int) -> None:
        """Raise ValueError where an action is impossible with `count` tiers."""
        if count > 1:
            return
        if self.confidence.asks and self.action("confidence") == "escalate":
            raise ValueError(
                "confidence= has no tier to go to: give escalate_to=, or on={'confidence': 'fail'} or 'ask'"
            )
        for failure, action in self.on.items():
            if action == "escalate":
                raise ValueError(f"on={{{failure!r}: 'escalate'}} has no tier to go to: give escalate_to=, or 'fail'")
        if self.tier_budget != Budget():
            raise ValueError("tier_budget= holds for each tier but the last, and there is one: give budget=")

    @cached_property
    def as_json(self) -> Mapping[str, Any]:
        """The policy as JSON, without unset fields."""
        whole = {name: getattr(self, name) for name in _NAMES}
        for name, names in _PARTS.items():
            part = whole[name]
            whole[name] = {inner: getattr(part, inner) for inner in names}
            if all(value is None for value in whole[name].values()):
                del whole[name]
        if whole["on"]:
            whole["on"] = dict(self.on)
        else:
            del whole["on"]
        return MappingProxyType(whole)


_NAMES = tuple(field.name for field in dataclasses.fields(Policy))
#: The fields of a policy that have fields of their own, with those.
_PARTS = {
    name: tuple(field.name for field in dataclasses.fields(kind))
    for name, kind in (("budget", Budget), ("tier_budget", Budget), ("confidence", Confidence))
}
