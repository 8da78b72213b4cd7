"""Every test's own trace and settings, and the databases that a trace may lie in."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import generators
import postgres
import pytest
from traces import trace_file

__all__ = ["trace_file"]


@pytest.fixture(scope="session")
def postgres_binaries() -> Path:
    """Return the folder of PostgreSQL's binaries. Where there is none, CI fails and a laptop skips."""
    folder = postgres.binaries()
    if folder is None:
        if os.environ.get("CI") == "true":
            pytest.fail(postgres.INSTALL)
        pytest.skip(postgres.INSTALL)
    return folder


@pytest.fixture(scope="session")
def postgres_server(postgres_binaries: Path) -> Iterator[postgres.Server]:
    """Start a PostgreSQL server for the session."""
    with postgres.running(postgres_binaries) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, trace_file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the test an empty trace in each kind of database; the settings name it."""
    if request.param == "sqlite":
        return str(trace_file)
    url: str = request.getfixturevalue("postgres_server").place()
    monkeypatch.setenv("GUARD_TRACE", url)
    return url


@pytest.fixture
def every_generator_is_closed() -> Iterator[None]:
    """Fail where an asynchronous generator of Guard's, an SDK's or the HTTP client's is left to the collector."""
    with generators.watched() as lost:
        yield
    assert lost == []


@pytest.fixture(scope="module")
def no_leftovers() -> Iterator[None]:
    """Collect what a module's models leave: a connection that is lost would be a warning, which is an error."""
    yield
    gc.collect()
