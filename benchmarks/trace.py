"""Looks into a trace of up to ten million attempts: `python -m benchmarks.trace [PLACE] [--attempts N ...]`.

PLACE is a file, or postgresql://…, and must be empty: its tables are dropped after each size. By default it is a file
that is deleted in the end. The database makes the records itself, a year of them; then each look is taken ten times.
`--plot` draws the figures that runs have added to a file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks import trace_data
from benchmarks.trace_data import FUNCTIONS
from guard.trace import TraceStore, sql_tables, stats

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
TIMES = 10
LIMIT_MS = 200
DAY = 86_400
Times = tuple[float, float, float]


def looks(store: TraceStore, calls: int) -> dict[str, Callable[[], object]]:
    """Return the looks by name."""
    now = time.time()

    def summed(function: str | None = None, since: float | None = None) -> object:
        ledger = store.ledger(function=function, since=since)
        return stats.collect(ledger, ratings=store.ratings(function=function, since=since))

    return {
        "list: newest page": store.latest,
        "list: a page far back": lambda: store.latest(before=calls // 10),
        "list: by function": lambda: store.latest(function=FUNCTIONS[3]),
        "list: by outcome": lambda: store.latest(outcome="ValidationFailed"),
        "list: by an outcome that is not there": lambda: store.latest(outcome="Refused"),
        "list: failures, a page far back": lambda: store.outlines(before=calls // 10, failed=True),
        "list: from a time on": lambda: next(store.each(since=now - 100 * DAY)),
        "show": lambda: store.read(calls // 2),
        "stats: all": summed,
        "stats: last day": lambda: summed(since=now - DAY),
        "stats: last 100 days": lambda: summed(since=now - 100 * DAY),
        "stats: by function": lambda: summed(function=FUNCTIONS[3]),
    }


def fill(store: TraceStore, attempts: int) -> None:
    """Fill an empty trace; a small one is held to a recount."""
    began = time.perf_counter()
    trace_data.fill(store, attempts)
    if attempts <= SIZES[0]:
        trace_data.check(store)
    print(f"{store.place}: {attempts:,} attempts made in {time.perf_counter() - began:.0f} s", file=sys.stderr)


def measure(store: TraceStore) -> dict[str, Times]:
    """Return the least, the median and the longest time of each look into a trace, in milliseconds."""
    store.check_writable()
    stats.price("openai:gpt-5-mini", 1, 1)  # which reads the list of prices
    (newest,) = store.latest(limit=1)
    found = {}
    for name, look in looks(store, newest.number or 0).items():
        times = []
        for _ in range(TIMES):
            began = time.perf_counter()
            look()
            times.append((time.perf_counter() - began) * 1000)
        found[name] = min(times), statistics.median(times), max(times)
    return found


def empty(store: TraceStore) -> None:
    """Drop the tables of a trace."""
    if store.path is not None:
        store.close()
        for file in Path(store.path).parent.glob(f"{Path(store.path).name}*"):
            file.unlink()
    else:
        with store.begin() as connection:
            for table in sql_tables.TABLES.tables:
                connection.execute(sa.text(f"DROP TABLE {table} CASCADE"))
        store.close()


def plot(found: dict[str, dict[str, dict[str, Times]]], target: Path) -> None:
    """Draw the median of ten looks over the number of attempts."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.6), dpi=160, sharey=True)
    shades = pyplot.get_cmap("tab20")
    for axis, (database, sizes) in zip(axes, sorted(found.items()), strict=False):
        names = list(next(iter(sizes.values())))
        for at, name in enumerate(names):
            points = sorted((int(size), times[name]) for size, times in sizes.items())
            style = "--" if name.startswith("stats") else "-"
            attempts = [size for size, _ in points]
            axis.plot(
                attempts,
                [half for _, (_, half, _) in points],
                style,
                color=shades(at),
                marker="o",
                ms=3,
                linewidth=1.5,
                label=name,
            )
        axis.axhline(LIMIT_MS, color="#D55E00", linestyle=":", linewidth=1)
        axis.text(SIZES[0], LIMIT_MS * 1.08, "the limit", color="#D55E00", fontsize=8)
        axis.set(xscale="log", yscale="log", xlabel="attempts on record", title=database, xlim=(7e3, 1.4e7))
        axis.grid(color="#DDDDDD", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("milliseconds")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5, frameon=False)
    caption = "Medians of ten looks."
    figure.text(0.01, 0.01, caption, fontsize=7.5, color="#444444")
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(target)


def main() -> None:
    """Measure, print a table, and add the figures to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", nargs="?")
    parser.add_argument("--attempts", type=int, nargs="*", default=SIZES)
    parser.add_argument("--fill", action="store_true", help="only make the records, of the first number")
    parser.add_argument("--keep", action="store_true", help="look into what is there; it stays")
    parser.add_argument("--figures", type=Path, help="a JSON file that the figures are added to")
    parser.add_argument("--plot", type=Path, help="draw what that file has")
    asked = parser.parse_args()
    kept: dict[str, Any] = {}
    if asked.figures is not None and asked.figures.exists():
        kept = json.loads(asked.figures.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        place = asked.place or str(Path(folder) / "trace.db")
        database = "PostgreSQL" if "://" in place else "SQLite"
        for attempts in asked.attempts:
            store = TraceStore(place)
            if not asked.keep:
                fill(store, attempts)
            if asked.fill:
                return
            found = measure(store)
            if not asked.keep:
                empty(store)
            kept.setdefault(database, {})[str(attempts)] = found
            if asked.figures is not None:
                asked.figures.write_text(json.dumps(kept, indent=1), encoding="utf-8")
            print(
                f"\n| {database}, {attempts:,} attempts, ms | quickest | median | slowest of ten |\n|---|--:|--:|--:|"
            )
            for name, (least, half, most) in found.items():
                print(f"| {name} | {least:.1f} | {half:.1f} | {most:.1f} |", flush=True)
    if asked.plot is not None:
        plot(kept, asked.plot)


if __name__ == "__main__":
    main()
