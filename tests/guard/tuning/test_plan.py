"""The plan of a run: parts have all steps, places rise, and time is divided among what is left."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.tuning.plan import Position, TrainingPlan
from guard.tuning.training import Recipe


def walked(plan: TrainingPlan, seconds_a_step: float) -> list[tuple[int, float, float]]:
    """Return part, place and progress of each step of a run whose steps take so long."""
    at, seen = Position(), []
    while plan.may_begin(at):
        while plan.share(at) < 1 and not plan.is_late(at):
            seen.append((at.part, plan.place(at), plan.progress(at)))
            at.step += 1
            at.seconds += seconds_a_step
        at.go_on()
    return seen


@given(st.integers(1, 400), st.integers(1, 6))
def test_all_steps_are_gone_and_places_rise_within_a_part(steps: int, branches: int) -> None:
    plan = TrainingPlan(steps, branches, None)
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
    assert walked(TrainingPlan(steps, 1, None), 1.0) == [(0, n / steps, n / steps) for n in range(steps)]


@given(st.integers(1, 5), st.floats(0.01, 3.0), st.integers(1, 300))
def test_the_first_branch_may_use_all_the_time_and_further_ones_what_is_left(
    branches: int, seconds_a_step: float, steps: int
) -> None:
    seconds = 100.0
    seen = walked(TrainingPlan(steps, branches, seconds), seconds_a_step)
    counts = Counter(part for part, *_ in seen)
    assert len(seen) * seconds_a_step <= seconds + 2 * seconds_a_step
    assert [progress for *_, progress in seen] == sorted(progress for *_, progress in seen)
    parts = TrainingPlan(steps, branches, None).parts
    first = sum(part.steps for part in parts[:2])
    if first * seconds_a_step <= seconds:  # there is time for all of its steps
        assert counts[0] + counts[1] == first
    else:
        assert set(counts) <= {0, 1}
        assert (counts[0] + counts[1]) * seconds_a_step >= seconds - seconds_a_step
    for number in range(2, len(parts)):
        began = sum(counts[n] for n in range(number)) * seconds_a_step
        took = counts[number - 1] * seconds_a_step
        if counts[number]:
            assert began + took <= seconds + 1e-6
            assert counts[number] == parts[number].steps or began + counts[number] * seconds_a_step > seconds - 1e-6
        elif parts[number].steps and counts[number - 1] == parts[number - 1].steps:
            assert began + took > seconds - 1e-6


def test_a_branch_for_which_time_does_not_suffice_after_all_is_given_up() -> None:
    plan, at = TrainingPlan(30, 2, 100.0), Position(part=2, step=20, seconds=60.0, first=20, began=60.0, took=30.0)
    assert plan.may_begin(at)
    at.step, at.seconds = 25, 101.0
    assert plan.is_late(at)
    assert plan.share(at) == 0.5
    assert not plan.may_begin(Position(part=2, step=20, seconds=60.0, first=20, began=60.0, took=41.0))


def test_three_epochs_with_two_branches_are_a_trunk_and_two_halves() -> None:
    assert [part.steps for part in TrainingPlan(1382, 2, None).parts] == [460, 461, 461]
    assert [(part.begin, part.end, part.branch) for part in TrainingPlan(9, 2, None).parts] == [
        (0.0, 0.5, 0),
        (0.5, 1.0, 0),
        (0.5, 1.0, 1),
    ]


def test_time_that_is_used_up_ends_a_run_after_a_step() -> None:
    assert walked(TrainingPlan(100, 3, 1e-9), 1.0) == [(0, pytest.approx(0.0), pytest.approx(0.0))]


@pytest.mark.parametrize("name", ["rate", "epochs", "gigabytes", "seconds", "steps", "layers"])
@pytest.mark.parametrize("value", [math.nan, 0, -1, math.inf])
def test_a_recipe_of_numbers_that_mean_nothing_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}="):
        Recipe(**{name: value})
