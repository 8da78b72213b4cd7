"""Real schemas and their instances, all engines in one run: `python -m benchmarks.masks`, tables and a plot.

The shared measure (MaskBench) runs Guard, llguidance, xgrammar and outlines-core, each in processes of its own, in
turn, some schemas at a time, with one vocabulary and one core. The plot shows the whole distributions, not their
middle: for each time the share of schemas, or of masks, that took longer.

Examples:
    python -m benchmarks.masks                                      100 schemas, all engines: about 20 minutes
    python -m benchmarks.masks --n 300 --repeat 3 guard llguidance  the two that are fast
    python -m benchmarks.masks --n 20 --limit 5                     a look
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

BENCH = {"full": ["--n", "100"], "short": ["--n", "20", "--limit", "5"]}  #: What `make bench` runs.
ROOT = Path(__file__).parents[1]
MASKBENCH = ROOT.parent / "shared" / "measure" / "maskbench.py"
ENGINES = ("guard", "llguidance", "xgrammar", "outlines_core")
FIGURES = {"ttfm": ("Time to the first mask", "schemas"), "tbm": ("Time of a mask, with its token", "masks")}
#: Colours that are told apart without red and green (Okabe and Ito), and strokes that are told apart without colours.
STROKES = {
    "guard": ("#0072B2", "-", 2.6),
    "llguidance": ("#D55E00", "--", 1.6),
    "xgrammar": ("#009E73", "-.", 1.6),
    "outlines_core": ("#7A4F8F", ":", 2.0),
}


def measured(args: argparse.Namespace, target: Path) -> int:
    """Run the shared measure, which prints its tables; returns its exit code."""
    present = [name for name in args.engine if importlib.util.find_spec(name)]
    for name in sorted({*args.engine} - {*present}):
        print(f"{name} is not installed (`make bench` installs it): measured without\n")
    command = [sys.executable, str(MASKBENCH), *present, "--n", str(args.n), "--seed", str(args.seed)]
    command += ["--repeat", str(args.repeat), "--limit", str(args.limit), "--cpu", str(args.cpu), "--json", str(target)]
    return subprocess.run(command, check=False).returncode


def longer(times: list[float]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the times in order, and of each the share that took at least as long."""
    ordered = np.sort(np.asarray(times))
    return ordered, 1 - np.arange(len(ordered)) / len(ordered)


def plot(found: dict[str, Any], target: Path, caption: str) -> None:
    """Draw the distributions of both figures, engine by engine."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.8), dpi=160)
    for axis, (key, (title, what)) in zip(axes, FIGURES.items(), strict=True):
        ends = []
        for name, schemas in found.items():
            compiled = [one for one in schemas.values() if one["ttfm"] is not None]
            walked = [time for one in compiled for times in one["tbm"] for time in times]
            times = [one["ttfm"] for one in compiled] if key == "ttfm" else walked
            if not times:
                continue
            colour, stroke, width = STROKES[name]
            ordered, share = longer(times)
            axis.step(ordered, share, where="post", color=colour, linestyle=stroke, linewidth=width)
            label = name.replace("_", "-").replace("guard", "Guard")
            label += f" ({len(compiled)} of {len(schemas)} schemas)" if key == "ttfm" else ""
            ends.append((ordered, share, label, colour))
        axis.set(xscale="log", yscale="log", title=title, ylim=(min(share[-1] for _, share, _, _ in ends) * 0.7, 1.3))
        axis.set_ylabel(f"share of {what} that took longer")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y * 100:g}%"))
        axis.xaxis.set_major_formatter(FuncFormatter(duration))
        axis.yaxis.set_minor_locator(NullLocator())
        left, right = axis.get_xlim()
        axis.set_xlim(left, right * (30 if key == "ttfm" else 8))  # room for the names
        axis.grid(which="major", color="#DDDDDD", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        label_lines(axis, ends)
    figure.text(0.01, 0.01, caption, fontsize=7.5, color="#444444")
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)


def label_lines(axis: Any, ends: list[Any]) -> None:
    """Write each name at the lower end of its line, where the lines lie apart, one above the other."""
    low, high = axis.get_ylim()
    step = (high / low) ** 0.075
    height = 0.0
    for ordered, share, label, colour in sorted(ends, key=lambda end: (float(end[1][-1]), float(end[0][-1]))):
        height = max(float(share[-1]), height * step)
        place = ordered[min(len(ordered) - 1, int(np.searchsorted(-share, -height)))]
        axis.annotate(
            label,
            (place, height),
            xytext=(7, 0),
            textcoords="offset points",
            color=colour,
            fontsize=9,
            fontweight="bold",
            va="center",
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )


def duration(microseconds: float, _: int = 0) -> str:
    """Say a time as people do."""
    for limit, unit in ((1e6, "s"), (1e3, "ms")):
        if microseconds >= limit:
            return f"{microseconds / limit:g} {unit}"
    return f"{microseconds:g} µs"


def main() -> int:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.masks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", nargs="*", default=list(ENGINES), help=f"of {', '.join(ENGINES)} (default: all)")
    parser.add_argument("--n", type=int, default=100, help="schemas (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the schemas (default 1)")
    parser.add_argument("--repeat", type=int, default=1, help="fresh runs, of which the least time counts (default 1)")
    parser.add_argument("--limit", type=float, default=10, help="seconds for a schema with its instances (default 10)")
    parser.add_argument("--cpu", type=int, default=0, help="the core to use (default 0)")
    parser.add_argument("--plot", type=Path, default=ROOT / "build" / "bench" / "masks.png", help="where it is drawn")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench" / "masks.json", help="the raw times")
    args = parser.parse_args()
    if unknown := {*args.engine} - {*ENGINES}:
        parser.error(f"no such engine: {', '.join(sorted(unknown))}; there are {', '.join(ENGINES)}")
    if not MASKBENCH.is_file():
        print(f"Not measured: the shared measure is absent ({MASKBENCH.name}).")
        return 0
    args.json.parent.mkdir(parents=True, exist_ok=True)
    if code := measured(args, args.json):
        return code
    machine = f"{platform.machine()}, {os.cpu_count()} cores, one used; Python {platform.python_version()}"
    best = f", the least of {args.repeat} runs" if args.repeat > 1 else ""
    caption = (
        f"{args.n} real schemas of MaskBench with their instances (seed {args.seed}{best}), Qwen3's 151,669 tokens. "
    )
    caption += f"Cut off at {args.limit:g} s.\n{machine}. {time.strftime('%Y-%m-%d')}."
    plot(json.loads(args.json.read_text()), args.plot, caption)
    return 0


if __name__ == "__main__":
    sys.exit(main())
