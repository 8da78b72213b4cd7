"""Many clients at once, through a sidecar, on a provider that misbehaves: what came, what is on record, what it held.

Each client asks one thing after the other; a share of the provider's answers are faults, a share of what is asked is
hostile (attack/cases.py), of another model, whose provider does what the case says. What an honest request is answered
with holds the request's own name, so that an answer that reaches another is seen.

`python tests/soak.py --clients 200 --seconds 600` is the long run: after it, a `kill -9` under load, and a PostgreSQL
that dies under load and comes back. tests/guard/sidecar/test_soak.py is a short one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import json
import random
import re
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import postgres
import sidecars
import sqlalchemy as sa
from attack.client import exchange
from attack.judge import judged
from attack.run import chosen, memory, settings, upstream

from guard.testing import fake_server

MODEL = "soaked"
NAME = r"soak-\d+-"  #: Of a request.
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
#: Two hundred clients on two processors take turns: some say nothing for seconds, which a sidecar would take amiss.
#: How long a case may take is the attack's to say.
SLACK_S = 60.0
#: Faults that leave whole words, which plain text may be: a provider's words are its own business.
WORDED = ("wrong type", "extra key", "prose around", "empty answer")
#: Seconds for which the sidecar waits for a head or a body, beyond those of the attack; and a client, for an answer.
WAITS_S, PATIENCE_S = 28.0, 45.0
GROWTH, SPARE = 1.1, 30_000_000  #: Memory is flat where the last third holds so much more than the middle, and bytes.
WARM_S = 60.0  #: A run that is shorter tells nothing of memory: caches fill.
REFUSED = ("busy", "draining", "trace_unavailable")  #: Codes of what has no record.


@dataclass
class Outcome:
    """What a run came to."""

    answered: int = 0  # honest requests
    recorded: int = 0  # of these, those whose record agrees
    unrecorded: int = 0  # of these, those that were refused because nothing could be put on record, or taken on
    invalid: list[Any] = field(default_factory=list)  # successes that were none
    crossed: list[Any] = field(default_factory=list)  # answers that hold another request's name
    statuses: Counter[int] = field(default_factory=Counter)
    hostile: int = 0  # hostile requests
    faulty: dict[str, list[str]] = field(default_factory=dict)  # hostile case → what did not hold
    memory: list[int] = field(default_factory=list)  # bytes, at equal distances
    is_alive: bool = False
    log: list[str] = field(default_factory=list)  # of the sidecar, where it holds tracebacks
    code: int | None = 0  # with which it ended
    seconds: float = 0.0

    @property
    def is_flat(self) -> bool:
        """Whether the last third of the run held no more than the middle; a short run is one that warms up."""
        if self.seconds < WARM_S:
            return True
        third = len(self.memory) // 3
        middle, last = (statistics.median(self.memory[at : at + third]) for at in (third, 2 * third))
        return last <= middle * GROWTH + SPARE

    @property
    def breaches(self) -> list[str]:
        """What did not hold, in words."""
        lost = self.answered - self.recorded - self.unrecorded
        held = {
            f"{len(self.invalid)} invalid": not self.invalid,
            f"{len(self.crossed)} crossed": not self.crossed,
            f"{lost} lost": lost == 0,
            f"hostile requests at fault: {self.faulty}": not self.faulty,
            "memory is not flat": self.is_flat,
            "the process ended": self.is_alive,
            f"after SIGTERM it ended with {self.code}": self.code == 0,
            f"tracebacks: {self.log}": not self.log,
        }
        return [words for words, holds in held.items() if not holds]


def good(name: str) -> str:
    """Return the good answer to a request."""
    return json.dumps({"vendor": name, "total": 3})


def misbehaving(share: float, seed: int) -> Callable[[fake_server.ClientRequest], fake_server.Answer]:
    """Return a provider's answers, of which a share is one of the fault matrix."""
    draws, faults = random.Random(seed), list(fake_server.FAULTS.values())

    def answer(request: fake_server.ClientRequest) -> fake_server.Answer:
        named = re.search(NAME, json.dumps(request.body))
        whole = fake_server.Answer(good(named[0] if named else "nobody"))
        return draws.choice(faults)(whole) if draws.random() < share else whole

    return answer


class Soak:
    """One run; of one event loop."""

    def __init__(self, clients: int, seconds: float, hostile: float, seed: int) -> None:
        self.outcome = Outcome()
        self.is_killed = False  # by the run itself
        self.told: dict[int, bool] = {}  # number of a record → whether it was told as valid
        self._clients, self._seconds, self._hostile = clients, seconds, hostile
        self._numbers, self._draws = itertools.count(), random.Random(seed)
        # What takes seconds of a client by itself, or megabytes, is the attack's: here it would be most of the load.
        self._cases = [case for case in chosen() if not re.search(r"slow|MB|megabyte|10 MB|fifty|2,000", case.name)]

    async def run(self, sidecar: sidecars.Sidecar) -> None:
        """Have clients ask until the time is over, or the process is gone."""
        started = time.monotonic()
        watching = asyncio.create_task(self._watch(sidecar))
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            await asyncio.gather(*(self._client(sidecar, session, started) for _ in range(self._clients)))
        watching.cancel()
        self.outcome.seconds += time.monotonic() - started
        self.outcome.is_alive = sidecar.process.poll() is None

    async def _client(self, sidecar: sidecars.Sidecar, session: aiohttp.ClientSession, started: float) -> None:
        while time.monotonic() < started + self._seconds and sidecar.process.poll() is None:
            try:
                if self._draws.random() < self._hostile:
                    await self._attack(sidecar)
                else:
                    await self._ask(sidecar, session)
            except (aiohttp.ClientError, OSError):
                if sidecar.process.poll() is None:
                    self.outcome.statuses[0] += 1

    async def _ask(self, sidecar: sidecars.Sidecar, session: aiohttp.ClientSession) -> None:
        number, outcome = next(self._numbers), self.outcome
        kind, name = KINDS[number % len(KINDS)], f"soak-{number}-"
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"Read {name}."}], **kind}
        async with session.post(f"{sidecar.url}/chat/completions", json=body) as response:
            reply = sidecars.Reply(response.status, dict(response.headers), await response.read())
        outcome.answered += 1
        outcome.statuses[reply.status] += 1
        if {*re.findall(NAME, reply.data.decode(errors="replace"))} - {name}:
            outcome.crossed.append((name, reply))
        elif not is_honest(reply, kind, name):
            outcome.invalid.append((kind, reply))
        call, code = told_by(reply)
        if call is not None:
            self.told[call] = not code
        elif code in REFUSED:
            outcome.unrecorded += 1

    async def _attack(self, sidecar: sidecars.Sidecar) -> None:
        case, canary = self._draws.choice(self._cases), f"cn{secrets.token_hex(8)}"
        steps = case.steps(canary)
        found = await exchange(
            sidecar.host, sidecar.port, steps, answers=case.answers, method=case.method, patience=PATIENCE_S
        )
        sent = b"".join(step for step in steps if isinstance(step, bytes))[:10_000].decode("latin-1")
        verdict = judged(case, canary, sent, found, slack=SLACK_S)
        self.outcome.hostile += 1
        if verdict.faults and not self.is_killed and not verdict.outcome.startswith("503"):
            self.outcome.faulty[case.id] = verdict.faults

    async def _watch(self, sidecar: sidecars.Sidecar) -> None:
        while True:
            self.outcome.memory.append(memory(sidecar.process.pid)[1])
            await asyncio.sleep(max(0.25, self._seconds / 60))

    def end(self, sidecar: sidecars.Sidecar) -> None:
        """End the sidecar, in order."""
        self.outcome.code = sidecar.end()
        if any("Traceback" in line for line in sidecar.errors):
            at = next(number for number, line in enumerate(sidecar.errors) if "Traceback" in line)
            self.outcome.log = sidecar.errors[max(0, at - 1) : at + 60]

    def hold_to(self, place: str) -> None:
        """Compare what was told with what is on record."""
        engine = sa.create_engine(
            place.replace("postgresql:", "postgresql+psycopg:") if "://" in place else f"sqlite:///{place}"
        )
        with engine.connect() as trace:
            rows = dict(trace.execute(sa.text("SELECT id, outcome FROM calls")).all())
        engine.dispose()
        refusals = ("valid", "Refused", "ContentFiltered")  # a refusal is an answer of the protocol
        self.outcome.recorded = sum(
            number in rows and (rows[number] in refusals if is_valid else rows[number] != "valid")
            for number, is_valid in self.told.items()
        )


def told_by(reply: sidecars.Reply) -> tuple[int | None, str]:
    """Return the number of the record that a reply names, and the code of its error; "" where it is none."""
    headers = {name.lower(): value for name, value in reply.headers.items()}
    if reply.status != 200:
        return reply.json["error"].get("call"), str(reply.json["error"]["code"])
    if headers["content-type"].startswith("text/event-stream"):
        if isinstance(last := reply.events[-1], dict) and "error" in last:
            return last["error"].get("call"), str(last["error"]["code"])
        for line in reply.data.decode().split("\n"):
            if line.startswith(": {"):
                headers |= json.loads(line[2:])
    number = headers.get("x-guard-call")
    return (int(number) if number else None), ""


def is_honest(reply: sidecars.Reply, kind: dict[str, Any], name: str) -> bool:
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
            whole = fake_server.Answer(good(name))
            return message["content"] in {whole.text, *(fake_server.FAULTS[fault](whole).text for fault in WORDED)}
    except (ValueError, KeyError, IndexError, TypeError, jsonschema.ValidationError):
        return False
    return True


@contextlib.contextmanager
def started(folder: Path, share: float, seed: int, place: str = "") -> Any:
    """Start both providers and a sidecar."""
    with fake_server.Server(misbehaving(share, seed), keeps_alive=True) as provider, upstream() as hostile:
        toml = "in_flight = 2000\n" + settings(hostile, slack=WAITS_S)
        toml += sidecars.model(
            provider.url, MODEL, first_token_seconds=2, total_seconds=4, breaker_failures=1000, concurrency=500
        )
        with sidecars.serving(folder, toml, env={"GUARD_TRACE": place} if place else {}) as sidecar:
            yield sidecar


def run(
    folder: Path, clients: int, seconds: float, share: float = 0.2, hostile: float = 0.05, seed: int = 1
) -> Outcome:
    """Start providers and a sidecar, and have them soaked."""
    soak = Soak(clients, seconds, hostile, seed)
    with started(folder, share, seed) as sidecar:
        asyncio.run(soak.run(sidecar))
        soak.hold_to(str(sidecar.trace))
        soak.end(sidecar)
    return soak.outcome


def killed(folder: Path, clients: int, seconds: float) -> Outcome:
    """Kill the sidecar under load, and compare what it had answered with what is on record."""
    soak = Soak(clients, 2 * seconds, 0.05, 2)

    async def both(sidecar: sidecars.Sidecar) -> None:
        def kill() -> None:
            soak.is_killed = True
            sidecar.process.kill()

        asyncio.get_running_loop().call_later(seconds, kill)
        await soak.run(sidecar)

    with started(folder, 0.2, 2) as sidecar:
        asyncio.run(both(sidecar))
        soak.hold_to(str(sidecar.trace))
    soak.outcome.is_alive = True  # it was not to be
    return soak.outcome


def orphaned(folder: Path, clients: int, seconds: float) -> Outcome:
    """Have the sidecar's PostgreSQL die under load and come back; nothing that was answered may be lost."""
    soak = Soak(clients, 3 * seconds, 0.05, 3)
    binaries = postgres.binaries()
    assert binaries is not None, postgres.INSTALL

    async def both(sidecar: sidecars.Sidecar, server: postgres.Server) -> None:
        soaking = asyncio.create_task(soak.run(sidecar))
        await asyncio.sleep(seconds)
        await asyncio.to_thread(server.die)
        await asyncio.sleep(seconds / 2)
        await asyncio.to_thread(server.rise)
        await soaking

    with postgres.running(binaries) as server:
        place = server.place()
        with started(folder, 0.2, 3, place) as sidecar:
            asyncio.run(both(sidecar, server))
            soak.hold_to(place)
            assert sidecar.chat(model=MODEL).status != 503
            soak.end(sidecar)
    return soak.outcome


def shown(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as it is printed."""
    found = dataclasses.asdict(outcome) | {"statuses": dict(outcome.statuses)}
    for name in ("invalid", "crossed"):
        found[name] = len(getattr(outcome, name))
    found["memory"] = [round(size / 1e6, 1) for size in outcome.memory]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run for long, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--hostile", type=float, default=0.05, help="the share of hostile requests")
    parser.add_argument("--faults", type=float, default=0.2, help="the share of faults among a provider's answers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("soak", "kill", "postgres"))
    args = parser.parse_args(arguments)
    short = min(10.0, args.seconds)
    phases: dict[str, Callable[[Path], Outcome]] = {
        "soak": lambda folder: run(folder, args.clients, args.seconds, args.faults, args.hostile, args.seed),
        "kill": lambda folder: killed(folder, args.clients, short),
        "postgres": lambda folder: orphaned(folder, args.clients, short),
    }
    code = 0
    for name, phase in phases.items():
        if args.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                outcome = phase(Path(folder))
            print(json.dumps({"phase": name, **shown(outcome)}), flush=True)
            for breach in outcome.breaches:
                code = 1
                print(f"BREACH in {name}: {breach[:2000]}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
