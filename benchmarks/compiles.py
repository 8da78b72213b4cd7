"""Distinct schemas compiled by one process, one after another: what it holds, and whether it slows down.

`python -m benchmarks.compiles --n 1000000`. The schemas are MaskBench's with other names, patterns, choices and
bounds, drawn from their number, so that no two are alike and each run has the same ones. Each is compiled and has its
first mask, with a vocabulary of single bytes; one of a hundred with Qwen3's. Every pass over MaskBench has the same
schemas but for what is changed, so that passes are compared, by processor seconds, which other jobs of the machine do
not touch.

What is measured goes to build/bench/compiles.json after each window. A run that was cut off goes on where it was,
in another process, which the curve shows. `--hostile` measures the 55 schemas of eight patterns instead, in a process
of their own.

Examples:
    python -m benchmarks.compiles --n 20000            a look
    python -m benchmarks.compiles --n 1000000 --docs   hours; the curve goes into docs/images as well
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guard
from benchmarks.__main__ import real_schemas, tokenizer
from benchmarks.memory import resident
from guard.kernels import memory
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas import rewriting

BENCH = {"full": ["--n", "20000", "--fresh"], "short": ["--n", "2000", "--fresh"]}  #: What `make bench` runs.
ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "bench" / "compiles.json"
PLOT = OUT.with_suffix(".png")
WINDOW = 1_000  #: Schemas of a point of the curve.
LARGE = 100  #: One of so many schemas has a mask of the large vocabulary.
LIMITS = guard.Limits(seconds=2.0)  #: As the sidecar gives them to what a stranger sends.
BUDGET_MORE, LEAST_RATE = 1.1, 0.9  #: The bars: of the budget, and of the rate of the first pass.
MB = 1e6


def mutated(schema: Any, number: int) -> Any:
    """Return a schema with names, patterns, choices and bounds of its own; the same for the same number."""
    draws, name = random.Random(number), f"n{number:x}"
    changed = rewriting.rewritten(schema, lambda part: _changed(part, draws, name))
    if changed == schema:  # there was nothing to change
        return {"type": "object", "properties": {name: schema}}
    return changed


def _changed(out: dict[str, Any], draws: random.Random, name: str) -> dict[str, Any]:
    properties = out.get("properties")
    if isinstance(properties, dict) and properties:
        old = draws.choice(list(properties))
        out["properties"] = {f"{key}{name}" if key == old else key: value for key, value in properties.items()}
        if isinstance(required := out.get("required"), list):
            out["required"] = [f"{key}{name}" if key == old else key for key in required]
    if isinstance(choices := out.get("enum"), list) and choices and all(isinstance(c, str) for c in choices):
        at = draws.randrange(len(choices))
        out["enum"] = [f"{choice}{name}" if n == at else choice for n, choice in enumerate(choices)]
    if isinstance(pattern := out.get("pattern"), str):
        out["pattern"] = f"(?:{pattern})|^{name}[a-{draws.choice('bcdef')}]{{{draws.randrange(1, 9)}}}$"
    for bound in ("maxLength", "maxItems", "maximum"):
        if isinstance(value := out.get(bound), int) and not isinstance(value, bool) and 0 < value < 10**9:
            out[bound] = value + draws.randrange(9)
    return out


def schemas(start: int) -> Iterator[tuple[int, Any]]:
    """Yield schemas with their numbers, from one on."""
    docs = real_schemas(3)
    for number in range(start, sys.maxsize):
        yield number, mutated(docs[number % len(docs)]["schema"], number)


class Masks:
    """First masks, of two vocabularies."""

    def __init__(self) -> None:
        self._small = guard.Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])
        self._large = guard.Vocabulary.from_tokenizer(tokenizer()[1])
        self._rows = {vocabulary: allocate_bitmask(1, vocabulary.size) for vocabulary in (self._small, self._large)}

    def first(self, schema: Any, number: int) -> bool:
        """Compile a schema and make its first mask; returns False where it is refused."""
        vocabulary = self._small if number % LARGE else self._large
        try:
            guard.compile(schema, limits=LIMITS).matcher(vocabulary).fill_bitmask(self._rows[vocabulary])
        except guard.SchemaError:
            return False
        return True


def measure(found: dict[str, Any], most: int) -> None:
    """Compile up to so many schemas, and write down each window."""
    windows = found["windows"]
    start = windows[-1]["to"] if windows else 0
    if start >= most:
        return
    masks = Masks()
    masks.first({"type": ["object", "string", "number"]}, 0)
    gc.collect()
    process = windows[-1]["process"] + 1 if windows else 1
    found["bases"].append(resident())
    refused, cpu, wall, slowest = 0, time.process_time(), time.perf_counter(), 0.0
    for number, schema in schemas(start):
        began = time.process_time()
        refused += not masks.first(schema, number)
        slowest = max(slowest, time.process_time() - began)
        if (number + 1) % WINDOW == 0:
            window = {
                "to": number + 1,
                "refused": refused,
                "cpu_s": round(time.process_time() - cpu, 3),
                "wall_s": round(time.perf_counter() - wall, 3),
                "slowest_s": round(slowest, 3),
                "rss": resident(),
                "held": memory(),
                "process": process,
            }
            windows.append(window)
            write(found)
            if len(windows) % 10 == 0:
                print(
                    f"{number + 1:,}: {window['rss'] / MB:,.0f} MB, {WINDOW / window['cpu_s']:,.0f}/s", file=sys.stderr
                )
            refused, cpu, wall, slowest = 0, time.process_time(), time.perf_counter(), 0.0
        if number + 1 >= most:
            return


def write(found: dict[str, Any]) -> None:
    """Write what was measured, whole or not at all."""
    OUT.parent.mkdir(parents=True, exist_ok=True)
    new = OUT.with_suffix(".new")
    new.write_text(json.dumps(found) + "\n", encoding="utf-8")
    new.replace(OUT)


def hostile() -> list[dict[str, Any]]:
    """Return what each of the 55 hostile schemas came to in this process, and what it held then."""
    sys.path.insert(0, str(ROOT / "tests"))
    from hostile import eight_patterns

    vocabulary = guard.Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])
    row = allocate_bitmask(1, vocabulary.size)
    found = []
    for schema in eight_patterns():
        began, outcome = time.process_time(), "done"
        try:
            matcher = guard.compile(schema, limits=LIMITS).matcher(vocabulary)
            matcher.fill_bitmask(row)
            matcher.accept_bytes(b'"')
            matcher.fill_bitmask(row)
            matcher.distance()
        except guard.SchemaError as error:
            outcome = error.limit or "refused"
        except MemoryError:
            outcome = "MemoryError"
        matcher = None
        found.append({"outcome": outcome, "cpu_s": time.process_time() - began, "rss": resident(), "held": memory()})
    return found


def rates(found: dict[str, Any], docs: int) -> list[float]:
    """Return the schemas a second of processor time of each whole pass over MaskBench, as nearly as windows tell."""
    out: list[float] = []
    size = round(docs / WINDOW)
    windows = found["windows"]
    for at in range(0, len(windows) - size + 1, size):
        those = windows[at : at + size]
        out.append(size * WINDOW / sum(window["cpu_s"] for window in those))
    return out


def plot(found: dict[str, Any], docs: int, target: Path) -> None:
    """Draw what the process held, and how many schemas a second it compiled."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    windows = found["windows"]
    count = [window["to"] / 1000 for window in windows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), dpi=160)
    left.plot(count, [window["rss"] / MB for window in windows], label="resident", color="#D55E00", linewidth=1.6)
    tables = [window["held"]["tables"] / MB for window in windows]
    left.plot(count, tables, label="held by tables", color="#0072B2", linewidth=1.6)
    left.axhline(windows[-1]["held"]["budget"] / MB, label="budget of the tables", color="#0072B2", linestyle=":")
    left.legend(frameon=False, ncols=3, loc="upper center", fontsize=8)
    left.set(title="What one process holds", xlabel="schemas, thousands", ylabel="MB")
    left.set_ylim(0, 1.15 * left.get_ylim()[1])
    passes = rates(found, docs)
    size = round(docs / WINDOW)
    right.plot([(at + 1) * size * WINDOW / 1000 for at in range(len(passes))], passes, color="#0072B2", linewidth=1.6)
    right.set(
        title="How fast it compiles them, pass by pass",
        xlabel="schemas, thousands",
        ylabel="schemas a second of processor time",
        ylim=(0, None),
    )
    for axis in (left, right):
        axis.grid(color="#DDDDDD", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        for before, after in itertools.pairwise(windows):
            if before["process"] != after["process"]:
                axis.axvline(before["to"] / 1000, color="#888888", linestyle=":", linewidth=1)
    caption = (
        f"{windows[-1]['to']:,} distinct schemas made of MaskBench's, each with its first mask. {found['machine']}."
    )
    figure.text(0.01, 0.01, caption, fontsize=7.5, color="#444444")
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)


def main() -> int:
    """Measure, print and draw. Exit code 1 where a bar is missed, 2 where the schemas are absent."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compiles", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=1_000_000, help="schemas (default a million)")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--hostile", action="store_true", help="print what the 55 hostile schemas come to, as JSON")
    parser.add_argument("--docs", action="store_true", help="put the curve into docs/images")
    args = parser.parse_args()
    if args.hostile:
        print(json.dumps(hostile()))
        return 0
    docs = len(real_schemas(3))
    if not docs:
        return 2
    found: dict[str, Any] = {
        "windows": [],
        "bases": [],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    if OUT.is_file() and not args.fresh:
        found = json.loads(OUT.read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "benchmarks.compiles", "--hostile"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found["hostile"] = json.loads(run.stdout) if run.returncode == 0 else []
    measure(found, args.n)
    write(found)
    print(report(found, docs))
    plot(found, docs, PLOT)
    if args.docs:
        shutil.copy(PLOT, ROOT / "docs" / "images" / PLOT.name)
    return int(bool(missed(found, docs)))


def missed(found: dict[str, Any], docs: int) -> list[str]:
    """Return the bars that were missed."""
    out = []
    windows, passes = found["windows"], rates(found, docs)
    budget, most = windows[-1]["held"]["budget"], max(window["held"]["tables"] for window in windows)
    if most > budget * BUDGET_MORE:
        out.append(f"tables held {most / MB:,.0f} MB, the budget is {budget / MB:,.0f}")
    if len(passes) > 1 and passes[-1] < passes[0] * LEAST_RATE:
        out.append(f"the last pass ran at {passes[-1] / passes[0]:.2f} of the first")
    if not found["hostile"]:
        out.append("the hostile schemas ended their process")
    return out


def report(found: dict[str, Any], docs: int) -> str:
    """Return the tables."""
    windows, passes = found["windows"], rates(found, docs)
    base, last = found["bases"][0], windows[-1]
    grown = (last["rss"] - base) / last["to"]
    lines = [
        f"### {last['to']:,} distinct schemas in one process: {found['machine']}\n",
        "| schemas | resident, MB | tables, MB | schemas a second of processor time | slowest, s | refused |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    step = max(1, len(windows) // 10)
    for window in windows[step - 1 :: step]:
        tables = f"{window['held']['tables'] / MB:,.0f}"
        lines.append(
            f"| {window['to']:,} | {window['rss'] / MB:,.0f} | {tables} | {WINDOW / window['cpu_s']:,.0f} |"
            f" {window['slowest_s']:.2f} | {window['refused']} |"
        )
    lines.append(f"\nBefore the first: {base / MB:,.0f} MB. Each schema left {grown / 1000:,.1f} kB.")
    if len(passes) > 1:
        lines.append(
            f"The last of {len(passes)} passes over MaskBench ran at {passes[-1] / passes[0]:.2f} of the first's rate."
        )
    if len(found["bases"]) > 1:
        lines.append(f"It was cut off {len(found['bases']) - 1} times, and went on in another process.")
    if hard := found["hostile"]:
        ends = {name: sum(one["outcome"] == name for one in hard) for name in sorted({one["outcome"] for one in hard})}
        shown = ", ".join(f"{name} {count}" for name, count in ends.items())
        lines.append(
            f"The 55 hostile schemas, in a process of their own: {shown}; it held at most"
            f" {max(one['rss'] for one in hard) / MB:,.0f} MB, and took {sum(one['cpu_s'] for one in hard):,.1f} s."
        )
    lines += [f"MISSED: {words}" for words in missed(found, docs)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
