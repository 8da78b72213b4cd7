"""Scenarios of signals and settings: reloading, draining, dying, and files that are wrong."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sidecars
from attack.cases import TOTAL_S, chat, say
from attack.run import settings, upstream
from attack.scenarios.setting import Faults, guard, scenario, serving, timed
from attack.schemas import tower


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
