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


#: What makes of today's tables those of version 10, whole again,
_WHOLE = (
    "ALTER SEQUENCE calls_id_seq OWNED BY NONE",
    *(
        statement
        for table in ("calls", "attempts", "totals")
        for statement in (
            f"CREATE TABLE whole_{table} (LIKE {table} INCLUDING DEFAULTS)",
            f"INSERT INTO whole_{table} SELECT * FROM {table}",  # noqa: S608 (our own names)
            f"DROP TABLE {table} CASCADE",
            f"ALTER TABLE whole_{table} RENAME TO {table}",
        )
    ),
    "ALTER TABLE attempts DROP COLUMN began",
    "ALTER TABLE calls ADD PRIMARY KEY (id), ALTER COLUMN id SET DEFAULT nextval('calls_id_seq')",
    "ALTER SEQUENCE calls_id_seq OWNED BY calls.id",
    "ALTER TABLE attempts ADD PRIMARY KEY (call, number)",
    "ALTER TABLE totals ADD PRIMARY KEY (minute, shape)",
    *(
        f"ALTER TABLE {table} ADD FOREIGN KEY (call) REFERENCES calls (id) ON DELETE CASCADE"
        for table in ("attempts", "items", "feedback")
    ),
    "CREATE INDEX ix_calls_started ON calls (started)",
    "CREATE INDEX ix_calls_schema_hash ON calls (schema_hash)",
    "CREATE INDEX ix_calls_function ON calls (function, id)",
    "CREATE INDEX ix_calls_outcome ON calls (outcome, id)",
    "CREATE INDEX ix_calls_failed ON calls (id) WHERE outcome <> 'valid'",
)
_TO_VERSION_10 = ("DROP TABLE totals_by_day", "DROP TABLE breakers", "UPDATE guard_schema SET version = 10")
#: and of those of version 10 version 5's.
_TO_VERSION_5 = (
    "DROP TABLE items",
    "DROP TABLE responses",
    "DROP TABLE feedback",
    *(
        f"ALTER TABLE attempts DROP COLUMN {column}"
        for column in ("cut_at", "repeated_at", "room", "decision", "sources", "sureness")
    ),
    "ALTER TABLE calls DROP COLUMN record_for",
    "ALTER TABLE keys DROP COLUMN may_train",
    "UPDATE guard_schema SET version = 5",
)


def to_version_10(place: object) -> tuple[str, ...]:
    """Return the statements that make today's tables in a place those of version 10."""
    return (*(_WHOLE if "://" in str(place) else ("DROP TRIGGER newer",)), *_TO_VERSION_10)


def to_version_5(place: object) -> tuple[str, ...]:
    """Return the statements that make today's tables in a place those of version 5."""
    return (*to_version_10(place), *_TO_VERSION_5)
