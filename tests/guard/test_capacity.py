"""Capacity on paper: the simulation does what theory says, and the page has what the script prints."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "capacity.md"


@pytest.fixture(scope="module")
def capacity() -> ModuleType:
    spec = importlib.util.spec_from_file_location("capacity", ROOT / "benchmarks" / "capacity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["capacity"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_one_worker_waits_as_long_as_theory_says(busy: float, capacity: ModuleType) -> None:
    """One core, exponential times, random arrivals (M/M/1): a request takes 1 / (1 - busy) times its work."""
    times = capacity.Times(model=(1.0, 1.0), transaction=0, record=0, way=0, flush=0)
    outcome = capacity.Simulation(times, busy / times.worker, 1).run(80)
    assert outcome.busy == pytest.approx(busy, rel=0.03)
    mean = sum(outcome.added) / len(outcome.added)
    assert mean == pytest.approx(times.worker / (1 - busy), rel=0.12)


def test_as_many_are_in_flight_as_come_while_one_is_answered(capacity: ModuleType) -> None:
    outcome = capacity.Simulation(capacity.Times(), 200, 1).run(60)
    assert outcome.in_flight == pytest.approx(200 * 1.5, rel=0.05)  # Little's law


def test_every_record_is_committed_and_those_that_wait_share_a_transaction(capacity: ModuleType) -> None:
    slow = capacity.Times(flush=0.05)
    outcome = capacity.Simulation(slow, 500, 4).run(10)
    assert len(outcome.added) == pytest.approx(500 * 10 * 4 / 5, rel=0.05)
    assert outcome.transactions == pytest.approx(1 / slow.hold, rel=0.2)
    assert outcome.transactions * outcome.records == pytest.approx(500, rel=0.05)
    assert outcome.quantile(0.5) > 4 * 50  # whoever commits waits for the other three, and for its own turn


def test_a_plan_keeps_to_the_goal_with_no_more_workers_than_it_takes(capacity: ModuleType) -> None:
    times, costs = capacity.Times(), capacity.Costs()
    found = capacity.plan(3_000, times, costs, 2)
    assert found.workers == 3
    assert found.outcome.busy <= capacity.BUSY
    assert found.outcome.quantile(0.99) <= capacity.GOAL_MS
    assert found.terabytes == pytest.approx(3_000 * 30 * 86_400 * 2_130 / 1e12)


def test_the_page_has_what_the_script_prints(capacity: ModuleType) -> None:
    page = PAGE.read_text()
    times, costs = capacity.Times(), capacity.Costs()
    for what, at, helps in capacity.limits(times, costs):
        assert f"| {what} | {capacity._round(at)} | {helps} |" in page
    told = capacity.report([capacity.plan(rate, times, costs, 20) for rate in capacity.RATES[:2]], costs)
    for line in told.splitlines()[:4]:
        assert line in page


def test_it_runs_small() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "capacity.py"), "--rates", "20", "--seconds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[2].startswith("| 20 | 52,000,000 | 1 | ")
