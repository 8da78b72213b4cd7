"""Capacity on paper: `python -m benchmarks.capacity [--seconds N] [--docs]`.

A queueing model of the sidecar, simulated event by event, with the service times that were measured
(docs/explanation/performance.md). Requests come at random, and a balancer that knows nothing gives each to a worker.
There it is worked on, waits for its model, is worked on again, and waits until its record is committed: a worker
commits all records that wait, one transaction at a time. The database works on a transaction with one of its cores.
Then the transaction updates the running totals, which those of all workers do: from there until it is on the
disk it holds rows that the others wait for.

The page docs/explanation/capacity.md has what this prints, between its marks.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "capacity.md"
PLOT = ROOT / "docs" / "images" / "capacity.png"

MONTH = 30 * 86_400  #: Seconds.
GOAL_MS = 50.0  #: What is added to a request, at p99.
BUSY = 0.6  #: To which a core may be used: a burst finds room.
RATES = (10, 100, 386, 1_000, 3_000, 10_000)  #: Requests a second; 386 are 10⁹ a month.


@dataclass(frozen=True)
class Times:
    """What a request takes: measured, but for what says otherwise."""

    worker: float = 461e-6  # of a worker's core, the whole request
    before: float = 0.6  # share of it before the model is asked; assumed
    model: tuple[float, float] = (1.0, 2.0)  # a remote model, from and to, seconds; the soak's provider
    transaction: float = 77e-6  # of a database's core, each transaction;
    record: float = 63e-6  # and each record in it
    way: float = 0.25e-3  # from a worker to the database and back; assumed: one data centre
    flush: float = 1e-3  # until a transaction is on the disk; assumed: a network's SSD

    @property
    def hold(self) -> float:
        """For how long a transaction holds the totals: there and back for the end, and the flush."""
        return self.way + self.flush


@dataclass(frozen=True)
class Costs:
    """What is stored, and what it costs; the prices are assumed."""

    bytes: int = 2_130  # of a record in PostgreSQL, indexes and all: a prompt of 1 KB, an answer of 0.4
    wal: int = 2_500  # that it writes to the log
    core: float = 25.0  # dollars a month, memory and all
    gigabyte: float = 0.10  # dollars a month, SSD
    copies: int = 2  # of the database: one stands by
    tokens: tuple[int, int] = (250, 100)  # of such a prompt and answer
    prices: tuple[float, float] = (0.25, 2.00)  # dollars for a million of each, a small remote model


@dataclass
class Outcome:
    """What came of a simulation."""

    added: list[float] = field(default_factory=list)  # seconds beyond the model's, sorted
    busy: float = 0.0  # share of the workers' time
    database: float = 0.0  # cores of the database, on average
    held: float = 0.0  # share of the time in which the totals are held
    transactions: float = 0.0  # a second
    records: float = 0.0  # a transaction
    in_flight: float = 0.0  # requests, on average

    def quantile(self, share: float) -> float:
        """Return the time, in milliseconds, that so many requests stay below."""
        return 1e3 * self.added[min(len(self.added) - 1, int(share * len(self.added)))]


class Simulation:
    """One run; each station serves who comes first."""

    def __init__(self, times: Times, rate: float, workers: int, cores: int = 4, seed: int = 7) -> None:
        self.times, self.rate, self.workers = times, rate, workers
        self.draw = random.Random(seed)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = itertools.count()
        self._free = [0.0] * workers  # when each has done what it was given
        self._waiting: list[list[tuple[float, float]]] = [[] for _ in range(workers)]  # records: began, model's time
        self._commits = [False] * workers
        self._cores = [0.0] * cores
        self._totals = 0.0  # when nobody holds them any more
        self._worked = self._served = self._held = self._flying = 0.0
        self._transactions = self._committed = 0
        self._added: list[float] = []

    def run(self, seconds: float) -> Outcome:
        """Let requests come for so long, and leave the first fifth out of what is told of their times."""
        self._at(self.draw.expovariate(self.rate), self._arrive, seconds)
        while self._events:
            self.now, _, act, given = heapq.heappop(self._events)
            act(*given)
        added = sorted(self._added[len(self._added) // 5 :])
        return Outcome(
            added,
            self._worked / seconds / self.workers,
            self._served / seconds,
            self._held / seconds,
            self._transactions / seconds,
            self._committed / max(1, self._transactions),
            self._flying / seconds,
        )

    def _at(self, moment: float, act: Callable[..., None], *given: Any) -> None:
        heapq.heappush(self._events, (moment, next(self._count), act, given))

    def _arrive(self, seconds: float) -> None:
        if (following := self.now + self.draw.expovariate(self.rate)) < seconds:
            self._at(following, self._arrive, seconds)
        worker = self.draw.randrange(self.workers)
        model = self.draw.uniform(*self.times.model)
        done = self._work(worker, self.times.worker * self.times.before)
        self._at(done + model, self._answered, worker, self.now, model)

    def _answered(self, worker: int, began: float, model: float) -> None:
        done = self._work(worker, self.times.worker * (1 - self.times.before))
        self._at(done, self._record, worker, began, model)

    def _work(self, worker: int, mean: float) -> float:
        """Give a worker something to do; returns when it will be done."""
        takes = self.draw.expovariate(1 / mean)
        self._worked += takes
        self._free[worker] = max(self.now, self._free[worker]) + takes
        return self._free[worker]

    def _record(self, worker: int, began: float, model: float) -> None:
        self._waiting[worker].append((began, model))
        if not self._commits[worker]:
            self._commit(worker)

    def _commit(self, worker: int) -> None:
        records, self._waiting[worker] = self._waiting[worker], []
        self._commits[worker] = bool(records)
        if not records:
            return
        takes = self.times.transaction + len(records) * self.times.record
        self._served += takes
        done = max(self.now, heapq.heappop(self._cores)) + takes
        heapq.heappush(self._cores, done)
        self._at(done + self.times.way, self._sum_up, worker, records)

    def _sum_up(self, worker: int, records: Sequence[tuple[float, float]]) -> None:
        takes = self.times.hold
        self._held += takes
        self._totals = max(self.now, self._totals) + takes
        self._at(self._totals, self._committed_by, worker, records)

    def _committed_by(self, worker: int, records: Sequence[tuple[float, float]]) -> None:
        self._transactions += 1
        self._committed += len(records)
        for began, model in records:
            self._added.append(self.now - began - model)
            self._flying += self.now - began
        self._commit(worker)


@dataclass(frozen=True)
class Plan:
    """What a rate needs."""

    rate: float
    workers: int
    outcome: Outcome
    costs: Costs

    @property
    def terabytes(self) -> float:
        """What a month's records take, in one copy."""
        return self.rate * MONTH * self.costs.bytes / 1e12

    @property
    def machinery(self) -> float:
        """Dollars a month: workers, one spare in four and one at least; the database's cores; a month's records."""
        spare = max(1, math.ceil(self.workers / 4))
        database = max(2, math.ceil(self.outcome.database / BUSY))
        cores = self.workers + spare + self.costs.copies * database
        return cores * self.costs.core + self.costs.copies * self.terabytes * 1e3 * self.costs.gigabyte

    @property
    def model(self) -> float:
        """Dollars a month for a remote model."""
        each = sum(count * price for count, price in zip(self.costs.tokens, self.costs.prices, strict=True)) / 1e6
        return self.rate * MONTH * each


def plan(rate: float, times: Times, costs: Costs, seconds: float) -> Plan:
    """Find the fewest workers that keep to GOAL_MS and BUSY."""
    workers = max(1, math.ceil(rate * times.worker / BUSY))
    while True:
        outcome = Simulation(times, rate, workers).run(max(seconds, 2_000 / rate))
        if outcome.quantile(0.99) <= GOAL_MS:
            return Plan(rate, workers, outcome, costs)
        workers += max(1, workers // 8)


def limits(times: Times, costs: Costs) -> Iterator[tuple[str, float, str]]:
    """Yield what ends, at how many requests a second, and what helps; the first to end comes first."""
    most = (
        GOAL_MS * 1e-3 / (2 * times.hold)
    )  # workers: a record waits for a round of all, and for the round that it is in
    found = [
        ("512 requests at once in a worker", 512 / (sum(times.model) / 2), "`in_flight`, `concurrency` of the model"),
        ("a worker's core, used to 60%", BUSY / times.worker, "more workers"),
        ("SQLite, one machine: one writer at a time", 3_900.0, "PostgreSQL"),
        ("one disk of 16 TB that keeps 30 days", 16e12 / costs.bytes / MONTH, "fewer days; export and drop the rest"),
        ("PostgreSQL's 100 connections, six a worker", 100 / 6 * BUSY / times.worker, "`max_connections`, PgBouncer"),
        (
            "the running totals, held one by one",
            most * BUSY / times.worker,
            "a faster disk; no more workers than it takes",
        ),
        ("PostgreSQL's log, 125 MB/s", 125e6 / costs.wal, "a faster disk"),
        ("8 cores of PostgreSQL, used to 60%", 8 * BUSY / times.record, "a trace for each group of keys"),
    ]
    yield from sorted(found, key=lambda each: each[1])


def report(plans: Sequence[Plan], costs: Costs) -> str:
    """Return the table of what rates need."""
    names = (
        *("requests/s", "calls a month", "workers", "busy", "in flight", "added p50, ms", "p99", "transactions/s"),
        *("records each", "database, cores", "log, MB/s", "TB a month", "machinery, $ a month", "model, $ a month"),
    )
    lines = [f"| {' | '.join(names)} |", "|--:" * len(names) + "|"]
    for each in plans:
        out = each.outcome
        lines.append(
            f"| {each.rate:,} | {_round(each.rate * MONTH)} | {each.workers} | {out.busy:.0%} | {out.in_flight:,.0f} "
            f"| {out.quantile(0.5):.1f} | {out.quantile(0.99):.1f} | {out.transactions:,.0f} | {out.records:.1f} "
            f"| {out.database:.2f} | {each.rate * costs.wal / 1e6:.1f} | {each.terabytes:.2f} "
            f"| {_round(each.machinery)} | {_round(each.model)} |"
        )
    return "\n".join(lines)


def ends(times: Times, costs: Costs) -> str:
    """Return the table of what ends first."""
    lines = ["| what ends | at requests/s | what helps |", "|:--|--:|:--|"]
    lines += [f"| {what} | {_round(at)} | {helps} |" for what, at, helps in limits(times, costs)]
    return "\n".join(lines)


def _round(value: float) -> str:
    """Show two figures that count."""
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):,.0f}"


def curves(times: Times, seconds: float) -> dict[int, list[tuple[float, float, float]]]:
    """Return requests/s with p50 and p99 of what is added, by the number of workers."""
    found: dict[int, list[tuple[float, float, float]]] = {}
    for workers in (1, 2, 4, 8, 16, 32):
        found[workers] = []
        for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
            rate = share * workers / times.worker
            out = Simulation(times, rate, workers).run(min(seconds, 100_000 / rate))
            found[workers].append((rate, out.quantile(0.5), out.quantile(0.99)))
    return found


def plot(found: dict[int, list[tuple[float, float, float]]], target: Path) -> None:
    """Draw what is added to a request over the rate."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), dpi=160, sharey=True)
    shades = pyplot.get_cmap("viridis")
    for place, (workers, points) in enumerate(found.items()):
        color = shades(0.9 * place / max(1, len(found) - 1))
        for axis, at in zip(axes, (1, 2), strict=True):
            axis.plot([p[0] for p in points], [p[at] for p in points], color=color, linewidth=1.6, marker="o", ms=3)
            axis.annotate(
                str(workers), (points[-1][0], points[-1][at]), xytext=(4, 2), textcoords="offset points", color=color
            )
    for axis, words in zip(axes, ("half of the requests", "99 of 100 requests"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="requests a second", title=f"Added to {words} at the most")
        axis.axhline(GOAL_MS, color="#D55E00", linestyle=":", linewidth=1)
        axis.set_yticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"], minor=False)
        axis.set_xticks([300, 1_000, 3_000, 10_000, 30_000], ["300", "1,000", "3,000", "10,000", "30,000"])
        axis.minorticks_off()
        axis.grid(color="#DDDDDD", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("milliseconds beyond the model's")
    axes[1].text(axes[1].get_xlim()[0] * 1.1, GOAL_MS * 1.08, "the goal at p99", color="#D55E00", fontsize=8)
    caption = "Simulated; each line is a number of workers, each point a tenth more of their time, from 10% to 90%."
    figure.text(0.01, 0.01, caption, fontsize=7.5, color="#444444")
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(target)


def main() -> None:
    """Simulate, print, and with --docs put it into the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of requests, simulated for each line")
    parser.add_argument("--rates", type=int, nargs="+", default=RATES, help="requests a second")
    parser.add_argument("--docs", action="store_true", help="put the tables into the page, and draw its picture")
    asked = parser.parse_args()
    times, costs = Times(), Costs()
    tables = {
        "capacity": report([plan(rate, times, costs, asked.seconds) for rate in asked.rates], costs),
        "limits": ends(times, costs),
    }
    print("\n\n".join(tables.values()))
    if asked.docs:
        for name, table in tables.items():
            between = re.compile(f"(<!-- bench: {name} -->\n\n).*?(<!-- end -->)", re.DOTALL)
            PAGE.write_text(between.sub(rf"\g<1>{table}\n\n\g<2>", PAGE.read_text("utf-8")), "utf-8")
        plot(curves(times, asked.seconds), PLOT)


if __name__ == "__main__":
    main()
