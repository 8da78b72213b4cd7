"""A trace of its own for every test, and settings that no file or variable of the machine's changes."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def trace_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a trace of its own."""
    for name in ("MODEL", "RETRIES", "SEED", "MAX_TOKENS", "TEMPERATURE", "TRACE_DAYS", "TRACE_CALLS"):
        monkeypatch.delenv(f"GUARD_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "trace.db"
    monkeypatch.setenv("GUARD_TRACE", str(path))
    return path


#: What makes of today's tables those of version 5.
TO_VERSION_5 = (
    "DROP TABLE items",
    "DROP TABLE responses",
    "DROP TABLE feedback",
    "DROP TABLE breakers",
    *(
        f"ALTER TABLE attempts DROP COLUMN {column}"
        for column in ("cut_at", "repeated_at", "room", "decision", "sources", "sureness")
    ),
    "ALTER TABLE calls DROP COLUMN record_for",
    "ALTER TABLE keys DROP COLUMN may_train",
    "UPDATE guard_schema SET version = 5",
)
