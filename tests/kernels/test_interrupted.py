"""A call that ends early, at whatever place, leaves nothing half made: all schemas answer as in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCHEMAS = 300  #: How many there are; each has a number.
STEPS = 6  #: Tokens of a walk.
PLACES = 80  #: Ticks and allocations at which a walk ends early, at most.
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
SLICES = [(first, first + 10) for first in range(0, SCHEMAS if THOROUGH else 30, 10)]


def run(first: int, last: int, places: int) -> tuple[list[Any], int]:
    """Return what schemas answered in a process of its own, and how often walks ended early in it."""
    command = [sys.executable, "-m", "interrupted", *map(str, (first, last, STEPS, places))]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, ended = map(json.loads, done.stdout.splitlines())
    return lines, ended


@pytest.mark.parametrize(("first", "last"), SLICES)
def test_what_ends_early_changes_no_answer_of_any_schema(first: int, last: int) -> None:
    fresh, none = run(first, last, 0)
    shaken, ended = run(first, last, PLACES)
    assert none == 0
    assert ended > PLACES * (last - first) / 2  # most walks have far more places than are tried
    assert shaken == fresh
