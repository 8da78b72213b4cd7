"""Figures of the trace: for each function and tier, how often it was right, what it took, and what it saved.

They are made of running totals (totals.py), which a million calls leave some thousand of. The large model is the last
tier, or the one that is named. What the calls would have cost on it alone is known where a call went up to it (what it
cost there), and estimated elsewhere: the call's first prompt and its last completion, in the tokens that were counted,
at the prices that genai-prices ships with. Models on this machine cost nothing, and neither does what was replayed or
came from a cache.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from guard.models.remote import prices
from guard.trace.row_codec import restored
from guard.trace.totals import SIZES, Row

ALL = "(all)"  #: The function of the last line, which sums up the others.

#: Kinds of models that run on this machine, by what stands before the colon of their names.
_LOCAL = ("smollm2", "transformers", "llamacpp")
_MUCH = 1_000_000  #: Tokens, of which a price is asked to know that of one.


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


def collect(ledger: Iterable[Row], large: str | None = None) -> list[Line]:
    """Return the lines of a `TraceStore.ledger`: each function's tiers, then their sum; at the end that of all.

    `large` names the large model where it is not to be each call's last tier.
    """
    functions: dict[str, dict[int | None, Line]] = {}
    everything = Line(ALL)
    for row in sorted(ledger, key=lambda row: row.last):
        name = row.about.name
        lines = functions.setdefault(name, {None: Line(name)})
        whole, tier = lines[None], row.about.tier
        if tier is not None:
            line = lines.setdefault(tier, Line(name, tier))
            line.calls += row.figures["calls"]
            line.first_valid += row.figures["first_valid"]
            line.model = (restored(row.about.model) if row.figures["calls"] else "") or line.model
        for line in (everything, whole):
            line.calls += row.figures["ended"]
            line.first_valid += row.figures["began_valid"]
        for line in (everything, whole, *([] if tier is None else [lines[tier]])):
            for figure in _SPENT:
                setattr(line, figure, getattr(line, figure) + row.figures[figure])
        ended = [] if row.about.ended is None else [lines.setdefault(row.about.ended, Line(name, row.about.ended))]
        for line in (everything, whole, *ended):
            line.valid += row.figures["valid"] if ended else 0
            _compare(line, row, large or restored(row.about.large))
    ordered = [
        lines[tier]
        for _, lines in sorted(functions.items())
        for tier in (*sorted(t for t in lines if t is not None), None)
    ]
    return [*ordered, everything]


#: Of a line and a row alike, what is paid for.
_SPENT = (
    *("re_asks", "escalations", "prompt_tokens", "completion_tokens", "cost", "cost_unknown"),
    *("estimates", "replayed"),
)


def _compare(line: Line, row: Row, large: str) -> None:
    """Add to the line of the tier where calls ended what they would have cost on the large model alone."""
    about, figures = row.about, row.figures
    if large in map(restored, about.models):
        if restored(about.model) == large:
            line.large_cost += figures["there_cost"]
            line.large_unknown += figures["there_unknown"]
    elif figures["estimable"]:
        price = _priced(large, about.size, figures["estimable"], figures["first_prompt"], figures["last_completion"])
        line.large_cost += price or 0.0
        line.large_unknown += figures["estimable"] if price is None else 0
    if figures["ended"]:
        line.large = large or line.large
        line.large_unknown += figures["silent"]


def _priced(model: str, size: int, calls: int, prompts: int, completions: int) -> float | None:
    """Return what calls with prompts of one size would cost together, or None where that is not known."""
    rates = _rates(model, size)
    if rates is None:
        return None
    each, prompt, completion = rates
    # What is below a millionth of a millionth is the sum's own error.
    return round(calls * each + prompts * prompt + completions * completion, 12)


@functools.lru_cache(10_000)
def _rates(model: str, size: int) -> tuple[float, float, float] | None:
    """Return US dollars for a call, a token of its prompt and one of its completion, for prompts of one size.

    None where no price is known, or where it changes within the size.
    """
    first = size + 1 if size else 0
    last = next((other for other in SIZES if other > size), first + 10 * _MUCH)
    middle = (first + last) // 2
    known = {(p, c): price(model, p, c) for p in (first, middle, last) for c in (0, _MUCH)}
    costs = {at: cost for at, cost in known.items() if cost is not None}
    if len(costs) < len(known):
        return None
    completion = (costs[first, _MUCH] - costs[first, 0]) / _MUCH
    prompt = (costs[last, 0] - costs[first, 0]) / (last - first) if last > first else 0.0
    each = costs[first, 0] - prompt * first
    for (p, c), cost in costs.items():
        if not math.isclose(each + prompt * p + completion * c, cost, rel_tol=1e-9, abs_tol=1e-15):
            return None
    return each, prompt, completion


@functools.lru_cache(10_000)
def price(model: str, prompt_tokens: int, completion_tokens: int) -> float | None:
    """Return US dollars for tokens of a model as Guard names it ("openai:gpt-5-mini"), or None."""
    kind, colon, name = model.partition(":")
    if kind in _LOCAL:
        return 0.0
    return prices.cost(name if colon else model, prompt_tokens, completion_tokens, provider=kind if colon else None)
