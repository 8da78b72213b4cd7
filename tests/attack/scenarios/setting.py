"""What scenarios share: how they are registered and played, and a sidecar in front of a provider."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sidecars
from attack.cases import CODES, TOTAL_S
from attack.run import settings

from guard.calls.steps import RECORDING_S
from guard.testing import fake_server
from guard.trace.group_commit import MOMENT_S
from guard.trace.record_queue import MARGIN_S

Play = Callable[[Path], list[str]]
SCENARIOS: dict[str, Play] = {}
SOON_S = 3.0  #: Within which every process has heard of a key.
#: The longest that a request may take: its time, that of its record, and the wait for what the writer knows of it.
LATE_S = TOTAL_S + RECORDING_S + MOMENT_S + MARGIN_S + 0.15
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  #: What no terminal may be sent.


def scenario(name: str) -> Callable[[Play], Play]:
    """Register a scenario under a name."""

    def register(play: Play) -> Play:
        SCENARIOS[name] = play
        return play

    return register


def played(name: str, folder: Path) -> list[str]:
    """Play one; whatever is raised is a fault as well."""
    try:
        return SCENARIOS[name](folder)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


class Faults(list[str]):
    """What did not hold."""

    def check(self, holds: object, words: str) -> None:
        """Say the words where it does not hold."""
        if not holds:
            self.append(words)

    def replied(self, reply: sidecars.Reply, statuses: set[int], words: str, seconds: float = 0.0) -> None:
        """Hold an answer to its statuses, and an error to its form."""
        code = ""
        if reply.status >= 400:
            try:
                code = reply.json["error"]["code"]
                self.check(reply.status in CODES.get(code, ()), f"{words}: {reply.status} with the code {code!r}")
            except (ValueError, KeyError, TypeError):
                self.append(f"{words}: an error without a form: {reply.data[:80]!r}")
        self.check(reply.status in statuses, f"{words}: answered {reply.status} {code}")
        self.check(seconds <= LATE_S, f"{words}: took {seconds:.1f} s")


@contextlib.contextmanager
def serving(folder: Path, toml: str = "", **how: Any) -> Iterator[tuple[sidecars.Sidecar, fake_server.Server]]:
    """Start a sidecar in front of a provider that says Hello."""
    with fake_server.Server("Hello.", keeps_alive=True) as provider:
        text = toml + settings(provider.url)
        with sidecars.serving(folder, text, **how) as sidecar:
            yield sidecar, provider


def timed(call: Callable[[], sidecars.Reply]) -> tuple[sidecars.Reply, float]:
    """Return an answer and how long it took; silence is an answer of its own."""
    began = time.monotonic()
    try:
        reply = call()
    except (OSError, http.client.HTTPException) as error:
        reply = sidecars.Reply(0, {}, repr(error).encode())
    return reply, time.monotonic() - began


def guard(folder: Path, *arguments: str, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    command = [sys.executable, "-m", "guard", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, timeout=timeout, env={**os.environ, **env}
    )


def key(folder: Path, *arguments: str) -> dict[str, str]:
    """Make a key for the trace of a folder; returns the header that says it."""
    if not (folder / "guard.toml").exists():
        (folder / "guard.toml").write_text(f'trace = "{folder / "trace.db"}"\n')
    made = guard(folder, "keys", "create", *arguments, "--json", "--config", "guard.toml")
    assert made.returncode == 0, made.stderr
    return {"Authorization": f"Bearer {json.loads(made.stdout)['key']}"}


def asked_at_once(sidecar: sidecars.Sidecar, number: int, **how: Any) -> list[tuple[sidecars.Reply, float]]:
    """Ask so many times side by side."""
    found: list[tuple[sidecars.Reply, float]] = []
    threads = [threading.Thread(target=lambda: found.append(timed(lambda: sidecar.chat(**how)))) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def execute(path: Path, *statements: str) -> None:
    """Run statements on an SQLite file."""
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
