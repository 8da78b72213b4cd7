"""Replicas of the sidecar on one PostgreSQL: do the limits of keys hold, and is anything lost, when parts of it die?

`python tests/replicas.py --requests 20000` is the long run: a rate and a budget under four processes, while PostgreSQL
is killed and comes back again and again, and one process is killed. tests/guard/sidecar/test_replicas.py is short.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import postgres
import sidecars
import sqlalchemy as sa

from guard.sidecar import keys
from guard.sidecar.keys import Key
from guard.testing import fake_server
from guard.trace import TraceStore

REPLICAS = 4
TOKENS = 18  #: What each answer of the fake provider is said to take.
PAUSE_S = 0.02  #: Before a client asks again that was told to come later.


@dataclass
class Outcome:
    """What clients were answered, over all replicas."""

    statuses: dict[int, int] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)  # numbers of the records that successes name
    is_over: bool = False

    def add(self, status: int, call: str | None) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200:
            self.calls.append(int(call or 0))

    @property
    def good(self) -> int:
        """How many were answered."""
        return self.statuses.get(200, 0)


@contextlib.contextmanager
def serving(folder: Path, place: str, tomls: Sequence[str]) -> Iterator[list[sidecars.Sidecar]]:
    """Start a replica for each settings, with a folder and a port of its own."""
    with contextlib.ExitStack() as stack:
        started = []
        for number, toml in enumerate(tomls):
            own = folder / str(number)
            own.mkdir()
            started.append(stack.enter_context(sidecars.serving(own, toml, env={"GUARD_TRACE": place})))
        yield started


def used_up(fleet: list[sidecars.Sidecar], text: str, outcome: Outcome) -> None:
    """Ask each replica, one request after the other, until it refuses the key because of its limits, or is gone."""
    lock = threading.Lock()

    def work(sidecar: sidecars.Sidecar) -> None:
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello."}]})
        headers = {"authorization": f"Bearer {text}"}
        with contextlib.closing(http.client.HTTPConnection(sidecar.host, sidecar.port, timeout=60)) as connection:
            while True:
                try:
                    connection.request("POST", "/v1/chat/completions", body, headers)
                    answer = connection.getresponse()
                    answer.read()
                except (OSError, http.client.HTTPException):
                    if sidecar.process.poll() is not None:
                        return
                    connection.close()
                    continue
                with lock:
                    outcome.add(answer.status, answer.getheader("x-guard-call"))
                if answer.status == 429:
                    return
                if answer.status != 200:
                    time.sleep(PAUSE_S)

    threads = [threading.Thread(target=work, args=(sidecar,)) for sidecar in fleet]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcome.is_over = True


def early_in_a_minute(least: float) -> None:
    """Wait, where fewer seconds of the minute are left, for the next: a count by the minute begins anew in it."""
    left = 60 - time.time() % 60
    if left < least:
        time.sleep(left + 0.05)


def spent(place: str, key: Key) -> Any:
    """Return what is counted of a key's day."""
    query = sa.text("SELECT requests, tokens FROM spending WHERE key = :key AND period LIKE 'day %'")
    with TraceStore(place).reading() as connection:
        assert connection is not None
        return connection.execute(query, {"key": key.id}).one()


def lost(place: str, calls: list[int]) -> set[int]:
    """Return the numbers of calls that were answered, and are not on record as that, or not once each."""
    with TraceStore(place).reading() as connection:
        assert connection is not None
        there = set(connection.execute(sa.text("SELECT id FROM calls WHERE outcome = 'valid'")).scalars())
    return {number for number in calls if number not in there or calls.count(number) > 1}


def harmed(
    folder: Path, server: postgres.Server, requests: int, *, deaths: int = 1, down: float = 0.3
) -> tuple[Outcome, dict[str, float]]:
    """Use a budget of so many requests up, while PostgreSQL dies and comes back, and one replica is killed.

    Returns what was answered, and figures: what the provider was asked, and what is counted, as shares of the budget.
    """
    place, outcome = server.place(), Outcome()
    store = TraceStore(place)
    key, text = keys.create(store, "shop", tokens_per_day=requests * TOKENS)
    with fake_server.Server("Hello.", keeps_alive=True) as provider:
        toml = sidecars.model(provider.url, breaker_failures=1_000)
        with serving(folder, place, [toml] * REPLICAS) as fleet:
            working = threading.Thread(target=used_up, args=(fleet, text, outcome))
            working.start()
            for death in range(deaths + 1):
                while outcome.good < requests * (death + 1) // (deaths + 2) and not outcome.is_over:
                    time.sleep(PAUSE_S)
                if death == deaths:
                    fleet[-1].process.kill()
                else:
                    server.die()
                    time.sleep(down)
                    server.rise()
            working.join()
        asked = len(provider.requests)
    counted = spent(place, key)
    figures = {
        "asked": asked / requests,
        "answered": outcome.good / requests,
        "counted": counted.tokens / (requests * TOKENS),
        "lost": len(lost(place, outcome.calls)),
    }
    store.close()
    return outcome, figures


def main() -> int:
    """Run for long, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--deaths", type=int, default=5, help="of PostgreSQL")
    arguments = parser.parse_args()
    binaries = postgres.binaries()
    assert binaries is not None, postgres.INSTALL
    began = time.monotonic()
    with postgres.running(binaries) as server, tempfile.TemporaryDirectory() as folder:
        outcome, figures = harmed(Path(folder), server, arguments.requests, deaths=arguments.deaths)
    seconds = time.monotonic() - began
    print(json.dumps({"seconds": round(seconds), "statuses": outcome.statuses, **figures}))
    is_held = 0.99 <= figures["counted"] <= 1.01 and 0.99 <= figures["asked"] <= 1.01 and not figures["lost"]
    return 0 if is_held else 1


if __name__ == "__main__":
    sys.exit(main())
