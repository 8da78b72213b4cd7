"""Guard's counters inside of engines: each adds what it is told, whatever came before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from guard.integrations import engine_metrics


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@given(st.lists(st.tuples(st.integers(0, 64), st.floats(0, 1)), min_size=1))
def test_steps_rows_and_seconds_add_up_once_they_are_handed_over(steps: list[tuple[int, float]]) -> None:
    names = ("guard_mask_steps_total", "guard_mask_rows_total", "guard_mask_seconds_total")
    before, counts, now = [value(name) for name in names], engine_metrics.StepCount(), 0.0
    for rows, seconds in [*steps, (1, counts.EVERY_SECONDS)]:
        counts.add(rows, now, now + seconds)
        now += seconds
    counted = [value(name) - had for name, had in zip(names, before, strict=True)]
    assert counted[:2] == [len(steps) + 1, 1 + sum(rows for rows, _ in steps)]
    assert abs(counted[2] - now) < 1e-6


def test_requests_are_counted_by_constraint_and_outcome() -> None:
    name = "guard_structured_requests_total"
    for constraint, known in (("json", "json"), (None, "unknown")):
        for is_taken, outcome in ((True, "taken"), (False, "refused")):
            before = value(name, constraint=known, outcome=outcome)
            engine_metrics.count_request(constraint, is_taken=is_taken)
            assert value(name, constraint=known, outcome=outcome) == before + 1
