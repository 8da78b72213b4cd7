"""Statistics of the trace: for each function and tier, how often its answers were valid, its cost, and its savings.

They are computed from running totals (totals.py), some thousand rows for a million calls. The large model is the last
tier, or the one that is named. The savings compare with the cost of the calls on it alone. For a call that reached it,
that is what it cost there. For others it is an estimate: the tokens of the call's first prompt and last completion, at
the prices that genai-prices ships with. Models on this machine cost nothing, and neither do replayed or cached replies.
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

ALL = "(all)"  #: The `function` of the last line, the sum of all others.

#: Prefixes of the names of models that run on this machine.
_LOCAL = ("smollm2", "transformers", "llamacpp")
_MUCH = 1_000_000  #: Tokens whose price is asked for, to derive that of one.


@dataclass
class Line:
    """The figures of one tier of a function, or of all its tiers together."""

    function: str
    tier: int | None = None  # None: all
    model: str = ""  # of the tier, as last asked for
    calls: int = 0  # that asked this tier
    first_valid: int = 0  # of those, calls whose first answer here was valid
    valid: int = 0  # of those, calls that ended here with a value
    re_asks: int = 0  # attempts after the first of each call
    escalations: int = 0  # calls that left this tier for a higher one
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0  # US dollars, over the attempts with a known price
    cost_unknown: int = 0  # attempts with an unknown price
    large: str = ""  # the large model
    large_cost: float = 0.0  # US dollars: estimated cost of the calls that ended here on the large model alone
    large_unknown: int = 0  # calls for which that is unknown
    estimates: int = 0  # attempts whose tokens the provider did not count
    replayed: int = 0  # attempts whose reply was replayed or cached, at no cost

    def as_dict(self) -> dict[str, Any]:
        """Return the line as a JSON object."""
        return asdict(self) | {"tokens": self.prompt_tokens + self.completion_tokens}


def collect(ledger: Iterable[Row], large: str | None = None) -> list[Line]:
    """Return the lines of a `TraceStore.ledger`: each function's tiers and their sum, at the end the sum of all.

    `large` names the large model; without it, that is each call's last tier.
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


#: The paid figures, which lines and rows have alike.
_SPENT = (
    *("re_asks", "escalations", "prompt_tokens", "completion_tokens", "cost", "cost_unknown"),
    *("estimates", "replayed"),
)


def _compare(line: Line, row: Row, large: str) -> None:
    """Add the cost on the large model alone to the line of the tier where the calls ended."""
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
    """Return the total cost of calls with prompts of one size, in US dollars, or None where it is unknown."""
    rates = _rates(model, size)
    if rates is None:
        return None
    each, prompt, completion = rates
    # Less than 1e-12 is a rounding error of the sum.
    return round(calls * each + prompts * prompt + completions * completion, 12)


@functools.lru_cache(10_000)
def _rates(model: str, size: int) -> tuple[float, float, float] | None:
    """Return US dollars for a call, a prompt token and a completion token, for prompts of one size.

    Returns None where the price is unknown, or changes within the size.
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
