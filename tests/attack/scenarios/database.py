"""Scenarios of the database: locked, full, broken, slow, gone and back again."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
import threading
import time
from pathlib import Path

import postgres
import sidecars
from attack.scenarios.setting import LATE_S, Faults, asked_at_once, execute, guard, scenario, serving, timed

from guard.trace.databases import FUNCTION


def _held_to(faults: Faults, sidecar: sidecars.Sidecar, name: str) -> None:
    """Hold a sidecar whose database is out of order to its words."""
    for reply, seconds in asked_at_once(sidecar, 8):
        faults.replied(reply, {503, 504}, f"{name}: a request", seconds)
    reply, seconds = timed(lambda: sidecar.chat(stream=True))
    is_told = reply.status in (503, 504) or (
        reply.status == 200 and reply.events[-1] != "[DONE]" and "error" in reply.events[-1]
    )
    faults.check(is_told and seconds <= LATE_S, f"{name}: a stream was answered {reply.status} after {seconds:.1f} s")
    reply, seconds = timed(lambda: sidecar.ask("GET", "/health/live"))
    faults.check(reply.status == 200 and seconds < 1, f"{name}: live {reply.status} after {seconds:.1f} s")
    reply, seconds = timed(lambda: sidecar.ask("GET", "/health/ready"))
    faults.check(reply.status == 503 and seconds <= LATE_S, f"{name}: ready {reply.status} after {seconds:.1f} s")
    for path in ("/guard/stats", "/guard/traces"):
        reply, seconds = timed(lambda path=path: sidecar.ask("GET", path))
        faults.replied(reply, {200, 503, 504}, f"{name}: {path}", seconds)


def _recovers(faults: Faults, sidecar: sidecars.Sidecar, name: str) -> None:
    until = time.monotonic() + 10
    while (reply := timed(sidecar.chat)[0]).status != 200 and time.monotonic() < until:
        time.sleep(0.2)
    faults.replied(reply, {200}, f"{name}, and in order again")
    while (reply := timed(lambda: sidecar.ask("GET", "/health/ready"))[0]).status != 200 and time.monotonic() < until:
        time.sleep(0.2)
    faults.check(reply.status == 200, f"{name}, and in order again: ready {reply.status}")


@scenario("database: SQLite is locked")
def _locked(folder: Path) -> list[str]:
    faults = Faults()
    with serving(folder) as (sidecar, _):
        sidecar.chat()
        for how in ("IMMEDIATE", "EXCLUSIVE"):
            lock = sqlite3.connect(sidecar.trace, isolation_level=None)
            lock.execute(f"BEGIN {how}")
            _held_to(faults, sidecar, f"locked {how}")
            lock.execute("ROLLBACK")
            lock.close()
            _recovers(faults, sidecar, f"locked {how}")
    return faults


@scenario("database: the disk is full")
def _full(folder: Path) -> list[str]:
    faults = Faults()
    with serving(folder) as (sidecar, _):
        sidecar.chat()
        resource.prlimit(sidecar.process.pid, resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
        _held_to(faults, sidecar, "full")
        resource.prlimit(sidecar.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        _recovers(faults, sidecar, "full")
        faults.check(sidecar.end() == 0, "the process did not end with 0")
        faults.check(
            not [line for line in sidecar.errors if "Traceback" in line], f"tracebacks: {sidecar.errors[-12:]}"
        )
    return faults


@scenario("database: a table is gone, and garbage in the file")
def _broken(folder: Path) -> list[str]:
    faults = Faults()
    for number, harm in enumerate(("ALTER TABLE attempts RENAME TO gone", "garbage")):
        place = folder / str(number)
        place.mkdir()
        with serving(place) as (sidecar, _):
            sidecar.chat()
            if harm == "garbage":
                with (place / "trace.db").open("r+b") as file:
                    file.write(b"x" * 8_192)
            else:
                execute(place / "trace.db", harm)
            for reply, seconds in asked_at_once(sidecar, 4):
                faults.replied(reply, {503} if number == 0 else {200, 503}, harm, seconds)
            faults.check(sidecar.ask("GET", "/health/live").status == 200, f"{harm}: not alive")
    return faults


@scenario("database: figures over 300,000 records beside plain requests")
def _figures(folder: Path) -> list[str]:
    faults = Faults()
    with serving(folder) as (sidecar, _):
        sidecar.chat()
        now = time.time()
        with sqlite3.connect(sidecar.trace) as trace:
            trace.create_function(FUNCTION, 0, int)  # without which the tables take nothing
            for name, number, where in (("calls", "id", "id = 1"), ("attempts", "call", "call = 1")):
                columns = [row[1] for row in trace.execute(f"PRAGMA table_info({name})")]
                new = {number: "1000 + i", "started": f"{now} - i / 100.0"}
                numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)"
                values = ", ".join(new.get(each, each) for each in columns)
                copied = f"SELECT {values} FROM n, (SELECT * FROM {name} WHERE {where})"  # noqa: S608 (our own names)
                trace.execute(f"{numbers} INSERT INTO {name} ({', '.join(columns)}) {copied}")
        trace.close()
        took: list[float] = []
        pages = [
            threading.Thread(target=lambda p=path: took.append(timed(lambda: sidecar.ask("GET", p))[1]))
            for path in (
                "/guard/stats?minutes=60",
                "/guard/stats?minutes=10080",
                "/guard/failures?limit=200",
                "/guard/traces?limit=200",
            )
        ]
        for thread in pages:
            thread.start()
        slowest = 0.0
        while any(thread.is_alive() for thread in pages):
            reply, seconds = timed(sidecar.chat)
            slowest = max(slowest, seconds)
            faults.replied(reply, {200}, "beside the figures", seconds)
        faults.check(slowest < 1, f"a plain request took {slowest:.1f} s beside the figures")
        faults.check(max(took) < 10, f"the figures took {max(took):.1f} s")
        (folder / "guard.toml").write_text(f'trace = "{sidecar.trace}"\n')
        began = time.monotonic()
        stats = guard(folder, "trace", "stats", timeout=120)
        seconds = time.monotonic() - began
        faults.check(
            stats.returncode == 0 and seconds < 6, f"guard trace stats: {stats.returncode} after {seconds:.1f} s"
        )
    return sorted(set(faults))


@scenario("database: PostgreSQL stands still, comes back, and dies")
def _postgres(folder: Path) -> list[str]:
    faults = Faults()
    binaries = postgres.binaries()
    if binaries is None:
        return [postgres.INSTALL]
    with postgres.running(binaries) as server:
        place = server.place()
        with serving(folder, env={"GUARD_TRACE": place}) as (sidecar, _):
            faults.replied(sidecar.chat(), {200}, "in order")
            family = [server.pid, *_children(server.pid)]
            for pid in family:
                os.kill(pid, signal.SIGSTOP)
            try:
                _held_to(faults, sidecar, "still")
            finally:
                for pid in reversed(family):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
            _recovers(faults, sidecar, "still")
            server.die()
            _held_to(faults, sidecar, "dead")
            server.rise()
            _recovers(faults, sidecar, "dead")
            faults.check(sidecar.end() == 0, "the process did not end with 0")
    return faults


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found
