"""Scenarios of what comes from outside: late answers, texts for terminals, files of weights."""

from __future__ import annotations

import http.client
import json
import re
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path

import sidecars
from attack.cases import ask
from attack.plays import POISON, SCHEMA
from attack.run import settings, upstream
from attack.scenarios.setting import CONTROL, Faults, guard, scenario, serving

from guard.testing import fake_server

# Another's answer: its text, or its number, which no hexadecimal id and no time holds like this.
OTHER = re.compile(rf"{re.escape(POISON)}|(?<![\w.])666(?![\w.])")


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
                    found = OTHER.search(data)
                    faults.check(not found, f"{way}, {play}: it holds another's answer: {data[:500]!r}")
                    faults.check(reply.status == 200 or number, f"{way}, {play}: answered {reply.status}")
                    time.sleep(0.1)
    return sorted(set(faults))


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
