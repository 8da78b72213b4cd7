"""The plan of a run: parts have all steps, places rise, and time is divided among what is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.tuning.plan import Plan, Position


def walked(plan: Plan, seconds_a_step: float) -> list[tuple[int, float, float]]:
    """Return part, place and progress of each step of a run whose steps take so long."""
    at, seen = Position(), []
    while at.part < len(plan.parts):
        while plan.share(at) < 1:
            seen.append((at.part, plan.place(at), plan.progress(at)))
            at.step += 1
            at.seconds += seconds_a_step
        at.part, at.first, at.began = at.part + 1, at.step, at.seconds
    assert plan.progress(at) == 1
    return seen


@given(st.integers(1, 400), st.integers(1, 6))
def test_all_steps_are_gone_and_places_rise_within_a_part(steps: int, branches: int) -> None:
    plan = Plan(steps, branches, None)
    seen = walked(plan, 1.0)
    assert len(seen) == steps == sum(part.steps for part in plan.parts)
    assert [progress for *_, progress in seen] == sorted(progress for *_, progress in seen)
    for number, part in enumerate(plan.parts):
        places = [place for one, place, _ in seen if one == number]
        assert places == sorted(places)
        assert all(part.begin <= place < part.end for place in places)
    assert len({part.branch for part in plan.parts}) == branches


@given(st.integers(1, 400))
def test_without_branches_a_place_is_the_share_of_the_steps(steps: int) -> None:
    assert walked(Plan(steps, 1, None), 1.0) == [(0, n / steps, n / steps) for n in range(steps)]


@given(st.integers(1, 5), st.floats(0.01, 3.0), st.integers(1, 300))
def test_time_is_divided_among_the_parts(branches: int, seconds_a_step: float, steps: int) -> None:
    seconds = 100.0
    seen = walked(Plan(steps, branches, seconds), seconds_a_step)
    assert len(seen) <= steps
    assert len(seen) * seconds_a_step <= seconds + (branches + 1) * seconds_a_step
    if steps * seconds_a_step >= 2 * seconds + 10 and branches > 1:
        counts = [sum(part == number for part, *_ in seen) for number in range(branches + 1)]
        assert max(counts) - min(counts) <= 2


def test_three_epochs_with_two_branches_are_a_trunk_and_two_halves() -> None:
    assert [part.steps for part in Plan(1382, 2, None).parts] == [460, 461, 461]
    assert [(part.begin, part.end, part.branch) for part in Plan(9, 2, None).parts] == [
        (0.0, 0.5, 0),
        (0.5, 1.0, 0),
        (0.5, 1.0, 1),
    ]


def test_time_that_is_used_up_ends_each_part_at_once() -> None:
    assert walked(Plan(100, 3, 1e-9), 1.0) == [(0, pytest.approx(0.0), pytest.approx(0.0))]
