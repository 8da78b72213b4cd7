"""Training in tests: what other tests have left in the process is not held against its bound of memory."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def fresh_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the process hold half a gigabyte, as a fresh one with torch does."""
    monkeypatch.setattr("guard.tuning.training.memory.resident", lambda: 500_000_000)
