"""Who may read what Guard writes: its owner alone."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import traces

from guard.cli import app
from guard.models.base import Reply
from guard.sidecar.access_log import AccessLog
from guard.support import private_files
from guard.trace import TraceStore
from guard.trace.records import Attempt, Call
from guard.trace.retention import Retention

CALL = Call("f", "T", "h", "", "m", {}, 1.0, attempts=(Attempt(1, ({"role": "user"},), Reply("1", "stop", "m", 1, 1)),))


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """Let files be readable for everyone, unless somebody says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_trace_its_folder_and_the_files_beside_it_are_its_owners(tmp_path: Path) -> None:
    place = tmp_path / "new" / "trace.db"
    store = TraceStore(place)
    store.write(CALL)
    assert mode(place.parent) == 0o700
    files = list(place.parent.iterdir())
    assert {file.name for file in files} == {"trace.db", "trace.db-wal", "trace.db-shm"}
    assert {mode(file) for file in files} == {0o600}
    store.write(CALL)
    store.prune(Retention(calls=1))
    assert {mode(file) for file in place.parent.iterdir()} == {0o600}
    store.close()


def test_a_trace_that_is_deleted_while_open_is_made_anew_for_its_owner(trace_file: Path) -> None:
    store = TraceStore(trace_file)
    store.write(CALL)
    for file in trace_file.parent.glob("trace.db*"):
        file.unlink()
    store.write(CALL)
    assert {mode(file) for file in trace_file.parent.glob("trace.db*")} == {0o600}
    store.close()


#: What makes a file's tables those of version 4, as far as a migration looks.
OLDER = (
    *traces.to_version_5("trace.db"),
    *("DROP TABLE totals", "DROP INDEX ix_calls_failed", "UPDATE guard_schema SET version = 4"),
)


def test_a_trace_that_an_older_guard_made_is_its_owners_from_then_on(trace_file: Path) -> None:
    TraceStore(trace_file).write(CALL)
    with sqlite3.connect(trace_file) as old:
        for statement in OLDER:
            old.execute(statement)
    for file in trace_file.parent.glob("trace.db*"):
        file.chmod(0o644)
    store = TraceStore(trace_file)
    store.check_writable()
    assert {mode(file) for file in trace_file.parent.glob("trace.db*")} == {0o600}
    store.close()
    old.close()


def test_a_mode_that_somebody_has_given_a_file_or_folder_stays(trace_file: Path) -> None:
    trace_file.parent.chmod(0o755)
    TraceStore(trace_file).write(CALL)
    trace_file.chmod(0o640)
    TraceStore(trace_file).write(CALL)
    assert (mode(trace_file), mode(trace_file.parent)) == (0o640, 0o755)


def test_an_empty_file_that_becomes_a_trace_is_its_owners(trace_file: Path) -> None:
    trace_file.touch(0o644)
    store = TraceStore(trace_file)
    store.write(CALL)
    assert {mode(file) for file in trace_file.parent.glob("trace.db*")} == {0o600}
    store.close()


def test_an_empty_device_keeps_its_mode(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o644)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    private_files.make_file(str(tmp_path / "pipe"))
    os.close(reader)
    assert mode(tmp_path / "pipe") == 0o644


@pytest.mark.parametrize("arguments", [("export", "--format", "sft", "--output"), ("show", "1", "--html")])
def test_what_is_exported_is_its_owners(trace_file: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    TraceStore.at(trace_file).write(CALL)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        app.main(("trace", *arguments, str(out)))
    assert ended.value.code == 0
    assert out.read_text()
    assert mode(out) == 0o600


def test_an_access_log_is_its_owners(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "access.jsonl"))
    assert log._file is not None
    log._file.close()
    assert mode(tmp_path / "access.jsonl") == 0o600


def test_a_file_that_is_there_is_not_emptied_by_making_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    private_files.make_file(str(tmp_path / "a"))
    assert (tmp_path / "a").read_text() == "x"
