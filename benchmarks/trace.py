"""A trace of a million calls: `python -m benchmarks.trace [PLACE] [--calls N] [--keep]`.

PLACE is a file, or postgresql://…; by default a file that is deleted in the end. Records are inserted as they are and
counted at once, which is what a migration from version 4 does; then each look into the trace is timed as a person has
it, command line and all, beside one writer whose slowest write is told.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from guard.sidecar.endpoints.operator import figures
from guard.trace import TraceStore, totals
from guard.trace.records import Call
from guard.trace.sql_tables import ATTEMPTS, CALLS

BATCH = 1_000  # more take so long that PostgreSQL cuts off who stands still in a transaction
DAYS = 7
SMALL, LARGE = "openai:qwen3-4b", "openai:gpt-5-mini"
FUNCTIONS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "invoices.read_invoice")
CALL = Call("probe", "text", "", "", SMALL, {}, 0.0)


def records(calls: int, now: float) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield rows of calls and their attempts: one in ten asks again or goes on, one in fifty fails."""
    draw = random.Random(7)
    options = json.dumps({"tiers": [SMALL, LARGE], "mode": "live", "request": "req-0123456789abcdef01234567"})
    words = "Please read this invoice and say what it comes to. " * 20
    for number in range(calls):
        started = now - DAYS * 86_400 * (1 - number / calls)
        tiers = (0, 1) if draw.random() < 0.05 else (0, 0) if draw.random() < 0.05 else (0,)
        outcome = "ValidationFailed" if draw.random() < 0.02 else "valid"
        seconds = draw.expovariate(1.0)
        call = {
            "started": started, "seconds": seconds, "function": draw.choice(FUNCTIONS), "target": "text",
            "schema_hash": "", "template": "", "model": SMALL, "options": options, "outcome": outcome, "error": "",
        }  # fmt: skip
        attempts = []
        for at, tier in enumerate(tiers, 1):
            cost = None if tier == 0 else draw.randrange(1_000) * 1e-6
            attempts.append({
                "call": number + 1, "number": at, "messages": json.dumps([{"role": "user", "content": words}]),
                "findings": "[]", "error": "", "text": words[: draw.randrange(800)], "finish": "stop", "served": "m",
                "prompt_tokens": draw.randrange(2_000), "completion_tokens": draw.randrange(400), "forced_tokens": 0,
                "seconds": seconds, "mask_seconds": 0.0, "thinking_tokens": 0, "thinking": "", "tokens": None,
                "retries": 0, "mode": "native", "cost": cost, "tier": tier, "model": (SMALL, LARGE)[tier],
                "reason": "invalid" if at < len(tiers) or outcome != "valid" else "", "repairs": None,
                "repaired": None, "started": started, "elapsed": seconds, "is_estimate": 0, "is_kept": 0,
            })  # fmt: skip
        yield call, attempts


def fill(store: TraceStore, calls: int) -> None:
    """Insert records without counting them."""
    store.check_writable()
    batch: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []

    def insert() -> None:
        with store.begin() as connection:
            connection.execute(CALLS.insert(), [call for call, _ in batch])
            connection.execute(ATTEMPTS.insert(), [attempt for _, attempts in batch for attempt in attempts])
        batch.clear()

    for record in records(calls, time.time()):
        batch.append(record)
        if len(batch) == BATCH:
            insert()
    if batch:
        insert()


def beside(store: TraceStore, look: Callable[[], object]) -> tuple[float, float]:
    """Return how long a look takes, and the slowest of the writes beside it."""
    slowest, over = 0.0, threading.Event()

    def write() -> None:
        nonlocal slowest
        while not over.wait(0.01):
            began = time.perf_counter()
            store.write(CALL)
            slowest = max(slowest, time.perf_counter() - began)

    writing = threading.Thread(target=write)
    writing.start()
    began = time.perf_counter()
    look()
    seconds = time.perf_counter() - began
    over.set()
    writing.join()
    return seconds, slowest


def run(place: str, *arguments: str) -> Callable[[], object]:
    """Return what runs `guard trace` as a person does."""
    command = [sys.executable, "-m", "guard", "trace", *arguments, "--json"]

    def look() -> None:
        done = subprocess.run(command, env={**os.environ, "GUARD_TRACE": place}, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"guard trace {' '.join(arguments)} ended in {done.returncode}: {done.stderr or 'no words'}")

    return look


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", nargs="?")
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--keep", action="store_true", help="look into what is there, without making it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = asked.place or str(Path(folder) / "trace.db")
        store = TraceStore(place)
        if not asked.keep:
            began = time.perf_counter()
            fill(store, asked.calls)
            print(f"{asked.calls:,} records made in {time.perf_counter() - began:.1f} s", flush=True)
            began = time.perf_counter()
            with store.begin(3600) as connection:
                totals.recount(connection)
            print(f"counted in {time.perf_counter() - began:.1f} s", flush=True)
        now = time.time()
        looks: dict[str, Callable[[], object]] = {
            "guard trace list, of a trace that is not there": run(str(Path(folder) / "none.db"), "list"),
            "guard trace stats": run(place, "stats"),
            "guard trace stats --since 2d": run(place, "stats", "--since", "2d"),
            f"guard trace stats --large {LARGE}": run(place, "stats", "--large", LARGE),
            "guard trace list": run(place, "list"),
            "guard trace list --outcome ValidationFailed": run(place, "list", "--outcome", "ValidationFailed"),
            "guard trace list --outcome Refused (there is none)": run(place, "list", "--outcome", "Refused"),
            "/guard/stats?minutes=60": lambda: figures(store, 60, now),
            "/guard/stats?minutes=10080": lambda: figures(store, 10_080, now),
            "/guard/failures?limit=200": lambda: store.failures(200),
            "/guard/traces?limit=200": lambda: store.latest(limit=200),
        }
        print("| | seconds | slowest write beside it, ms |\n|---|--:|--:|")
        for name, look in looks.items():
            seconds, slowest = beside(store, look)
            print(f"| `{name}` | {seconds:.2f} | {slowest * 1000:.1f} |", flush=True)
        store.close()


if __name__ == "__main__":
    main()
