"""Once keys were needed they are needed: whatever becomes of the trace, over reloads, dead workers and starts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import postgres
import pytest
from sidecars import Sidecar, model, serving
from typer.testing import CliRunner

from guard.cli.app import app
from guard.settings import SettingError
from guard.sidecar import keys, process
from guard.sidecar.key_requirement import Door, forget, marker
from guard.testing import fake_server
from guard.trace import TraceStore


def _removed(trace: Path) -> None:
    for file in trace.parent.glob("trace.db*"):
        file.unlink()


def _emptied(trace: Path) -> None:
    with sqlite3.connect(trace) as other:
        other.execute("DELETE FROM keys")
    other.close()


def _dropped(trace: Path) -> None:
    with sqlite3.connect(trace) as other:
        other.execute("DROP TABLE keys")
    other.close()


def _truncated(trace: Path) -> None:
    trace.write_bytes(b"")


def _swapped(trace: Path) -> None:
    TraceStore(trace.parent / "other.db").check_writable()
    shutil.move(trace.parent / "other.db", trace)


LOSSES: list[Callable[[Path], None]] = [_removed, _emptied, _dropped, _truncated, _swapped]


def unlocked(sidecar: Sidecar, times: int = 4) -> bool:
    """Whether anyone comes in without a key."""
    return any(sidecar.chat().status != 401 for _ in range(times))


@pytest.mark.parametrize("lose", LOSSES)
def test_whatever_becomes_of_the_trace_the_door_stays_shut(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    keys.create(TraceStore(tmp_path / "trace.db"), "shop")
    with fake_server.Server("Hello.", keeps_alive=True) as provider, serving(tmp_path, model(provider.url)) as sidecar:
        assert not unlocked(sidecar)
        lose(sidecar.trace)
        for _ in range(4):
            assert not unlocked(sidecar)
            sidecar.process.send_signal(signal.SIGHUP)
            sidecar.wait(lambda: any("reloaded" in line for line in sidecar.errors))
            sidecar.errors.clear()
        assert not provider.requests


def test_a_worker_that_takes_anothers_place_needs_keys_too_also_where_they_were_made_later(tmp_path: Path) -> None:
    with (
        fake_server.Server("Hello.", keeps_alive=True) as provider,
        serving(tmp_path, "workers = 2\n" + model(provider.url)) as sidecar,
    ):
        assert sidecar.chat().status == 200
        keys.create(TraceStore(sidecar.trace), "shop")
        sidecar.wait(lambda: not unlocked(sidecar, 8))
        _removed(sidecar.trace)
        children = Path(f"/proc/{sidecar.process.pid}/task/{sidecar.process.pid}/children").read_text().split()
        for child in children:
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                os.kill(int(child), signal.SIGKILL)
        sidecar.wait(lambda: sum("another begins" in line for line in sidecar.errors) == 2)
        sidecar.wait(lambda: sidecar.ask("GET", "/health/ready").status == 200, 60)
        assert not unlocked(sidecar, 8)


def test_a_start_remembers_unless_it_is_told_that_nobody_needs_a_key(tmp_path: Path) -> None:
    keys.create(TraceStore(tmp_path / "trace.db"), "shop")
    with fake_server.Server("Hello.", keeps_alive=True) as provider:
        with serving(tmp_path, model(provider.url)) as sidecar:
            assert not unlocked(sidecar)
        _emptied(tmp_path / "trace.db")
        with serving(tmp_path, model(provider.url)) as sidecar:
            assert not unlocked(sidecar)
        with serving(tmp_path, "needs_key = false\n" + model(provider.url)) as sidecar:
            assert sidecar.chat().status == 200
        with serving(tmp_path, model(provider.url)) as sidecar:
            assert sidecar.chat().status == 200


@pytest.mark.parametrize("named", ["~/trace.db", "trace.db"])
def test_the_sidecar_needs_the_keys_that_the_command_line_makes_wherever_the_trace_is(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("GUARD_TRACE")
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "guard.toml"
    config.write_text(f'trace = "{named}"\n[serve]\nport = 0\nneeds_key = true\n{model("http://127.0.0.1:9")}')
    with pytest.raises(SettingError, match="there is no key yet"):
        process.check(process.Start(config))
    made = CliRunner().invoke(app, ["keys", "create", "shop", "--config", str(config)])
    assert made.exit_code == 0
    process.check(process.Start(config))


def test_everybody_may_be_asked_for_a_key_and_beyond_loopback_nobody_may_be_let_off(tmp_path: Path) -> None:
    config = tmp_path / "guard.toml"
    command = [sys.executable, "-m", "guard", "serve", "--check", "--config", str(config)]
    for setting, host, code, words in (
        ("true", "127.0.0.1", 2, "needs_key = true, and there is no key yet"),
        ("false", "127.0.0.1", 0, ""),
        ("false", "0.0.0.0", 2, "needs_key = false is for loopback alone"),  # noqa: S104 (refused)
    ):
        trace = json.dumps(str(tmp_path / "trace.db"))
        config.write_text(f'trace = {trace}\n[serve]\nneeds_key = {setting}\nhost = "{host}"\n')
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_a_server_that_is_replaced_by_an_empty_one_is_remembered(
    postgres_server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    store = TraceStore(postgres_server.place())
    door = Door(store, None, is_beyond_loopback=False)
    assert not door.needs_key
    door.look(has_keys=True)
    door.look(has_keys=False)
    assert door.needs_key
    assert Door(store, None, is_beyond_loopback=False).needs_key
    assert not Door(TraceStore(postgres_server.place()), None, is_beyond_loopback=False).needs_key
    assert marker(store).is_relative_to(tmp_path)
    forget(store)
    assert not Door(store, None, is_beyond_loopback=False).needs_key
    store.close()
