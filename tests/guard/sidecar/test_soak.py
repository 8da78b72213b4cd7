"""A slice of the soak: tests/soak.py runs for as long as it is told to."""

from __future__ import annotations

from pathlib import Path

import soak


def test_a_misbehaving_provider_lets_nothing_invalid_through_and_no_record_is_lost(tmp_path: Path) -> None:
    outcome = soak.run(tmp_path, clients=30, seconds=4)
    assert outcome.breaches == []
    assert outcome.answered > 50
    assert outcome.hostile > 0
    assert set(outcome.statuses) <= {200, 422, 429, 502, 504}
