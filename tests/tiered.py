"""Calls that asked two tiers, a small model and a large one, and any of their kind."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import strategies as st
from scripted import reply

from guard.trace.records import Attempt, Call

SMALL, LARGE = "smollm2", "openai:gpt-5-mini"  # $0.25 for a million tokens of prompt, $2 of completion


def attempt_of(
    tier: int, reason: str = "", prompt: int = 1000, completion: int = 100, cost: float | None = 0.0, **more: Any
) -> Attempt:
    """Return an attempt that a tier answered."""
    answer = reply("{}", prompt_tokens=prompt, completion_tokens=completion, cost=cost, **more)
    return Attempt(0, (), answer, tier=tier, model=(SMALL, LARGE)[tier], reason=reason)


def call_of(function: str, *attempts: Attempt, outcome: str = "valid", tiers: tuple[str, ...] = (SMALL, LARGE)) -> Call:
    """Return a call of some attempts."""
    numbered = tuple(dataclasses.replace(attempt, number=n) for n, attempt in enumerate(attempts, 1))
    options = {"tiers": list(tiers)} if tiers else {}
    return Call(function, "T", "hash", "", SMALL, options, 1.0, outcome=outcome, attempts=numbered)


REASONS = st.sampled_from(["invalid", "confidence", "length", "error"])
COSTS = st.none() | st.integers(0, 1000).map(lambda n: n / 1024)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """Draw a call: tiers, answers that are missing, looked up, or without a price."""
    attempts: list[Attempt] = []
    for tier in range(draw(st.integers(0, 2))):
        for _ in range(draw(st.integers(1, 3))):
            asked = Attempt(0, (), None, error="down", tier=tier, model=(SMALL, LARGE)[tier], reason="error")
            if draw(st.booleans()):
                asked = attempt_of(
                    tier, draw(REASONS), draw(st.integers(0, 99)), draw(st.integers(0, 99)), draw(COSTS),
                    is_kept=draw(st.booleans()), is_estimate=draw(st.booleans()),
                )  # fmt: skip
            attempts.append(asked)
    valid = bool(attempts) and attempts[-1].reply is not None and draw(st.booleans())
    if valid:
        attempts[-1] = dataclasses.replace(attempts[-1], reason="")
    return call_of(draw(st.sampled_from(["f", "g", ""])), *attempts, outcome="valid" if valid else "ModelError")
