"""python -m benchmarks.shapes: shapes that break mask engines, each in a process of its own, against the bars.

First mask: compile, matcher and one fill_bitmask. Slowest mask: fill_bitmask and accept, over the texts of the shape
(tests/hard.py) and a random generation, in order; and the same with `remaining=` set to what just suffices. Memory is
the growth of the process. Each figure is the best of --repeat processes: machines are shared, schemas are not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import numpy as np
from hard import OTHER_SIZES, SHAPES, Shape, vocabulary_of_262k

import guard
from benchmarks.__main__ import table, tokenizer
from guard.kernels.bitmask import allocate_bitmask

FIRST_MASK_MS, MASK_MS, MEMORY_MB = 50.0, 5.0, 200.0  #: The bars.
RANDOM_TOKENS = 60  #: Of the random generation.
SECONDS = 120.0  #: A shape that takes longer has no figures.

Encode = Callable[[str], list[int]]


def measure(make: Callable[[], Shape], vocabulary: guard.Vocabulary, encode: Encode, extra: dict[str, Any]) -> Any:
    """Measure one shape, in this process."""
    shape = make()
    scripts = [encode(text) for text in shape.good]
    row = allocate_bitmask(1, vocabulary.size)
    guard.compile({"type": "integer"}).matcher(vocabulary).fill_bitmask(row)  # what a process pays once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.thread_time()
    compiled = guard.compile(shape.schema, **shape.options, **extra)
    matcher = compiled.matcher(vocabulary)
    matcher.fill_bitmask(row)
    first = time.thread_time() - started
    slowest = {False: (0.0, ""), True: (0.0, "")}

    def step(budget: bool, choose: Callable[[], int | None], written: list[int]) -> bool:
        started = time.thread_time()
        matcher.fill_bitmask(row, remaining=matcher.distance() if budget else None)
        taken = time.thread_time() - started
        token = choose()
        if token is None:
            return False
        started = time.thread_time()
        if not matcher.accept(token):
            raise AssertionError(f"rejects its own instance after {text_of(vocabulary, written)!r}")
        taken += time.thread_time() - started
        slowest[budget] = max(slowest[budget], (taken * 1e3, text_of(vocabulary, written)))
        written.append(token)
        return True

    def at_random(r: Random) -> int | None:
        choice = np.flatnonzero(np.unpackbits(row[0].view(np.uint8), bitorder="little"))
        token = int(r.choice(choice))
        return None if token in vocabulary.eos else token

    for budget in (False, True):
        for tokens in scripts:
            matcher.reset()
            written: list[int] = []
            for token in tokens:
                step(budget, partial(int, token), written)
        matcher.reset()
        written = []
        draw = partial(at_random, Random(1))
        while len(written) < RANDOM_TOKENS and step(budget, draw, written):
            pass
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "first_mask_ms": first * 1e3,
        "mask_ms": slowest[False][0],
        "slowest_after": slowest[False][1],
        "budget_ms": slowest[True][0],
        "slowest_budget_after": slowest[True][1],
        "memory_mb": (after - before) / 1024,
    }


def greedy(vocabulary: guard.Vocabulary, text: str) -> list[int]:
    """Return a text's tokens, each the longest that fits."""
    return vocabulary.native.greedy(text.encode())


def text_of(vocabulary: guard.Vocabulary, tokens: list[int]) -> str:
    """Return the end of what was written."""
    return b"".join(map(vocabulary.token_bytes, tokens[-30:])).decode(errors="replace")[-40:]


def in_a_process(*arguments: Any) -> dict[str, Any]:
    """Measure in a child; what goes wrong there is a result too."""
    near, far = multiprocessing.Pipe(duplex=False)

    def work() -> None:
        try:
            far.send(measure(*arguments))
        except Exception as error:
            far.send({"failed": f"{type(error).__name__}: {error}"[:200]})

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    far.close()
    try:
        return near.recv() if near.poll(SECONDS) else {"failed": f"more than {SECONDS:g} s"}
    except EOFError:
        return {"failed": "the process died"}
    finally:
        child.kill()
        child.join()


def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the least of each figure, with its place."""
    failed = [run for run in runs if "failed" in run]
    if failed:
        return failed[0]
    out = dict(min(runs, key=lambda run: run["mask_ms"]))
    for name in ("first_mask_ms", "memory_mb"):
        out[name] = min(run[name] for run in runs)
    least = min(runs, key=lambda run: run["budget_ms"])
    return out | {name: least[name] for name in ("budget_ms", "slowest_budget_after")}


def cells(name: str, found: dict[str, Any]) -> list[str]:
    """Return a row of the table, with what misses its bar in bold."""
    if "failed" in found:
        return [name, f"**{found['failed']}**", "", "", ""]
    bars = (("first_mask_ms", FIRST_MASK_MS), ("mask_ms", MASK_MS), ("budget_ms", MASK_MS), ("memory_mb", MEMORY_MB))
    return [name, *(f"**{found[k]:,.2f}**" if found[k] > bar else f"{found[k]:,.2f}" for k, bar in bars)]


def main() -> int:
    """Measure and print. Exit code 1 where a shape misses a bar."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapes", description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="shapes whose name holds this")
    parser.add_argument("--all", action="store_true", help="other sizes of the shapes too")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--large-vocabulary", action="store_true", help="262,144 tokens instead of the tokenizer's own")
    parser.add_argument("--json", type=Path, help="write every figure here")
    args = parser.parse_args()
    name, loaded = tokenizer()
    vocabulary = guard.Vocabulary.from_tokenizer(loaded)
    encode: Encode = partial(loaded.encode, add_special_tokens=False)
    if args.large_vocabulary:
        end = vocabulary.eos[0]
        tokens = [vocabulary.token_bytes(token) for token in range(vocabulary.size)]
        vocabulary = guard.Vocabulary.from_bytes(vocabulary_of_262k(tokens), eos=[end])
        encode = partial(greedy, vocabulary)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    today = time.strftime("%Y-%m-%d")
    print(f"### Shapes that break engines: {name}, {vocabulary.size:,} tokens, {machine}, {today}\n")
    print(f"Bars: first mask {FIRST_MASK_MS:g} ms, any mask {MASK_MS:g} ms, memory {MEMORY_MB:g} MB.\n")
    out: dict[str, Any] = {}

    def rows() -> Any:
        for shape, make in (SHAPES | (OTHER_SIZES if args.all else {})).items():
            if args.only in shape:
                out[shape] = best([in_a_process(make, vocabulary, encode, {}) for _ in range(args.repeat)])
                yield cells(shape, out[shape])

    table(["shape", "first mask, ms", "slowest mask, ms", "slowest with a budget, ms", "memory, MB"], rows())
    missed = [shape for shape, found in out.items() if any("**" in cell for cell in cells(shape, found))]
    for shape in missed:
        found = out[shape]
        plain, budget = found.get("slowest_after"), found.get("slowest_budget_after")
        print(f"{shape}: slowest after {plain!r}, with a budget {budget!r}")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "vocabulary": vocabulary.size, "shapes": out}, indent=1))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
