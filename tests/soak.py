"""Many clients at once, through a sidecar, on a provider that misbehaves: what came, what is on record, what it held.

`python tests/soak.py --clients 200 --seconds 60` is the long run; tests/guard/sidecar/test_soak.py is a short one.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import json
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import sidecars

from guard.testing import servers

GOOD = '{"vendor": "ACME", "total": 3}'
SCHEMA = {
    "type": "object",
    "properties": {"vendor": {"type": "string"}, "total": {"type": "number"}},
    "required": ["vendor", "total"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "read", "strict": True, "parameters": SCHEMA}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "invoice", "schema": SCHEMA}}
#: Kinds of requests, in turn.
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"stream": True},
    {"response_format": FORMAT},
    {"response_format": FORMAT, "stream": True},
    {"tools": [TOOL], "tool_choice": "required"},
)
#: What plain text may say: a provider's words are its own business, if they are whole.
SAID = {
    fault(servers.Answer(GOOD)).text
    for name, fault in servers.FAULTS.items()
    if name in ("wrong type", "extra key", "prose around", "empty answer")
} | {GOOD}


@dataclass
class Outcome:
    """What a run came to."""

    answered: int = 0
    invalid: list[Any] = field(default_factory=list)  # successes that were none
    statuses: Counter[int] = field(default_factory=Counter)
    recorded: int = 0
    memory: list[int] = field(default_factory=list)  # resident bytes, at equal distances
    is_alive: bool = False
    seconds: float = 0.0


def misbehaving(share: float, seed: int) -> Callable[[servers.Request], servers.Answer]:
    """Return a provider's answers, of which a share is one of the fault matrix."""
    draws, faults = random.Random(seed), list(servers.FAULTS.values())

    def answer(_: servers.Request) -> servers.Answer:
        good = servers.Answer(GOOD)
        return draws.choice(faults)(good) if draws.random() < share else good

    return answer


async def soak(sidecar: sidecars.Sidecar, clients: int, seconds: float) -> Outcome:
    """Have clients ask, one request after another, until the time is over."""
    outcome, end, numbers = Outcome(), time.monotonic() + seconds, itertools.count()
    started = time.monotonic()

    async def client(session: aiohttp.ClientSession) -> None:
        while time.monotonic() < end:
            kind = KINDS[next(numbers) % len(KINDS)]
            body = {"model": "m", "messages": [{"role": "user", "content": "Read."}], **kind}
            async with session.post(f"{sidecar.url}/chat/completions", json=body) as response:
                reply = sidecars.Reply(response.status, dict(response.headers), await response.read())
            outcome.answered += 1
            outcome.statuses[reply.status] += 1
            if not is_honest(reply, kind):
                outcome.invalid.append((kind, reply))

    async def watch() -> None:
        while True:
            outcome.memory.append(memory(sidecar.process.pid))
            await asyncio.sleep(seconds / 12)

    watching = asyncio.create_task(watch())
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    watching.cancel()
    outcome.seconds = time.monotonic() - started
    outcome.is_alive = sidecar.process.poll() is None
    with sqlite3.connect(f"file:{sidecar.trace}?mode=ro", uri=True) as trace:
        (outcome.recorded,) = trace.execute("SELECT count(*) FROM calls").fetchone()
    trace.close()
    return outcome


def is_honest(reply: sidecars.Reply, kind: dict[str, Any]) -> bool:
    """Whether a reply is valid, or says that it is not."""
    try:
        if reply.status != 200:
            return bool(reply.json["error"]["message"])
        if not kind.get("stream"):
            choice = reply.json["choices"][0]
            message, finish = choice["message"], choice["finish_reason"]
        else:
            if "error" in reply.events[-1]:
                return True
            if reply.events[-1] != "[DONE]":
                return False
            choices = [choice for event in reply.events[:-1] for choice in event["choices"]]
            message = {name: "".join(c["delta"].get(name) or "" for c in choices) for name in ("content", "refusal")}
            finish = choices[-1]["finish_reason"]
        if message.get("refusal") or finish in ("length", "content_filter"):
            return "response_format" not in kind or not message.get("content")
        if "response_format" in kind:
            jsonschema.validate(json.loads(message["content"]), SCHEMA)
        elif "tools" in kind:
            for call in message["tool_calls"]:
                jsonschema.validate(json.loads(call["function"]["arguments"]), SCHEMA)
        else:
            return message["content"] in SAID
    except (ValueError, KeyError, IndexError, TypeError, jsonschema.ValidationError):
        return False
    return True


def memory(pid: int) -> int:
    """Return the resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def run(folder: Path, clients: int, seconds: float, share: float = 0.2, seed: int = 1) -> Outcome:
    """Start a provider and a sidecar, and have them soaked."""
    with servers.Server(misbehaving(share, seed), keeps_alive=True) as provider:
        toml = sidecars.model(
            provider.url, first_token_seconds=2, total_seconds=4, breaker_failures=1000, concurrency=500
        )
        with sidecars.serving(folder, toml) as sidecar:
            outcome = asyncio.run(soak(sidecar, clients, seconds))
            assert sidecar.end() == 0
            assert not any("Traceback" in line for line in sidecar.errors), sidecar.errors[-30:]
    return outcome


def main() -> int:
    """Run for long, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), arguments.clients, arguments.seconds)
    shown = dataclasses.asdict(outcome) | {"invalid": len(outcome.invalid), "statuses": dict(outcome.statuses)}
    shown["memory"] = [round(size / 1e6, 1) for size in outcome.memory]
    print(json.dumps(shown))
    return int(bool(outcome.invalid) or outcome.recorded != outcome.answered or not outcome.is_alive)


if __name__ == "__main__":
    sys.exit(main())
