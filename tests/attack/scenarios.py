"""Scenarios: attacks that need a sidecar of their own, for what they do to its keys, database, signals or files.

A scenario returns what did not hold, as sentences; none is good.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres
import sidecars
from attack.cases import CODES, TOTAL_S, ask, chat, say
from attack.plays import POISON, SCHEMA
from attack.run import memory, settings, upstream
from attack.schemas import tower

from guard.testing import fake_server

Play = Callable[[Path], list[str]]
SCENARIOS: dict[str, Play] = {}
SOON_S = 3.0  #: Within which every process has heard of a key.
LATE_S = TOTAL_S + 1
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


# ---- keys ------------------------------------------------------------------------------------------------------------

PAGES = (
    "/guard/live",
    "/guard/stats",
    "/guard/failures",
    "/guard/traces",
    "/guard/traces/1",
    "/guard/traces/1/page",
    "/metrics",
)


@scenario("keys: only a good one in its own header opens the door")
def _door(folder: Path) -> list[str]:
    faults, good = Faults(), key(folder, "shop")
    text = good["Authorization"].removeprefix("Bearer ")
    wrong: dict[str, dict[str, str]] = {
        "none": {},
        "empty": {"Authorization": ""},
        "a scheme alone": {"Authorization": "Bearer"},
        "another scheme": {"Authorization": f"Basic {text}"},
        "cut": {"Authorization": f"Bearer {text[:-1]}"},
        "longer": {"Authorization": f"Bearer {text}x"},
        "in capitals": {"Authorization": f"Bearer {text.upper()}"},
        "its id": {"Authorization": f"Bearer {text.rpartition('-')[0]}"},
        "a prefix": {"Authorization": "Bearer sk-guard-"},
        "as X-Api-Key, another": {"X-Api-Key": "sk-guard-" + "0" * 43},
        "as a cookie": {"Cookie": f"Authorization=Bearer {text}"},
        "a digest": {"Authorization": "Bearer " + "0" * 64},
        "NULs": {"Authorization": "Bearer \xa0\xa0"},
        "50 kB": {"Authorization": "Bearer " + "k" * 50_000},
        "SQL": {"Authorization": "Bearer sk-guard-' OR 1=1 --"},
        "a proxy's": {"Proxy-Authorization": f"Bearer {text}"},
        "two": {"Authorization": f"Bearer {text}, Bearer x"},
    }
    with serving(folder) as (sidecar, provider):
        for name, headers in wrong.items():
            for path in (
                "/v1/chat/completions",
                "/v1/completions",
                "/v1/embeddings",
                "/v1/responses",
                "/v1/messages",
                "/v1/messages/count_tokens",
                "/guard/playground",
            ):
                faults.replied(sidecar.ask("POST", path, {"model": "m"}, headers), {401}, f"{name} at {path}")
            for path in ("/v1/models", *PAGES):
                faults.replied(sidecar.ask("GET", path, None, headers), {401}, f"{name} at {path}")
        faults.replied(
            sidecar.ask("POST", f"/v1/chat/completions?api_key={text}", {"model": "m"}), {401}, "in the address"
        )
        for path in (*PAGES, "/guard/", "//guard/live", "/guard/live/", "/guard/%74races", "/Guard/live"):
            faults.replied(sidecar.ask("GET", path, None, good), {403, 404}, f"a key that is no operator's at {path}")
        faults.replied(
            sidecar.ask("POST", "/guard/playground", {"model": "m", "prompt": "x"}, good), {403}, "the playground"
        )
        faults.check(not provider.requests, "a request without a key reached the provider")
        faults.replied(sidecar.chat(headers=good), {200}, "the good one")
        sidecar.end()
        said = (folder / "access.jsonl").read_text() + "\n".join(sidecar.errors)
        faults.check(text not in said and text.rpartition("-")[2] not in said, "the key is in the log")
    return faults


@scenario("keys: trailers open no door, and take no memory")
def _trailers(folder: Path) -> list[str]:
    faults, good = Faults(), key(folder, "shop")
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(body), body)
    with serving(folder) as (sidecar, provider):
        before = memory(sidecar.process.pid)[0]
        peak = before
        line = f"Authorization: {good['Authorization']}\r\n".encode()
        for name, trailer in {"one": line, "twice": line * 2, "57 MB": b"X-A: " + b"b" * 1_000 + b"\r\n"}.items():
            with socket.create_connection((sidecar.host, sidecar.port), timeout=20) as connection:
                data = b""
                with contextlib.suppress(OSError):
                    connection.sendall(head + b"\r\n" + chunks)
                    for _ in range(57 if name == "57 MB" else 1):
                        connection.sendall(trailer * (1_000 if name == "57 MB" else 1))
                        peak = max(peak, memory(sidecar.process.pid)[0])
                    connection.sendall(b"\r\n")
                with contextlib.suppress(OSError):
                    while part := connection.recv(65_536):
                        data += part
                        if b"\r\n\r\n" in data:
                            break
            status = data.split(b" ", 2)[1] if data else b"closed"
            faults.check(status in (b"400", b"401", b"431", b"413", b"closed"), f"{name}: answered {status!r}")
        faults.check(peak - before < 60_000_000, f"trailers took {(peak - before) / 1e6:.0f} MB")
        faults.check(not provider.requests, "a trailer let a request in")
    return faults


@scenario("keys: the door stays shut whatever becomes of the trace's file")
def _file(folder: Path) -> list[str]:
    faults = Faults()
    for number, (name, harm) in enumerate(
        {
            "removed": lambda path: path.unlink(),
            "moved": lambda path: path.rename(path.with_suffix(".old")),
            "empty": lambda path: path.write_bytes(b""),
            "garbage": lambda path: path.write_bytes(b"x" * 100_000),
            "another": lambda path: (path.unlink(), sqlite3.connect(path).close()),
            "keys deleted": lambda path: _execute(path, "DELETE FROM keys"),
            "table dropped": lambda path: _execute(path, "DROP TABLE keys"),
            "a folder": lambda path: (path.unlink(), path.mkdir()),
        }.items()
    ):
        place = folder / str(number)
        place.mkdir()
        key(place, "shop")
        with serving(place) as (sidecar, provider):
            faults.replied(sidecar.chat(), {401}, f"{name}, before")
            for path in place.glob("trace.db-*"):
                if name in ("removed", "moved", "another", "a folder"):
                    path.unlink()
            harm(place / "trace.db")
            until = time.monotonic() + SOON_S
            while time.monotonic() < until:
                reply, seconds = timed(sidecar.chat)
                faults.replied(reply, {401, 503}, f"{name}", seconds)
                time.sleep(0.25)
            faults.check(not provider.requests, f"{name}: a request without a key reached the provider")
            faults.check(sidecar.process.poll() is None, f"{name}: the process ended")
    return sorted(set(faults))


def _execute(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@scenario("keys: a rate beside a budget lets in as many as it says")
def _rate(folder: Path) -> list[str]:
    faults = Faults()
    good = key(folder, "shop", "--requests-per-minute", "640", "--tokens-per-day", "1000000000")
    few = key(folder, "few", "--requests-per-minute", "5", "--tokens-per-day", "1000000000")
    with serving(folder) as (sidecar, _):
        if (left := 60 - time.time() % 60) < 25:
            time.sleep(left + 0.1)
        statuses = [sidecar.chat(headers=good).status for _ in range(100)]
        faults.check(statuses.count(200) == 100, f"of 100 requests {statuses.count(200)} were let in; the rate is 640")
        statuses = [sidecar.chat(headers=few).status for _ in range(9)]
        faults.check(statuses == [200] * 5 + [429] * 4, f"of a rate of 5 came {statuses}")
    return faults


@scenario("keys: a model with its own address gets no key of the environment")
def _environment(folder: Path) -> list[str]:
    faults = Faults()
    env = {
        "OPENAI_API_KEY": "sk-environment-0123456789",
        "OPENAI_ORG_ID": "org-environment",
        "OPENAI_PROJECT_ID": "proj-environment",
    }
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    with serving(folder, env=env) as (sidecar, provider):
        provider.answers = ["{}"]
        for fields in ({}, {"stream": True}, {"response_format": schema}, {"response_format": {"type": "json_object"}}):
            faults.replied(sidecar.chat(**fields), {200}, f"{fields}")
        for request in provider.requests:
            faults.check("environment" not in str(request.headers), f"sent was {request.headers}")
    return sorted(set(faults))


@scenario("keys: the trace and its folder are the owner's alone")
def _modes(folder: Path) -> list[str]:
    faults = Faults()
    place = folder / "made" / "trace.db"
    old = os.umask(0o022)
    try:
        with serving(folder, env={"GUARD_TRACE": str(place)}) as (sidecar, _):
            faults.replied(sidecar.chat(), {200}, "a request")
            for path in place.parent.iterdir():
                mode = path.stat().st_mode & 0o777
                faults.check(mode & 0o077 == 0, f"{path.name} has the mode {mode:o}")
            mode = place.parent.stat().st_mode & 0o777
            faults.check(mode & 0o077 == 0, f"the folder has the mode {mode:o}")
    finally:
        os.umask(old)
    return faults


@scenario("keys: 600 slow bodies starve nobody")
def _slow_bodies(folder: Path) -> list[str]:
    faults = Faults()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4_096), hard))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{"
    with serving(folder) as (sidecar, _), contextlib.ExitStack() as stack:
        for _ in range(600):
            connection = stack.enter_context(socket.socket())
            connection.bind(("127.0.0.2", 0))
            connection.connect((sidecar.host, sidecar.port))
            connection.sendall(head)
        for _ in range(10):
            reply, seconds = timed(sidecar.chat)
            faults.replied(reply, {200}, "beside slow bodies", seconds)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return sorted(set(faults))


# ---- answers ---------------------------------------------------------------------------------------------------------


@scenario("answers: a second one that comes while the connection waits reaches nobody")
def _late(folder: Path) -> list[str]:
    faults = Faults()
    with upstream() as hostile, sidecars.serving(folder, settings(hostile)) as sidecar:
        for way in (
            "plain",
            "stream",
            "schema",
            "schema live",
            "json",
            "tools",
            "responses",
            "completions",
            "embeddings",
        ):
            for play in ("two-answers-late", "two-answers", "two-valid-answers", "half-an-answer-more"):
                for number in range(3):
                    canary = f"cn{number:016x}"
                    with socket.create_connection((sidecar.host, sidecar.port), timeout=20) as connection:
                        connection.sendall(b"".join(s for s in ask(way, canary, play, SCHEMA) if isinstance(s, bytes)))
                        reply = http.client.HTTPResponse(connection)
                        reply.begin()
                        data = reply.read().decode()
                    faults.check(POISON not in data and "666" not in data, f"{way}, {play}: it holds another's answer")
                    faults.check(reply.status == 200 or number, f"{way}, {play}: answered {reply.status}")
                    time.sleep(0.1)
    return sorted(set(faults))


# ---- database --------------------------------------------------------------------------------------------------------


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
                _execute(place / "trace.db", harm)
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


# ---- signals and settings --------------------------------------------------------------------------------------------


@scenario("signals: SIGHUP on files that are none")
def _hangup(folder: Path) -> list[str]:
    faults = Faults()
    with serving(folder) as (sidecar, provider):
        config = folder / "guard.toml"
        good = config.read_text()
        for name, text in {
            "empty": "",
            "blank": "\n\n",
            "a comment": "# nothing\n",
            "no TOML": "[serve\n",
            "garbage": "\x00\x01\x02",
            "no models": "[serve]\nport = 0\n",
            "an unknown key": good + "nonsense = 1\n",
            "a wrong type": good.replace("retries = 0", 'retries = "x"', 1),
            "a huge one": "#" * 5_000_000,
            "endless seconds": good.replace(f"total_seconds = {TOTAL_S}", "total_seconds = inf", 1),
            "not UTF-8": "\udcff",
        }.items():
            said = len(sidecar.errors)
            config.write_text(text, errors="surrogateescape")
            sidecar.process.send_signal(signal.SIGHUP)
            until = time.monotonic() + 5
            while len(sidecar.errors) == said and time.monotonic() < until:
                time.sleep(0.05)
            faults.check(len(sidecar.errors) > said, f"{name}: nothing was said")
            faults.check("Traceback" not in "\n".join(sidecar.errors[said:]), f"{name}: {sidecar.errors[said:][:5]}")
            faults.replied(sidecar.chat(), {200}, f"{name}: a request")
        config.unlink()
        sidecar.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        faults.replied(sidecar.chat(), {200}, "absent: a request")
        config.write_text(good + sidecars.model(provider.url, "second"))
        sidecar.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 10
        while (reply := sidecar.chat(model="second")).status != 200 and time.monotonic() < until:
            time.sleep(0.1)
        faults.replied(reply, {200}, "a good file behind bad ones")
        faults.check(sidecar.end() == 0, "the process did not end with 0")
    return faults


@scenario("signals: a hundred SIGHUPs, and the last file counts")
def _hangups(folder: Path) -> list[str]:
    faults = Faults()
    with serving(folder) as (sidecar, provider):
        config = folder / "guard.toml"
        good = config.read_text()
        for number in range(100):
            written = config.with_suffix(".new")
            written.write_text(good + sidecars.model(provider.url, f"model{number}"))
            written.rename(config)
            sidecar.process.send_signal(signal.SIGHUP)
            if number % 10 == 0:
                faults.replied(sidecar.chat(), {200}, "between reloads")
        until = time.monotonic() + 20
        while (reply := sidecar.chat(model="model99")).status != 200 and time.monotonic() < until:
            time.sleep(0.1)
        faults.replied(reply, {200}, "the last file's model")
        time.sleep(1)
        faults.replied(sidecar.chat(model="model99"), {200}, "the last file's model, later")
        faults.replied(sidecar.chat(model="model98"), {404}, "the model of the file before")
        faults.check(sidecar.end() == 0, "the process did not end with 0")
    return faults


def _loaded(
    folder: Path, hostile: str, body: dict[str, Any], harm: Callable[[sidecars.Sidecar], None]
) -> tuple[Faults, int | None, float]:
    """Have 20 clients ask, do harm, and hold what was answered to the record."""
    faults, numbers, is_over = Faults(), [], threading.Event()
    with sidecars.serving(folder, settings(hostile)) as sidecar:

        def client() -> None:
            while not is_over.is_set():
                reply, _ = timed(lambda: sidecar.ask("POST", "/v1/chat/completions", body, timeout=10))
                if reply.status == 0:
                    return
                if reply.status == 200 and "x-guard-call" in reply.headers:
                    numbers.append(int(reply.headers["x-guard-call"]))
                elif reply.status not in (422, 503, 504, 502, 499):
                    faults.append(f"answered {reply.status} {reply.data[:80]!r}")

        threads = [threading.Thread(target=client) for _ in range(20)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        began = time.monotonic()
        harm(sidecar)
        try:
            code: int | None = sidecar.process.wait(20)
        except subprocess.TimeoutExpired:
            code = None
        seconds = time.monotonic() - began
        is_over.set()
        if code is None:
            sidecar.process.kill()
        for thread in threads:
            thread.join()
        said = "\n".join(sidecar.errors)
        faults.check("Traceback" not in said, f"tracebacks: {sidecar.errors[-20:]}")
        faults.check("nanobind" not in said, "it ended in lines of nanobind's")
    with sqlite3.connect(f"file:{folder / 'trace.db'}?mode=ro", uri=True) as trace:
        found = {row[0] for row in trace.execute("SELECT id FROM calls WHERE outcome = 'valid'")}
    trace.close()
    faults.check(set(numbers) <= found, f"LOST: {sorted(set(numbers) - found)[:5]} are not on record")
    return Faults(sorted(set(faults))), code, seconds


def _good(name: str) -> dict[str, Any]:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    return chat("cn" + "1" * 16, say('{"a": 1}'), response_format=schema if name == "schema" else None)


@scenario("signals: SIGTERM under load")
def _term(folder: Path) -> list[str]:
    with upstream() as hostile:
        faults, code, seconds = _loaded(
            folder, hostile, _good("schema"), lambda s: s.process.send_signal(signal.SIGTERM)
        )
    faults.check(code == 0, f"ended with {code} after {seconds:.1f} s")
    return faults


@scenario("signals: SIGTERM while a hostile schema is judged")
def _term_hostile(folder: Path) -> list[str]:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": tower(40, "anyOf")}}
    body = chat("cn" + "1" * 16, say('"x"'), response_format=schema)
    with upstream() as hostile:
        faults, code, seconds = _loaded(folder, hostile, body, lambda s: s.process.send_signal(signal.SIGTERM))
    faults.check(code == 0 and seconds < 12, f"ended with {code} after {seconds:.1f} s")
    return faults


@scenario("signals: SIGTERM while providers hang")
def _term_hang(folder: Path) -> list[str]:
    with upstream() as hostile:
        faults, code, seconds = _loaded(
            folder, hostile, chat("cn" + "1" * 16, "hang"), lambda s: s.process.send_signal(signal.SIGTERM)
        )
    faults.check(code == 0 and seconds < 12, f"ended with {code} after {seconds:.1f} s")
    return faults


@scenario("signals: kill -9 under load loses nothing that was answered")
def _kill(folder: Path) -> list[str]:
    with upstream() as hostile:
        return _loaded(folder, hostile, _good("plain"), lambda s: s.process.kill())[0]


@scenario("signals: two SIGTERMs end it at once")
def _twice(folder: Path) -> list[str]:
    def harm(sidecar: sidecars.Sidecar) -> None:
        sidecar.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        sidecar.process.send_signal(signal.SIGTERM)

    with upstream() as hostile:
        faults, code, seconds = _loaded(folder, hostile, chat("cn" + "1" * 16, "hang"), harm)
    faults.check(code is not None and seconds < 5, f"ended with {code} after {seconds:.1f} s")
    return faults


@scenario("settings: what is wrong is refused, and no secret is printed")
def _settings(folder: Path) -> list[str]:
    faults = Faults()
    for name, line in {
        "total_seconds inf": "total_seconds = inf",
        "total_seconds nan": "total_seconds = nan",
        "first_token_seconds inf": "first_token_seconds = inf",
        "breaker_seconds nan": "breaker_seconds = nan",
        "retries huge": "retries = 99999999999",
        "a password": 'base_url = "http://user:hush-hush@localhost:1/v1"',
        "a password that is half": 'base_url = "http://user:hush-hush@"',
        "a key": 'api_key = "hush-hush"',
        "an address that is none": 'base_url = "http://[hush-hush"',
    }.items():
        text = f'trace = "{folder / "t.db"}"\n[serve.models.m]\nmodel = "openai:x"\n{line}\n'
        (folder / "guard.toml").write_text(text)
        found = guard(folder, "serve", "--check", "--config", "guard.toml")
        faults.check(found.returncode == 2, f"{name}: ended with {found.returncode}")
        faults.check(
            "hush-hush" not in found.stdout + found.stderr, f"{name}: the secret is printed: {found.stderr[:200]}"
        )
        faults.check("Traceback" not in found.stderr, f"{name}: a traceback")
    for name in ("drain_seconds", "head_seconds", "body_seconds"):
        (folder / "guard.toml").write_text(f"[serve]\n{name} = inf\n[serve.models.m]\nmodel = 'openai:x'\n")
        found = guard(folder, "serve", "--check", "--config", "guard.toml", GUARD_TRACE=str(folder / "t.db"))
        faults.check(found.returncode == 2, f"{name} = inf: ended with {found.returncode}")
    return faults


# ---- files and terminals ---------------------------------------------------------------------------------------------


@scenario("terminals: what a model says moves no cursor")
def _terminals(folder: Path) -> list[str]:
    faults = Faults()
    texts = {
        "colours": "\x1b[31mred\x1b[0m",
        "title": "\x1b]0;owned\x07",
        "clear": "\x1b[2J\x1b[H",
        "8-bit": "\x9b2J\x9d0;x\x9c",
        "bell": "\x07\x07",
        "backspace": "rm -rf\x08\x08\x08ls",
        "return": "good\rbad",
        "direction": "\u202egnp.exe\u2066",
        "links": "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
        "paste": "\x1b[201~; rm -rf /",
        "delete": "\x7f",
        "markup": "[red]x[/red] [link=http://evil.example]y[/link] [/]",
        "NUL": "a\x00b",
        "device": "\x1b[c\x1b[6n\x1bP+q544e\x1b\\",
    }
    with serving(folder) as (sidecar, provider):
        for text in texts.values():
            for said in (text, json.dumps({"a": text})):
                provider.answers = [fake_server.Answer(said, model=f"served {text}", thinking=text)]
                sidecar.chat(text)
                sidecar.chat(text, response_format={"type": "json_object"})
                provider.answers = [fake_server.error(400, text)]
                sidecar.chat(text)
        sidecar.end()
        for line in [*sidecar.errors, *(folder / "access.jsonl").read_text().splitlines()]:
            faults.check(not CONTROL.search(line), f"in the log: {line[:120]!r}")
    (folder / "guard.toml").write_text(f'trace = "{folder / "trace.db"}"\n')
    with sqlite3.connect(folder / "trace.db") as trace:
        numbers = [row[0] for row in trace.execute("SELECT id FROM calls")]
    trace.close()
    asked = [
        ("list", "--limit", "200"),
        ("stats",),
        *(("show", str(number)) for number in numbers[:: max(1, len(numbers) // 8)]),
    ]
    for arguments in asked:
        for width in ("80", "200"):
            shown = guard(folder, "trace", *arguments, COLUMNS=width)
            faults.check(shown.returncode == 0, f"guard trace {arguments}: {shown.returncode} {shown.stderr[:200]}")
            found = CONTROL.search(shown.stdout.replace("\r\n", "\n") + shown.stderr)
            faults.check(not found, f"guard trace {arguments[0]} prints {found[0]!r}" if found else "")
            if arguments[0] != "show":
                break
    return sorted(set(faults))


@scenario("files: hostile GGUFs are refused")
def _gguf(folder: Path) -> list[str]:
    faults = Faults()

    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    def head(tensors: int, fields: int) -> bytes:
        return b"GGUF" + struct.pack("<IQQ", 3, tensors, fields)

    listed = text(b"a") + struct.pack("<I", 9)
    files = {
        "empty": b"",
        "a magic alone": b"GGUF",
        "another": b"GGML" * 100,
        "cut": head(0, 5),
        "2^50 fields": head(0, 2**50),
        "2^50 tensors": head(2**50, 0),
        "2^50 items": head(0, 1) + listed + struct.pack("<IQ", 4, 2**50),
        "2^50 empty lists": head(0, 1) + listed + struct.pack("<IQ", 9, 2**50) + b"\x00" * 5_000,
        "nested": head(0, 1) + listed + struct.pack("<IQ", 9, 1) * 50_000,
        "a text of 2^63": head(0, 1) + text(b"a") + struct.pack("<IQ", 8, 2**63),
        "an unknown type": head(0, 1) + text(b"a") + struct.pack("<I", 99) + b"\x00" * 64,
        "version 0": b"GGUF" + struct.pack("<IQQ", 0, 0, 0),
        "version 2^31": b"GGUF" + struct.pack("<IQQ", 2**31, 0, 0),
        "no fields": head(0, 0),
        "only an architecture": head(0, 1) + text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"),
        "a name that is no UTF-8": head(0, 1) + text(b"\xff\xfe") + struct.pack("<II", 4, 1),
        "an architecture that is a number": head(0, 1) + text(b"general.architecture") + struct.pack("<II", 4, 1),
    }
    program = (
        "import pathlib, resource, sys\n"
        "from guard.errors import GuardError\n"
        "from guard.models.local.gguf import convert\n"
        "resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))\n"
        "try: convert(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        "except GuardError as error: print(error)\n"
        "else: print('converted')\n"
    )
    for name, data in files.items():
        path = folder / "hostile.gguf"
        path.write_bytes(data)
        target = folder / "converted"
        target.mkdir(exist_ok=True)
        command = [sys.executable, "-c", program, str(path), str(target)]
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        except subprocess.TimeoutExpired:
            faults.append(f"{name}: no answer within 30 s")
            continue
        faults.check(found.returncode == 0, f"{name}: {found.stderr.strip().splitlines()[-1:]}")
        faults.check(found.stdout != "converted\n", f"{name}: it was converted")
    return faults
