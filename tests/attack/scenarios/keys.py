"""Scenarios of keys: who is let in, and what becomes of that when the trace's file is harmed."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import sqlite3
import time
from pathlib import Path

from attack.run import memory
from attack.scenarios.setting import SOON_S, Faults, execute, key, scenario, serving, timed

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
    key_id, _, secret = text.removeprefix("sk-guard-").partition("-")  # of which the second may hold more of these
    wrong: dict[str, dict[str, str]] = {
        "none": {},
        "empty": {"Authorization": ""},
        "a scheme alone": {"Authorization": "Bearer"},
        "another scheme": {"Authorization": f"Basic {text}"},
        "cut": {"Authorization": f"Bearer {text[:-1]}"},
        "longer": {"Authorization": f"Bearer {text}x"},
        "in capitals": {"Authorization": f"Bearer {text.upper()}"},
        "its id": {"Authorization": f"Bearer sk-guard-{key_id}"},
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
        faults.check(secret not in said, "the key is in the log")
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
            "keys deleted": lambda path: execute(path, "DELETE FROM keys"),
            "table dropped": lambda path: execute(path, "DROP TABLE keys"),
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
