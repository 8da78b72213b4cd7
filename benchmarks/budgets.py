"""python -m benchmarks.budgets: masks of real schemas under a budget, beside the same masks without one.

Every mask of up to three valid instances of each schema is made without a budget, with 2,000 and 16 tokens more than
`distance()`, and with just that; it is timed with its accept, `distance()` is not. "First" is met as MaskBench meets
it: by a process that meets 50 schemas and has met nothing else; "again" by one that has walked its schemas in that way
before. The least of --repeat processes, or walks, for each mask.

Examples:
    python -m benchmarks.budgets                  100 schemas, a minute
    python -m benchmarks.budgets --n 300 --seed 3
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from functools import partial
from typing import Any

import numpy as np

import guard
from benchmarks.__main__ import real_schemas, table, tokenizer
from benchmarks.memory import in_a_child
from guard.kernels.bitmask import allocate_bitmask

BENCH = {"full": [], "short": ["--n", "20", "--repeat", "1"]}  #: What `make bench` runs.
BAR = 2.0  #: A mask under a budget, of one without.
WAYS = {"without": None, "2,000 more": 2000, "16 more": 16, "exactly": 0}
CHUNK, INSTANCES = 50, 3


def walk(docs: list[Any], vocabulary: guard.Vocabulary, more: int | None, walks: int) -> tuple[list[float], ...]:
    """Return microseconds of each mask, at the first walk and least of all later ones."""
    row, first, again = allocate_bitmask(1, vocabulary.size), [], []
    for doc in docs:
        try:
            matcher = guard.compile(doc["schema"], key_order="any", whitespace="any", spelling="any").matcher(
                vocabulary
            )
        except guard.SchemaError:
            continue
        for tokens in doc["texts"]:
            runs = []
            for _ in range(1 + walks):
                matcher.reset()
                runs.append([])
                for token in tokens:
                    remaining = None if more is None else matcher.distance() + more
                    start = time.perf_counter()
                    matcher.fill_bitmask(row, remaining=remaining)
                    matcher.accept(token)
                    runs[-1].append((time.perf_counter() - start) * 1e6)
            first += runs[0]
            again += np.min(runs[1:], axis=0).tolist()
    return first, again


def main() -> int:
    """Measure and print. Exit code 1 beyond the bar, 2 where the schemas are absent."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.budgets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100, help="schemas (default 100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3, help="processes of each chunk, and walks (default 3)")
    args = parser.parse_args()
    docs = real_schemas(args.seed)[: args.n]
    if not docs:
        return 2
    name, loaded = tokenizer()
    vocabulary = guard.Vocabulary.from_tokenizer(loaded)
    for doc in docs:
        valid = [json.dumps(test["data"], ensure_ascii=False) for test in doc["tests"] if test["valid"]]
        doc["texts"] = [loaded.encode(text, add_special_tokens=False) for text in valid[:INSTANCES]]
    times: dict[str, list[list[float]]] = {way: [[], []] for way in WAYS}
    for at in range(0, len(docs), CHUNK):
        runs: dict[str, list[Any]] = {way: [] for way in WAYS}
        for _ in range(args.repeat):
            for way, more in WAYS.items():
                runs[way].append(in_a_child(partial(walk, docs[at : at + CHUNK], vocabulary, more, args.repeat)))
        for way, found in runs.items():
            for kind in (0, 1):
                times[way][kind] += np.min([run[kind] for run in found], axis=0).tolist()
    print(
        f"### Budgets: {name}, {len(docs)} schemas of MaskBench, {len(times['without'][0]):,} masks,"
        f" {platform.machine()}, {time.strftime('%Y-%m-%d')}\n"
    )
    base = [np.mean(kind) for kind in times["without"]]
    rows, worst = [], 0.0
    for way, kinds in times.items():
        row = [way]
        for kind, plain in zip(kinds, base, strict=True):
            ratio = float(np.mean(kind) / plain)
            worst = max(worst, ratio)
            row += [f"{np.median(kind):.1f}", f"{np.percentile(kind, 99):.1f}", f"{np.mean(kind):.1f}", f"{ratio:.2f}"]
        rows.append(row)
    heads = [f"{when}, {what}" for when in ("first", "again") for what in ("p50", "p99", "average", "ratio")]
    table(["tokens left, beside the distance; µs", *heads], iter(rows))
    return int(worst > BAR)


if __name__ == "__main__":
    sys.exit(main())
