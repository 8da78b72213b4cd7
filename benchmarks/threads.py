"""python -m benchmarks.threads: masks by one thread, and by two or more at once.

Real schemas, walked by batches of eight rows. *Cold*: each thread compiles schemas of its own, and walks them for the
first time. *Warm*: schemas that were walked before, the same ones by each thread, or others by each. A speed-up is the
time of all parts one after the other, divided by their time at once; one per thread would be perfect. Each is the
median of several trials, as threads are placed anew in each.

With a GIL, at most one thread runs Python at a time, and only what takes long leaves it. Without one, threads meet at
the locks of the tables alone. Tokenizers may lack wheels for such a Python, so their work can be done by another:

    python      -m benchmarks.threads --save walks.json.gz
    python      -m benchmarks.threads --load walks.json.gz --json with.json
    python3.13t -m benchmarks.threads --load walks.json.gz --json without.json
    python      -m benchmarks.threads --plot with.json without.json --to threads.png
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import guard
from benchmarks.__main__ import real_schemas, table, tokenizer
from guard.kernels import fill_bitmasks
from guard.kernels.bitmask import allocate_bitmask

BENCH = {"full": [], "short": ["--n", "200", "--repeat", "2"]}  #: What `make bench` runs.
ROWS = 8  #: Matchers that a batch fills at once.
LONGEST = 80  #: Tokens of a walk.
WARM, TIMES = 20, 200  #: Schemas that are walked so many times.
COLOURS = ("#0072B2", "#E69F00", "#009E73")

Walk = tuple[Any, list[int]]  # a schema, and the tokens of an instance of it


def prepared(n: int) -> tuple[list[bytes], list[int], list[Walk]]:
    """Return the tokens' bytes, those that end a sequence, and walks."""
    _, loaded = tokenizer()
    vocabulary = guard.Vocabulary.from_tokenizer(loaded)
    walks = []
    for row in real_schemas(0)[:n]:
        text = next((json.dumps(test["data"]) for test in row["tests"] if test["valid"]), None)
        if text is not None:
            walks.append((row["schema"], list(loaded.encode(text))[:LONGEST]))
    return [vocabulary.token_bytes(token) for token in range(vocabulary.size)], list(vocabulary.eos), walks


def save(path: Path, n: int) -> None:
    """Write what another Python can read without a tokenizer."""
    tokens, eos, walks = prepared(n)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        json.dump({"tokens": [token.decode("latin-1") for token in tokens], "eos": eos, "walks": walks}, file)


def load(path: Path) -> tuple[list[bytes], list[int], list[Walk]]:
    """Read what `save` wrote."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        told = json.load(file)
    return [token.encode("latin-1") for token in told["tokens"]], told["eos"], [tuple(w) for w in told["walks"]]


def walk(vocabulary: guard.Vocabulary, walks: Sequence[Walk], times: int) -> None:
    """Fill and accept, with batches of matchers that are all at the same place."""
    rows = allocate_bitmask(ROWS, vocabulary.size)
    for schema, tokens in walks:
        try:
            compiled = guard.compile(schema, key_order="any", whitespace="any", spelling="any")
        except guard.SchemaError:
            continue
        for _ in range(times):
            matchers = [compiled.matcher(vocabulary) for _ in range(ROWS)]
            for token in tokens:
                fill_bitmasks(matchers, rows)
                if not all(matcher.accept(token) for matcher in matchers):
                    break


def timed(work: Callable[[Sequence[Walk]], None], parts: Sequence[Sequence[Walk]]) -> float:
    """Return the seconds that threads take, one for each part, all at once."""
    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def speed_up(work: Callable[[Sequence[Walk]], None], alone: Sequence[Any], at_once: Sequence[Any]) -> tuple[float, ...]:
    """Return the seconds of the first parts one after the other, of the others at once, and the ratio."""
    one = sum(timed(work, [part]) for part in alone)
    all_ = timed(work, at_once)
    return one, all_, one / all_


def plot(results: Sequence[dict[str, Any]], target: Path) -> None:
    """Draw the speed-ups, with the least and the most of the trials."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8, 4), dpi=160)
    names = list(results[0]["trials"])
    width = 0.8 / len(results)
    for at, (result, colour) in enumerate(zip(results, COLOURS, strict=False)):
        ratios = [sorted(trial[-1] for trial in result["trials"][name]) for name in names]
        middle = [statistics.median(of) for of in ratios]
        below = [m - of[0] for m, of in zip(middle, ratios, strict=True)]
        above = [of[-1] - m for m, of in zip(middle, ratios, strict=True)]
        places = [number + (at - (len(results) - 1) / 2) * width for number in range(len(names))]
        axis.bar(places, middle, width * 0.9, yerr=[below, above], color=colour, label=result["python"], capsize=3)
        for place, height in zip(places, middle, strict=True):
            axis.text(place, 0.05, f"{height:.2f}", ha="center", color="white", fontsize=9)
    count = results[0]["threads"]
    axis.axhline(count, color="#444444", linewidth=0.8, linestyle="--")
    axis.axhline(1, color="#444444", linewidth=0.8, linestyle=":")
    axis.set_xticks(range(len(names)), names)
    axis.set_ylabel(f"speed-up of {count} threads")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, 1.14), ncols=len(results))
    figure.tight_layout()
    figure.savefig(target)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=6000, help="schemas; each is cold once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5, help="trials")
    parser.add_argument("--save", type=Path, help="write the walks for another Python, and stop")
    parser.add_argument("--load", type=Path, help="read walks that --save wrote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the trials there, too")
    parser.add_argument("--plot", type=Path, nargs="+", metavar="FILE", help="draw what --json wrote, and stop")
    parser.add_argument("--to", type=Path, default=Path("threads.png"), help="where it is drawn")
    args = parser.parse_args()
    if args.plot:
        plot([json.loads(file.read_text(encoding="utf-8")) for file in args.plot], args.to)
        return 0
    if args.save:
        save(args.save, args.n)
        return 0
    tokens, eos, walks = load(args.load) if args.load else prepared(args.n)
    vocabulary = guard.Vocabulary.from_bytes(tokens, eos)
    count, warm = args.threads, [walks[at * WARM : (at + 1) * WARM] for at in range(args.threads)]
    rest = walks[count * WARM :]
    parts = [rest[at :: 2 * count * args.repeat + 1] for at in range(2 * count * args.repeat + 1)]
    walk(vocabulary, parts.pop(), 1)  # what all schemas share
    cold: list[tuple[float, ...]] = []
    for _ in range(args.repeat):
        alone, at_once = [parts.pop() for _ in range(count)], [parts.pop() for _ in range(count)]
        cold.append(speed_up(lambda part: walk(vocabulary, part, 1), alone, at_once))

    def again(part: Sequence[Walk]) -> None:
        walk(vocabulary, part, TIMES)

    for part in warm:
        again(part)
    same = [speed_up(again, warm[:1] * count, warm[:1] * count) for _ in range(args.repeat)]
    others = [speed_up(again, warm, warm) for _ in range(args.repeat)]
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    told = f"Python {platform.python_version()}, {'with' if has_gil else 'without'} a GIL"
    print(f"{told}, {count} threads\n")
    trials = {"cold": cold, "warm, the same schemas": same, "warm, others": others}
    lines = []
    for name, of in trials.items():
        one, all_, ratio = (statistics.median(column) for column in zip(*of, strict=True))
        ratios = [trial[-1] for trial in of]
        lines.append([name, f"{one:.2f}", f"{all_:.2f}", f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"])
    table(["", "one after the other, s", "at once, s", "speed-up"], iter(lines))
    if args.json:
        args.json.write_text(json.dumps({"python": told, "threads": count, "trials": trials}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
