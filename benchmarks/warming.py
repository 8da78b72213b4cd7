"""python -m benchmarks.warming: masks of real schemas and their instances, with a warm-up before them and without.

Each schema is met in two processes that have a vocabulary and nothing else: in one of them `Compiled.warm` is waited
for. Then every instance is walked; a mask is timed with its accept. `--repeat` processes each, the least of each mask.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from typing import Any

import numpy as np

import guard
from benchmarks.__main__ import real_schemas, table, tokenizer
from benchmarks.memory import in_a_child
from guard.kernels.bitmask import allocate_bitmask

BENCH = {"full": [], "short": ["--n", "15", "--repeat", "1"]}  #: What `make bench` runs.


def masks(schema: Any, texts: list[list[int]], vocabulary: guard.Vocabulary, *, is_warm: bool) -> Any:
    """Return (microseconds of each mask, seconds of the warm-up, masks that it made); None where it is refused."""
    row, times, made, seconds = allocate_bitmask(1, vocabulary.size), [], 0, 0.0
    try:
        compiled = guard.compile(schema, key_order="any", whitespace="any", spelling="any")
        if is_warm:
            start = time.perf_counter()
            made = compiled.warm(vocabulary).result()
            seconds = time.perf_counter() - start
        for tokens in texts:
            matcher = compiled.matcher(vocabulary)
            for token in tokens:
                start = time.perf_counter()
                matcher.fill_bitmask(row)
                is_taken = matcher.accept(token)
                times.append((time.perf_counter() - start) * 1e6)
                if not is_taken:
                    break
    except guard.SchemaError:
        return None
    return times, seconds, made


def main() -> int:
    """Measure and print. Exit code 2 where the schemas are absent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warming", description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=60, help="schemas")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    docs = real_schemas(args.seed)
    if not docs:
        return 2
    name, loaded = tokenizer()
    vocabulary = guard.Vocabulary.from_tokenizer(loaded)
    times: dict[bool, list[float]] = {False: [], True: []}
    seconds, made = [], []
    for doc in docs[: args.n]:
        values = [json.dumps(test["data"], ensure_ascii=False) for test in doc["tests"]]
        texts = [loaded.encode(text, add_special_tokens=False) for text in values]
        for is_warm in times:
            runs = [
                in_a_child(lambda is_warm=is_warm: masks(doc["schema"], texts, vocabulary, is_warm=is_warm))  # noqa: B023 (called at once)
                for _ in range(args.repeat)
            ]
            if runs[0] is not None:
                times[is_warm] += np.min([run[0] for run in runs], axis=0).tolist()
                if is_warm:
                    seconds.append(min(run[1] for run in runs))
                    made.append(runs[0][2])
    print(f"### Warm-up: {name}, {len(made)} schemas of MaskBench, {len(times[True]):,} masks, {platform.machine()}\n")
    rows = [
        [what, *(f"{np.percentile(times[key], q):,.1f}" for q in (50, 90, 99, 99.9)), f"{np.mean(times[key]):,.1f}"]
        for key, what in ((False, "without"), (True, "after a warm-up"))
    ]
    table(["mask and accept, µs", "p50", "p90", "p99", "p99.9", "average"], iter(rows))
    print(f"A warm-up made {np.median(made):.0f} masks in {np.median(seconds) * 1e3:.0f} ms (medians).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
