"""Statistics of the trace: for each function and tier, how often its answers were valid, its cost, and its savings.

They are computed from running totals (totals.py), some thousand rows for a million calls. The large model is the last
tier, or the one that is named. The savings compare with the cost of the calls on it alone. For a call that reached it,
that is what it cost there. For others it is an estimate: the tokens of the call's first prompt and last completion, at
the prices that genai-prices ships with. Models on this machine cost nothing, and neither do replayed or cached replies.

An answer is *served alone* by a model on this machine or by a tier below the last. How many answers are right is known
from feedback: of those served alone, the share that was rated right; of the large model's all but the share that was
rated wrong, for they are what is learned from.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from guard.models.remote import prices
from guard.trace.feedback import Ratings
from guard.trace.row_codec import restored
from guard.trace.totals import SIZES, Row

ALL = "(all)"  #: The `function` of the last line, the sum of all others.

#: Prefixes of the names of models that run on this machine.
_LOCAL = ("smollm2", "transformers", "llamacpp", "tuned")
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
    alone: int = 0  # valid answers served alone
    alone_rated: int = 0  # of these, those that somebody rated
    alone_right: int = 0  # and of those, the right ones
    large_rated: int = 0  # of the other valid answers
    large_right: int = 0

    @property
    def precision(self) -> float | None:
        """The share of right answers among those served alone; None where none was rated."""
        return self.alone_right / self.alone_rated if self.alone_rated else None

    @property
    def right(self) -> float | None:
        """About how many valid answers are right; None where it is not known of those served alone."""
        large = self.valid - self.alone
        by_large = large * (self.large_right / self.large_rated if self.large_rated else 1.0)
        if not self.alone:
            return by_large
        return None if self.precision is None else by_large + self.alone * self.precision

    @property
    def cost_per_valid(self) -> float | None:
        """US dollars per valid answer; None where a price is not known, or nothing is valid."""
        return None if self.cost_unknown or not self.valid else self.cost / self.valid

    @property
    def cost_per_right(self) -> float | None:
        """US dollars per right answer; None where that is not known."""
        return None if self.cost_unknown or not self.right else self.cost / self.right

    @property
    def large_per_valid(self) -> float | None:
        """US dollars per valid answer, had the large model alone been asked; None where none was compared with."""
        return None if not self.large or self.large_unknown or not self.valid else self.large_cost / self.valid

    def as_dict(self) -> dict[str, Any]:
        """Return the line as a JSON object."""
        derived = ("precision", "right", "cost_per_valid", "cost_per_right", "large_per_valid")
        tokens = self.prompt_tokens + self.completion_tokens
        return {**asdict(self), "tokens": tokens, **{name: getattr(self, name) for name in derived}}


def collect(ledger: Iterable[Row], large: str | None = None, ratings: Iterable[Ratings] = ()) -> list[Line]:
    """Return the lines of a `TraceStore.ledger`: each function's tiers and their sum, at the end the sum of all.

    `ratings` are those of `TraceStore.ratings`. `large` names the large model; without it, that is each call's last
    tier.
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
            if ended and is_small(restored(row.about.model), restored(row.about.large)):
                line.alone += row.figures["valid"]
            _compare(line, row, large or restored(row.about.large))
    for one in ratings:
        lines = functions.get(one.function, {})
        side = "alone" if is_small(one.model, one.large) else "large"
        for rated in filter(None, (everything, lines.get(None), lines.get(one.tier))):
            setattr(rated, f"{side}_rated", getattr(rated, f"{side}_rated") + one.rated)
            setattr(rated, f"{side}_right", getattr(rated, f"{side}_right") + one.right)
    ordered = [
        lines[tier]
        for _, lines in sorted(functions.items())
        for tier in (*sorted(t for t in lines if t is not None), None)
    ]
    return [*ordered, everything]


def is_small(model: str, large: str) -> bool:
    """Whether a model's answer was served alone: it runs here, or a larger one was never asked."""
    return model.partition(":")[0] in _LOCAL or model != large


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


def dollars(value: float) -> str:
    """Show a sum of US dollars with three digits or more."""
    if value >= 1:
        return f"${value:,.2f}"
    return "$0" if value == 0 else f"${value:.3g}" if value >= 1e-4 else f"${value:.2e}"
