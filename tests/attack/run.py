"""The attack: a sidecar as an operator starts it, a hostile provider, clients that send case after case, a bystander.

All four are processes of their own, so that none is slow because another is. A watch looks after the sidecar: where it
dies, stands still or takes too much memory, it is ended and started again, and each case that was under way is tried
once more alone, so that the report names the one that did it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import sidecars
from attack import answers, bodies, grounded, http, pages, schemas
from attack.cases import BODY_S, CASES, FIRST_TOKEN_S, HEAD_S, MODEL, TOTAL_S, Case
from attack.client import exchange
from attack.judge import Verdict, check_record, judged

CLIENTS = 8
STILL_S = 8.0  #: The process stands still where /health/live said nothing for so long.
GOAL_S = 0.05  #: p99 of a bystander, beyond what the same question costs without a sidecar.
GOAL_BYTES = 1_000_000_000
MOST_BYTES = 3_000_000_000  #: Beyond which the machine's other users would suffer.
LOOK_S = 0.2  #: Between two looks at memory.
FAMILIES = (http, bodies, schemas, grounded, answers, pages)  #: Imported, they fill CASES.
TESTS = Path(__file__).parents[1]


@dataclass
class Outcome:
    """What a run came to."""

    verdicts: list[Verdict] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)  # of the whole, not of one case
    scenarios: dict[str, list[str]] = field(default_factory=dict)  # name → faults
    bystander: dict[str, dict[str, Any]] = field(default_factory=dict)
    holds: list[dict[str, Any]] = field(default_factory=list)  # of each life, where they were watched: attack/holds.py
    rss_peak: int = 0  # bytes, of the process
    all_peak: int = 0  # bytes, with its children, what they share counted once
    lives: int = 0
    seconds: float = 0.0

    @property
    def faulty(self) -> list[Verdict]:
        """Cases that ended as they must not."""
        return [verdict for verdict in self.verdicts if verdict.faults]

    @property
    def is_good(self) -> bool:
        """Whether all held."""
        return not (self.faulty or self.breaches or any(self.scenarios.values()))

    def report(self) -> dict[str, Any]:
        """Return what goes into the file."""
        families: dict[str, Counter[str]] = {}
        for verdict in self.verdicts:
            count = families.setdefault(verdict.case.family, Counter())
            count.update(("tried", *(["faulty"] if verdict.faults else ())))
        return {
            "tried": len(self.verdicts),
            "faulty": len(self.faulty),
            "families": {name: dict(count) for name, count in sorted(families.items())},
            "answers": dict(Counter(verdict.outcome for verdict in self.verdicts).most_common()),
            "slowest": [
                {"case": v.case.id, "seconds": round(v.exchange.seconds, 2), "outcome": v.outcome}
                for v in sorted(self.verdicts, key=_seconds, reverse=True)[:20]
                if v.exchange is not None
            ],
            "bystander": self.bystander,
            "holds": self.holds,
            "rss_peak_mb": round(self.rss_peak / 1e6),
            "all_peak_mb": round(self.all_peak / 1e6),
            "lives": self.lives,
            "seconds": round(self.seconds, 1),
            "breaches": self.breaches,
            "scenarios": self.scenarios,
            "faults": {v.case.id: v.faults for v in self.faulty},
        }


def _seconds(verdict: Verdict) -> float:
    return verdict.exchange.seconds if verdict.exchange else 0.0


def chosen(families: Sequence[str] = (), most: int | None = None, pattern: str = "") -> list[Case]:
    """Return cases in an order that mixes the families; `most` of each family, the same ones every time."""
    draws = random.Random(1)
    found: list[Case] = []
    names = sorted({case.family for case in CASES.values()})
    for family in names:
        if families and family not in families:
            continue
        those = [case for case in CASES.values() if case.family == family and pattern in case.id]
        draws.shuffle(those)
        found += those[:most]
    draws.shuffle(found)
    return found


# ---- processes -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def helper(module: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a module of this folder; gives it and the line that it prints first."""
    command = [sys.executable, "-m", f"attack.{module}", *arguments]
    process = subprocess.Popen(command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(20)
        process.stdin.close()
        process.stdout.close()


@contextlib.contextmanager
def upstream() -> Iterator[str]:
    """Start the hostile provider; gives its address."""
    with helper("upstream", "0") as (_, port):
        yield f"http://127.0.0.1:{port}/v1"


def settings(hostile: str, good: str = "", slack: float = 0.0) -> str:
    """Return the settings of a sidecar under attack, which waits so many seconds longer for what clients send."""
    model = sidecars.model(
        hostile,
        MODEL,
        retries=0,
        transport_retries=0,
        total_seconds=TOTAL_S,
        first_token_seconds=FIRST_TOKEN_S,
        breaker_failures=1_000_000,
    )
    head = f"head_seconds = {HEAD_S + slack}\nbody_seconds = {BODY_S + slack}\n"
    head += "keep_alive_seconds = 5\ndrain_seconds = 5\n"
    return head + model + (sidecars.model(f"{good}/v1", "good") if good else "")


def memory(pid: int) -> tuple[int, int]:
    """Return the resident bytes of a process, and those of it and all its children, the shared ones once."""
    own, every = 0, 0
    for number, each in enumerate(_family(pid)):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
            told = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
            every += told.get("Pss:", 0)
            own = told.get("Rss:", 0) if number == 0 else own
    return own, every


def _family(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _family(int(child))


# ---- the attack ------------------------------------------------------------------------------------------------------


class Attack:
    """One run over cases."""

    def __init__(
        self, cases: Sequence[Case], folder: Path, slack: float, clients: int, *, says: bool, watches: bool
    ) -> None:
        self.outcome = Outcome()
        self._watches = watches
        self._waiting = deque(cases)
        self._suspects: deque[Case] = deque()
        self._folder, self._slack, self._clients, self._says = folder, slack, clients, says
        self._broken = ""  # why the sidecar must be started again

    async def run(self, hostile: str, good: str, bystander: Any) -> None:
        """Try all cases; the bystander's process is told where to ask."""
        began = time.monotonic()
        while self._waiting or self._suspects:
            self.outcome.lives += 1
            folder = self._folder / f"life{self.outcome.lives}"
            folder.mkdir(parents=True)
            holds = folder / "holds.json"
            program = ("attack.holds", str(holds)) if self._watches else ("guard",)
            serving = sidecars.serving(folder, settings(hostile, good), program=program)
            sidecar = await asyncio.to_thread(serving.__enter__)
            print(f"http://{sidecar.host}:{sidecar.port}", file=bystander.stdin, flush=True)
            told: list[Verdict] = []
            try:
                await self._life(sidecar, told)
            finally:
                print("", file=bystander.stdin, flush=True)
                await asyncio.sleep(0.3)  # until it has heard of it
                if self._broken:
                    sidecar.process.kill()
                    sidecar.process.wait()
                else:
                    self._end(sidecar)
                await asyncio.to_thread(serving.__exit__, None, None, None)
            if holds.exists():
                self.outcome.holds.append(json.loads(holds.read_text()))
            self._broken = ""
            check_record(sidecar.trace, told)
            self.outcome.verdicts += told
        self.outcome.seconds = time.monotonic() - began

    def _end(self, sidecar: sidecars.Sidecar) -> None:
        try:
            code = sidecar.end()
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            self.outcome.breaches.append(f"after SIGTERM the sidecar ended with {code}: {sidecar.errors[-3:]}")
        if traces := [line for line in sidecar.errors if "Traceback" in line or "nanobind" in line]:
            at = sidecar.errors.index(traces[0])
            self.outcome.breaches.append(f"{len(traces)} tracebacks in the log: {sidecar.errors[at - 1 : at + 40]}")

    async def _life(self, sidecar: sidecars.Sidecar, told: list[Verdict]) -> None:
        is_alone = not self._waiting
        under_way: list[Case] = []
        watch = asyncio.create_task(self._watch(sidecar))
        count = 1 if is_alone else self._clients
        queue = self._suspects if is_alone else self._waiting
        clients = [asyncio.create_task(self._client(sidecar, queue, under_way, told)) for _ in range(count)]
        every = asyncio.gather(*clients, return_exceptions=True)
        await asyncio.wait([watch, every], return_when=asyncio.FIRST_COMPLETED)
        for task in (watch, *clients):
            task.cancel()
        results = await asyncio.gather(watch, *clients, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await every
        for result in results:
            if isinstance(result, Exception):
                raise result
        if not self._broken:
            return
        if is_alone and under_way:
            told.append(Verdict(under_way[0], "", None, "broke the process", [f"BROKE the process: {self._broken}"]))
        elif under_way:
            self._suspects += under_way
            if self._says:
                print(f"  {self._broken}; under way: {[case.id for case in under_way]}", flush=True)

    async def _client(
        self, sidecar: sidecars.Sidecar, queue: deque[Case], under_way: list[Case], told: list[Verdict]
    ) -> None:
        while queue and not self._broken:
            case = queue.popleft()
            under_way.append(case)
            verdict = await self._tried(sidecar, case)
            if self._broken:
                return
            under_way.remove(case)
            told.append(verdict)
            if self._says and verdict.faults:
                print(f"  {case.id}: {'; '.join(verdict.faults)[:300]}", flush=True)

    async def _tried(self, sidecar: sidecars.Sidecar, case: Case) -> Verdict:
        canary = f"cn{secrets.token_hex(8)}"
        steps = await asyncio.to_thread(case.steps, canary)
        patience = case.expected.seconds + self._slack + 6
        began = time.monotonic()
        try:
            found = await exchange(
                sidecar.host, sidecar.port, steps, answers=case.answers, method=case.method, patience=patience
            )
        except OSError as error:
            return Verdict(
                case, canary, None, "refused", [f"no connection after {time.monotonic() - began:.1f} s: {error}"]
            )
        sent = b"".join(step for step in steps if isinstance(step, bytes))[:10_000].decode("latin-1")
        verdict = judged(case, canary, sent, found, slack=self._slack)
        found.raw = b""  # it was judged; thousands of answers would take gigabytes
        found.replies.clear()
        return verdict

    async def _watch(self, sidecar: sidecars.Sidecar) -> None:
        """Return once the sidecar is broken."""
        answered = time.monotonic()
        url = f"http://{sidecar.host}:{sidecar.port}/health/live"
        timeout = aiohttp.ClientTimeout(total=STILL_S)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as session:

            async def ask() -> None:
                nonlocal answered
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(url) as response:
                        await response.read()
                        answered = time.monotonic()

            asking = asyncio.create_task(ask())
            while not self._broken:
                await asyncio.sleep(LOOK_S)
                if asking.done():
                    asking = asyncio.create_task(ask())
                own, every = memory(sidecar.process.pid)
                self.outcome.rss_peak = max(self.outcome.rss_peak, own)
                self.outcome.all_peak = max(self.outcome.all_peak, every)
                if (code := sidecar.process.poll()) is not None:
                    self._broken = f"it ended with {code}: {sidecar.errors[-3:]}"
                elif every > MOST_BYTES:
                    self._broken = f"it held {every / 1e9:.1f} GB"
                elif time.monotonic() - answered > STILL_S:
                    self._broken = f"/health/live said nothing for {STILL_S:g} s"
            asking.cancel()


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return the time that such a share took at most; 0 where nothing was measured."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def attack(
    cases: Sequence[Case],
    folder: Path,
    *,
    slack: float = 0.0,
    clients: int = CLIENTS,
    says: bool = False,
    watches: bool = False,
) -> Outcome:
    """Try cases; the outcome says what held, and with `watches` how long threads kept the GIL."""
    run = Attack(cases, folder, slack, clients, says=says, watches=watches)
    with upstream() as hostile, helper("bystander") as (bystander, good):
        asyncio.run(run.run(hostile, good, bystander))
        assert bystander.stdin is not None
        assert bystander.stdout is not None
        bystander.stdin.close()
        told = json.loads(bystander.stdout.readline())
        trapped = asyncio.run(_trapped(hostile))
    outcome = run.outcome
    for kind, figures in told.items():
        seconds = figures["seconds"]
        outcome.bystander[kind] = {
            "asked": len(seconds),
            "failed": len(figures["failed"]),
            "p50_ms": round(1000 * percentile(seconds, 0.5), 1),
            "p99_ms": round(1000 * percentile(seconds, 0.99), 1),
            "most_ms": round(1000 * max(seconds, default=0.0), 1),
        }
        if kind != "direct" and figures["failed"]:
            outcome.breaches.append(
                f"the bystander's {kind} failed {len(figures['failed'])} times: {figures['failed'][0]}"
            )
    if trapped:
        outcome.breaches.append(f"{len(trapped)} redirects were followed: {trapped[0]}")
    return outcome


def hold_to_goals(outcome: Outcome) -> None:
    """Add what misses the goals of time and memory to the breaches."""
    floor = outcome.bystander["direct"]["p99_ms"]
    for kind in ("live", "plain"):
        if (p99 := outcome.bystander[kind]["p99_ms"]) > floor + 1000 * GOAL_S:
            outcome.breaches.append(
                f"p99 of {kind} is {p99} ms, {floor} of them the machine's; the goal is {1000 * GOAL_S:g}"
            )
    if max(outcome.rss_peak, outcome.all_peak) > GOAL_BYTES:
        outcome.breaches.append(f"it held {max(outcome.rss_peak, outcome.all_peak) / 1e6:,.0f} MB")


async def _trapped(hostile: str) -> list[str]:
    async with aiohttp.ClientSession() as session, session.get(hostile.removesuffix("/v1") + "/told") as response:
        found: list[str] = await response.json(content_type=None)
        return found
