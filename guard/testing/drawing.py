"""Drawing: examples of a Hypothesis strategy outside of a test, determined by a seed."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.strategies import SearchStrategy

#: Settings of Hypothesis outside of its own tests.
SETTINGS: dict[str, Any] = {
    "database": None,
    "deadline": None,
    "print_blob": False,
    "suppress_health_check": list(HealthCheck),
    "report_multiple_bugs": False,
}


def drawn(strategy: SearchStrategy[Any], count: int, seed: int, seconds: float | None = None) -> list[Any]:
    """Draw some examples of a strategy by a seed, the simplest first; fewer where time is up."""
    found: list[Any] = []
    until = None if seconds is None else time.perf_counter() + seconds

    class LateError(Exception):
        pass

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=count, phases=[Phase.generate], **SETTINGS)
    @hypothesis.given(strategy)
    def draw(value: Any) -> None:
        found.append(value)
        if until is not None and time.perf_counter() > until:
            raise LateError

    with contextlib.suppress(LateError, hypothesis.errors.Flaky, hypothesis.errors.Unsatisfiable):
        draw()
    return found
