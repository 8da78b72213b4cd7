"""A run of many documents that is killed loses nothing and asks nothing twice; tests/killed.py is the judge."""

from __future__ import annotations

from pathlib import Path

import killed


def test_a_run_that_is_killed_and_resumed_answers_each_document_once(tmp_path: Path) -> None:
    found = killed.killed(150, 3, tmp_path)
    killed.check(found)
    # A kill costs the calls under way, each of at most two questions, and no more.
    least = 150 + sum(number % killed.NEVER == 0 or number % killed.SECOND == 0 for number in range(150))
    assert found.asked.total() <= least + 3 * 2 * 16
