"""Figures of the trace: for each function and tier, how often it was right, what it took, and what it saved.

The large model is the last tier, or the one that is named. What the calls would have cost on it alone is known where a
call went up to it (what it cost there), and estimated elsewhere: the call's first prompt and its last completion, in
the tokens that were counted, at the prices that genai-prices ships with. Models on this machine cost nothing, and
neither does what was replayed or came from a cache.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from guard import prices
from guard.records import VALID
from guard.trace.rows import restored

ALL = "(all)"  #: The function of the last line, which sums up the others.

#: Kinds of models that run on this machine, by what stands before the colon of their names.
_LOCAL = ("smollm2", "transformers", "llamacpp")
#: Why an attempt's answer is not the call's although it is valid.
_VALID_REASONS = ("", "confidence")


@dataclass
class Line:
    """The figures of one tier of a function, or of all its tiers together."""

    function: str
    tier: int | None = None  # None: all
    model: str = ""  # of the tier, as last asked for
    calls: int = 0  # that asked this tier
    first_valid: int = 0  # of those, whose first answer here was valid
    valid: int = 0  # of those, that ended here with a value
    re_asks: int = 0  # attempts after the first of each call
    escalations: int = 0  # calls that left this tier for a higher one
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0  # US dollars, of the attempts whose price is known
    cost_unknown: int = 0  # attempts whose price is not
    large: str = ""  # the large model
    large_cost: float = 0.0  # of the calls that ended here, had they been asked of the large model alone
    large_unknown: int = 0  # calls of which that is not known
    estimates: int = 0  # of the attempts, those whose tokens the provider did not count
    replayed: int = 0  # of the attempts, those whose reply was looked up: nothing was spent

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self) | {"tokens": self.prompt_tokens + self.completion_tokens}


def collect(ledger: Iterable[Any], large: str | None = None) -> list[Line]:
    """Return the lines of a `TraceStore.ledger`: each function's tiers, then their sum; at the end that of all.

    `large` names the large model where it is not to be each call's last tier.
    """
    functions: dict[str, dict[int | None, Line]] = {}
    everything = Line(ALL)
    for _, group in itertools.groupby(ledger, key=lambda row: row.id):
        rows = list(group)
        call = rows[0]
        attempts = [row for row in rows if row.number is not None]  # a call may end before its first attempt
        function = restored(call.function) or f"({restored(call.target)})"
        lines = functions.setdefault(function, {})
        whole, tiers = _of_call(call, attempts, large)
        for line in (whole, *tiers):
            _add(lines.setdefault(line.tier, Line(function, line.tier)), line)
        _add(everything, whole)
    ordered = [
        lines[tier]
        for _, lines in sorted(functions.items())
        for tier in (*sorted(t for t in lines if t is not None), None)
    ]
    return [*ordered, everything]


def _add(to: Line, line: Line) -> None:
    for name, value in vars(line).items():
        if name in ("function", "tier"):
            continue
        if name in ("model", "large"):
            setattr(to, name, value or getattr(to, name))
        else:
            setattr(to, name, getattr(to, name) + value)


def _of_call(call: Any, attempts: Sequence[Any], large: str | None) -> tuple[Line, list[Line]]:
    """Return what one call adds to its function and to each tier that it asked."""
    tiers = [_of_tier(tier, list(rows)) for tier, rows in itertools.groupby(attempts, key=lambda attempt: attempt.tier)]
    for left in tiers[:-1]:
        left.escalations = 1
    named = large or _last_tier(call, attempts)
    cost = _large_cost(named, attempts)
    if tiers:
        last = tiers[-1]
        last.valid = int(call.outcome == VALID)
        last.large, last.large_cost, last.large_unknown = named, cost or 0.0, int(cost is None)
    whole = Line("")
    for line in tiers:
        _add(whole, line)
    whole.model = ""
    whole.calls, whole.first_valid = 1, tiers[0].first_valid if tiers else 0
    if not tiers:
        whole.large, whole.large_unknown = named, 1
    return whole, tiers


def _of_tier(tier: int, attempts: Sequence[Any]) -> Line:
    first = attempts[0]
    spent = [a for a in attempts if a.replied and not a.is_kept]
    return Line(
        function="",
        tier=tier,
        model=restored(attempts[-1].model),
        calls=1,
        first_valid=int(first.replied and first.reason in _VALID_REASONS),
        re_asks=len(attempts) - 1,
        replayed=sum(bool(a.replied and a.is_kept) for a in attempts),
        prompt_tokens=sum(a.prompt_tokens for a in spent),
        completion_tokens=sum(a.completion_tokens for a in spent),
        cost=sum(a.cost for a in spent if a.cost is not None),
        cost_unknown=sum(a.cost is None for a in spent),
        estimates=sum(bool(a.is_estimate) for a in spent),
    )


def _last_tier(call: Any, attempts: Sequence[Any]) -> str:
    tiers = json.loads(restored(call.options)).get("tiers")
    if isinstance(tiers, list) and tiers:
        return str(tiers[-1])
    return restored(attempts[-1].model) if attempts else ""  # of a time when a call had one tier


def _large_cost(model: str, attempts: Sequence[Any]) -> float | None:
    """Return what a call would have cost on the large model alone; None where that is not known."""
    replied = [a for a in attempts if a.replied]
    spent = [a for a in replied if not a.is_kept]
    if replied and not spent:
        return 0.0
    there = [a.cost for a in spent if restored(a.model) == model]
    if there:
        return None if None in there else sum(there)
    whole = [a for a in spent if a.finish != "cut"] or spent
    return price(model, spent[0].prompt_tokens, whole[-1].completion_tokens) if spent else None


@functools.lru_cache(10_000)
def price(model: str, prompt_tokens: int, completion_tokens: int) -> float | None:
    """Return US dollars for tokens of a model as Guard names it ("openai:gpt-5-mini"), or None."""
    kind, colon, name = model.partition(":")
    if kind in _LOCAL:
        return 0.0
    return prices.cost(name if colon else model, prompt_tokens, completion_tokens, provider=kind if colon else None)
