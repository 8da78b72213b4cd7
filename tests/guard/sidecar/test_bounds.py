"""What a stranger's request costs is a stranger's: while hostile ones are at work, others are answered as before.

`python tests/guard/sidecar/test_bounds.py SECONDS` runs the same for longer, and prints what it measures.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import multiprocessing
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sidecars import Sidecar, model, serving

from guard.testing import fake_server

TOTAL_SECONDS = 6.0
CLIENTS = 8
#: Answers 1 MB long that are not JSON, and take seconds of Python to look into.
BROKEN = ["[" + '"a" "b",' * 100_000, "{" + "a:1," * 250_000, "{" * 1_000_000, '{"a": "' + "b'c\"" * 200_000]


def tower(word: str, height: int) -> dict[str, Any]:
    """Return schemas each of which refers to the next twice."""
    levels = {f"d{at}": {word: [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(height)}
    return {"$ref": "#/$defs/d0", "$defs": {**levels, f"d{height}": {"type": "integer"}}}


def tangle(word: str) -> dict[str, Any]:
    """Return a schema that looks twice at each item, and so 2^n times at one that is nested n deep."""
    items = {"items": {"$ref": "#/$defs/n"}}
    return {"$ref": "#/$defs/n", "$defs": {"n": {word: [items, {**items, "maxItems": 9}]}}}


def hostile() -> list[tuple[str, bytes, frozenset[int]]]:
    """Return bodies, each with a name and the statuses that are right."""
    towers = [
        (f"{word} {height}", tower(word, height), '"x"') for word in ("anyOf", "allOf", "oneOf") for height in (16, 40)
    ]
    tangles = [(f"{word} nested", tangle(word), "[" * 40 + '"x"' + "]" * 40) for word in ("anyOf", "allOf")]
    patterns = [("pattern", {"type": "string", "not": {"pattern": "^(a|a)*(?!b)$"}}, json.dumps("a" * 60 + "b"))]
    text = "x" * 9_900_000
    return [
        *(
            (name, asked(schema, answer), frozenset({200, 400, 422, 504}))
            for name, schema, answer in towers + tangles + patterns
        ),
        *(("broken", asked({"type": "object"}, answer), frozenset({422, 504})) for answer in BROKEN),
        # 503: their records take long to make, and on a busy machine longer than the second that is left for it.
        ("text", plain(text), frozenset({200, 503, 504})),
        ("marks", plain("://a" * 2_400_000), frozenset({200, 503, 504})),
        ("values", b'{"model":"m","messages":[' + b"[]," * 3_000_000 + b"[]]}", frozenset({413})),
        ("broken body", b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 9_900_000, frozenset({400})),
        ("large schema", asked({"enum": ["y" * 90] * 100_000}, "1"), frozenset({400, 413})),
        ("deep", b'{"model":"m","messages":' + b"[" * 5_000_000, frozenset({400, 413})),
    ]


def asked(schema: Any, answer: str) -> bytes:
    """Return a request for a value of a schema, to a provider that answers with what it is asked."""
    named = {"name": "n", "schema": schema}
    return json.dumps(
        {
            "model": "m",
            "messages": [{"role": "user", "content": answer}],
            "response_format": {"type": "json_schema", "json_schema": named},
        }
    ).encode()


def plain(text: str) -> bytes:
    """Return a request without a schema."""
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()


@dataclass
class Measured:
    """What came of it."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: Counter[str] = field(default_factory=Counter)  # in milliseconds
    live: list[float] = field(default_factory=list)
    chats: list[float] = field(default_factory=list)
    memory: int = 0


def echo(request: fake_server.ClientRequest) -> str:
    """Answer with what is asked; shortly where that is no answer of a hostile request."""
    content = request.body["messages"][-1]["content"]
    return content if len(content) < 2_000_000 else "Hello."


def provide(told: Any) -> None:
    """Be a provider, in a process of its own: what it takes is not to be measured."""
    with fake_server.Server(echo, keeps_alive=True) as provider:
        told.send(provider.url)
        told.recv()


def attack(told: Any, host: str, port: int, seconds: float) -> None:
    """Be some hostile clients, in a process of their own."""
    found, end, lock = Measured(), time.monotonic() + seconds, threading.Lock()
    turns = itertools.cycle(hostile())

    def client() -> None:
        while time.monotonic() < end:
            with lock:
                name, body, right = next(turns)
            began = time.monotonic()
            connection = http.client.HTTPConnection(host, port, timeout=120)
            with contextlib.closing(connection):
                connection.request("POST", "/v1/chat/completions", body)
                answer = connection.getresponse()
                data = answer.read()
            took = int((time.monotonic() - began) * 1000)
            with lock:
                found.statuses[name, answer.status] += 1
                found.slowest[name] = max(found.slowest[name], took)
                if answer.status not in right:
                    found.wrong.append(f"{name}: {answer.status} {data[:200]!r}")

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.send(found)


def run(folder: Path, seconds: float) -> Measured:
    """Start a sidecar and attack it, while plain requests are sent beside."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    provider = context.Process(target=provide, args=(theirs,))
    provider.start()
    toml = model(ours.recv(), total_seconds=TOTAL_SECONDS, transport_retries=0, breaker_failures=10_000)
    with serving(folder, toml) as sidecar:
        told, telling = context.Pipe()
        attacker = context.Process(target=attack, args=(telling, sidecar.host, sidecar.port, seconds))
        attacker.start()
        live, chats, memory = stand_by(sidecar, attacker)
        found: Measured = told.recv()
        attacker.join()
        assert sidecar.end() == 0, "SIGTERM ends it"
    ours.send(None)
    provider.join()
    return replace(found, live=live, chats=chats, memory=memory)


def stand_by(sidecar: Sidecar, attacker: Any) -> tuple[list[float], list[float], int]:
    """Ask as if nothing were, until the attack is over; returns the times, and the most memory there was."""
    live: list[float] = []
    chats: list[float] = []
    memory = 0
    while attacker.is_alive():
        for times, ask in ((live, lambda: sidecar.ask("GET", "/health/live")), (chats, sidecar.chat)):
            began = time.monotonic()
            assert ask().status == 200
            times.append(time.monotonic() - began)
        memory = max(memory, resident(sidecar.process.pid))
        time.sleep(0.01)
    return live, chats, memory


def resident(process: int) -> int:
    """Return the resident bytes of a process and its children."""
    total = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{child}/statm").read_text().split()[1]) * resource.getpagesize()
    return total


def percentile(times: list[float], share: float) -> float:
    """Return the time, in milliseconds, within which that share was answered."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000


def test_who_asks_beside_hostile_requests_is_answered(tmp_path: Path) -> None:
    """The bounds are wide, for machines that do much else; one such check used to hold all up for good."""
    found = run(tmp_path, 10.0)
    assert found.wrong == []
    assert len({name for name, _ in found.statuses}) > 8
    assert max(found.slowest.values()) < (TOTAL_SECONDS + 10) * 1000
    assert len(found.live) > 20
    assert len(found.chats) > 20
    assert percentile(found.live, 0.5) < 1000
    assert max(found.live) < 5.0
    assert found.memory < 1_500_000_000


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        measured = run(Path(name), float(sys.argv[1]))
    for (kind, status), count in sorted(measured.statuses.items()):
        print(f"{kind:14} {status} {count:4}  slowest {measured.slowest[kind]:6} ms")
    for kind, times in (("/health/live", measured.live), ("plain", measured.chats)):
        figures = "  ".join(f"p{share * 100:g} {percentile(times, share):.1f} ms" for share in (0.5, 0.9, 0.99, 1.0))
        print(f"{kind:14} {len(times):5}  {figures}")
    print(f"memory {measured.memory / 1e6:.0f} MB", *measured.wrong[:5], sep="\n")
