"""Reading a trace makes nothing and changes no file; what it finds that is no trace is told."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_calls import CALL

from guard.sidecar import keys
from guard.trace import TraceError, TraceStore

NOBODY = 65534


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def modes(file: Path) -> dict[str, int]:
    return {each.name: each.stat().st_mode & 0o777 for each in file.parent.iterdir() if each.name.startswith(file.name)}


def empty(file: Path) -> None:
    file.touch()
    file.chmod(0o644)


def test_an_empty_file_that_was_only_looked_at_is_its_owner_s_once_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "calls.db"
    empty(file)
    looking = TraceStore(file)
    assert (looking.count(), keys.every(looking), keys.are_there(looking)) == (0, [], False)
    looking.close()
    assert (file.stat().st_size, modes(file)) == (0, {"calls.db": 0o644})
    store = TraceStore(file)
    store.write(CALL)
    assert set(modes(file).values()) == {0o600}
    assert looking.count() == 1
    store.close()
    looking.close()


def test_a_file_without_a_table_is_its_owner_s_once_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "calls.db"
    empty(file)
    connection = sqlite3.connect(file)  # as a reader of an older Guard left it
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    assert file.stat().st_size
    store = TraceStore(file)
    store.write(CALL)
    assert set(modes(file).values()) == {0o600}
    store.close()


def test_the_database_of_another_program_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "calls.db"
    empty(file)
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE things (a)")
    connection.close()
    store = TraceStore(file)
    store.write(CALL)
    assert modes(file)["calls.db"] == 0o644
    store.close()


@pytest.mark.parametrize("table", ["calls", "keys"])
def test_a_table_of_another_program_is_not_taken_for_an_empty_trace(tmp_path: Path, table: str) -> None:
    file = tmp_path / "other.db"
    connection = sqlite3.connect(file)
    connection.execute(f"CREATE TABLE {table} (a)")
    connection.close()
    store = TraceStore(file)
    ways: list[Any] = [store.count, store.latest, lambda: keys.every(store), lambda: keys.are_there(store)]
    for look in ways:
        with pytest.raises(TraceError) as caught:
            look()
        words = f"the trace {file} is another program's database: it has its own {table}; name another in GUARD_TRACE"
        assert str(caught.value) == words
    store.close()


@pytest.mark.parametrize("is_open", [False, True])
def test_a_trace_can_be_read_by_who_may_not_write_it(open_folder: Path, is_open: bool) -> None:
    file = open_folder / "calls.db"
    store = TraceStore(file)
    store.write(CALL)
    if not is_open:
        store.close()
    for each in open_folder.iterdir():
        each.chmod(0o444)
    open_folder.chmod(0o555)
    names = sorted(each.name for each in open_folder.iterdir())
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    child = fork.Process(target=look_as_nobody, args=(file, theirs))
    child.start()
    assert ours.poll(30)
    assert ours.recv() == (1, [1])
    child.join()
    assert sorted(each.name for each in open_folder.iterdir()) == names
    store.close()


def look_as_nobody(file: Path, out: Any) -> None:
    if os.geteuid() == 0:
        os.setuid(NOBODY)
    try:
        store = TraceStore(file)
        out.send((store.count(), [call.number for call in store.latest()]))
    except BaseException as error:
        out.send(repr(error))


def test_a_folder_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        TraceStore(tmp_path).write(CALL)
    words = f"the trace {tmp_path} can't be written: Is a directory; name another in GUARD_TRACE"
    assert str(caught.value) == words
