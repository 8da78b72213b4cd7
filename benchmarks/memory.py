"""python -m benchmarks.memory: what a vocabulary holds, and what a schema adds once its instances were walked.

Real schemas, each compiled and walked token by token (a mask and an accept at each) in a process of its own that has
the vocabulary and nothing else, so that what other schemas would share is counted for it too. Counted are the bytes
that are allocated, not those that the allocators have from the system: C++'s by the kernel's own
count, Python's by `tracemalloc` in a second process. Then all of them one after another in one process: what the
vocabulary holds, and how the process grows. The bars: 64 MB a vocabulary, 1 MB for the median schema.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import guard
from benchmarks.__main__ import real_schemas, table, tokenizer
from guard.kernels import memory
from guard.kernels.bitmask import allocate_bitmask

BENCH = {"full": [], "short": ["--n", "20"]}  #: What `make bench` runs.

VOCABULARY_MB, SCHEMA_MB = 64.0, 1.0  #: The bars.
MB = 1e6


def allocated() -> int:
    """Return the bytes that the kernel has given out."""
    gc.collect()
    return memory()["held"]


def resident() -> int:
    """Return the bytes of the process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def walk(schema: Any, texts: list[list[int]], vocabulary: guard.Vocabulary) -> guard.Compiled | None:
    """Compile and walk; None where the schema is refused."""
    row = allocate_bitmask(1, vocabulary.size)
    try:
        compiled = guard.compile(schema, key_order="any", whitespace="any", spelling="any")
        for tokens in texts:
            matcher = compiled.matcher(vocabulary)
            for token in tokens:
                matcher.fill_bitmask(row)
                if not matcher.accept(token):
                    break
    except guard.SchemaError:
        return None
    return compiled


def in_a_child(work: Callable[[], Any]) -> Any:
    """Return what `work` returns in a fork of this process."""
    near, far = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(far, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(far)
    with os.fdopen(near, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def added(schema: Any, texts: list[list[int]], vocabulary: guard.Vocabulary) -> tuple[int, int, int] | None:
    """Return what a schema adds: bytes of C++, of Python, and what `Compiled.nbytes` says."""

    def native() -> list[int] | None:
        before = allocated()
        compiled = walk(schema, texts, vocabulary)
        return None if compiled is None else [allocated() - before, compiled.nbytes]

    def python() -> int:
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        compiled = walk(schema, texts, vocabulary)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        return after - before if compiled is not None else 0

    first = in_a_child(native)
    return None if first is None else (first[0], in_a_child(python), first[1])


def main() -> int:
    """Measure and print. Exit code 1 where a bar is missed, 2 where the schemas are absent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=200, help="schemas")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    docs = real_schemas(args.seed)
    if not docs:
        return 2
    name, loaded = tokenizer()
    work = [
        (
            doc["schema"],
            [
                loaded.encode(json.dumps(test["data"], ensure_ascii=False), add_special_tokens=False)
                for test in doc["tests"]
            ],
        )
        for doc in docs[: args.n]
    ]
    before = allocated()
    vocabulary = guard.Vocabulary.from_tokenizer(loaded)
    own = allocated() - before
    walk({"type": ["object", "string", "number"]}, [loaded.encode('{"a": 1}')], vocabulary)  # what a process pays once
    found = [one for schema, texts in work if (one := added(schema, texts, vocabulary)) is not None]
    both = np.array([native + python for native, python, _ in found]) / MB
    print(f"### Memory: {name}, {vocabulary.size:,} tokens, {len(found)} schemas of MaskBench, {platform.machine()}\n")

    def spread(values: Any) -> list[str]:
        return [f"{np.percentile(values, q):.2f}" for q in (50, 90, 99, 100)]

    rows = [
        ["C++ and Python", *spread(both)],
        ["C++ alone", *spread(np.array([native for native, _, _ in found]) / MB)],
        ["`Compiled.nbytes`", *spread(np.array([said for _, _, said in found]) / MB)],
    ]
    table(["a schema and its instances, MB", "p50", "p90", "p99", "most"], iter(rows))

    def all_of_them() -> list[float]:
        most, start = 0, resident()
        for schema, texts in work:
            walk(schema, texts, vocabulary)
            most = max(most, vocabulary.nbytes)
        return [most / MB, (resident() - start) / MB]

    most, growth = in_a_child(all_of_them)
    rows = [
        ["allocated by setting it up", f"{own / MB:.1f}"],
        ["the most that it said it held (`Vocabulary.nbytes`) while all were walked in one process", f"{most:.1f}"],
        ["growth of that process, with compiled schemas that are kept and lexemes", f"{growth:.1f}"],
    ]
    table(["the vocabulary", "MB"], iter(rows))
    return int(bool(np.median(both) >= SCHEMA_MB or max(own / MB, most) > VOCABULARY_MB))


if __name__ == "__main__":
    sys.exit(main())
