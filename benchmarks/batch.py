"""python -m benchmarks.batch: the masks of many rows in one call, beside xgrammar's batch call and a copy of the rows.

Everything in one process and in turn, the least of several: `fill_bitmasks` where each matcher stands where it stood at
the last call ("again"), the same of matchers that have just come there ("anew": other matchers have been there),
`xgrammar.BatchGrammarMatcher`, and `np.copyto` of the same int32 rows. Once with all cores, once with one core for all
of them. The bar: at most a third of xgrammar's time, or twice the copy's, whichever is more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import guard
from benchmarks.__main__ import CHOICES, INVOICE, TREE, real_schemas, table, tokenizer
from guard.kernels import fill_bitmasks
from guard.kernels.bitmask import allocate_bitmask

BENCH: dict[str, list[str]] = {"full": [], "short": []}  #: What `make bench` runs.

#: Schemas, each with a text that ends inside of a string.
CASES: dict[str, tuple[Any, str]] = {
    "a closed object": (INVOICE, '{"vendor": "Mull'),
    "a recursive tree": (TREE, '{"name": "ro'),
    "one of 2,000 strings": (CHOICES, '{"city": "city of 1'),
}
REAL = 64  #: Real schemas in one batch; each has several rows.
LARGEST = 3000  #: Bytes of a real schema, so that peers compile it in time.
TIMES = 9


class Peer:
    """xgrammar on the same vocabulary."""

    def __init__(self, loaded: Any, size: int) -> None:
        import xgrammar

        self.library = xgrammar
        self.compiler = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo.from_huggingface(loaded, vocab_size=size))
        self.batch = {threads: xgrammar.BatchGrammarMatcher(max_threads=threads) for threads in (1, "auto")}
        self.size = size

    def matchers(self, schema: Any, text: str, rows: int) -> list[Any] | None:
        """Return matchers behind a text; None where it has no way there."""
        compiled = self.compiler.compile_json_schema(json.dumps(schema), any_whitespace=False)
        made = [self.library.GrammarMatcher(compiled) for _ in range(rows)]
        return made if all(not text or matcher.accept_string(text) for matcher in made) else None


def matchers(compiled: guard.Compiled, vocabulary: guard.Vocabulary, text: str, rows: int) -> list[Any] | None:
    """Return Guard's matchers behind a text; None where it has no way there."""
    made = [compiled.matcher(vocabulary) for _ in range(rows)]
    return made if all(not text or matcher.accept_bytes(text.encode()) for matcher in made) else None


def batches(vocabulary: guard.Vocabulary, peer: Peer, rows: int) -> Iterator[tuple[str, str, list[Any], list[Any]]]:
    """Yield (schema, place, parts of Guard's matchers as (compiled, text, rows), xgrammar's matchers)."""
    for name, (schema, inside) in CASES.items():
        compiled = guard.compile(schema)
        for place, text in (("root", ""), ("string", inside)):
            theirs = peer.matchers(schema, text, rows)
            if theirs is not None:
                yield name, place, [(compiled, text, rows)], theirs
    ours: dict[str, list[Any]] = {"root": [], "string": []}
    their: dict[str, list[Any]] = {"root": [], "string": []}
    each = rows // REAL
    for schema, text in real():
        try:
            compiled = guard.compile(schema, key_order="any")
            found = [peer.matchers(schema, prefix, each) for prefix in ("", text)]
        except (guard.SchemaError, RuntimeError, ValueError):
            continue
        if None in found or matchers(compiled, vocabulary, text, 1) is None:
            continue
        for place, prefix, made in zip(("root", "string"), ("", text), found, strict=True):
            ours[place].append((compiled, prefix, each))
            their[place] += made
        if len(ours["root"]) == REAL:
            break
    for place in ours if ours["root"] else ():
        yield f"{len(ours[place])} real schemas", place, ours[place], their[place]


def real() -> Iterator[tuple[Any, str]]:
    """Yield real schemas, each with the beginning of an instance that ends inside of a string."""
    for doc in real_schemas(7):
        if len(json.dumps(doc["schema"])) > LARGEST:
            continue
        for test in doc["tests"]:
            text = json.dumps(test["data"], ensure_ascii=False)
            at = text.find(': "')
            if test["valid"] and at >= 0 and text[at + 3 : at + 6].isalnum():
                yield doc["schema"], text[: at + 5]
                break


def measured(calls: dict[str, Callable[[], Any]], before: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the least time of each call, in microseconds; all take turns, and `before` one is not timed."""
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(TIMES):
        for name, call in calls.items():
            for _ in range(3):
                argument = before[name]() if name in before else None
                start = time.perf_counter()
                call() if argument is None else call(argument)
                least[name] = min(least[name], (time.perf_counter() - start) * 1e6)
    return least


def figures_of(
    vocabulary: guard.Vocabulary, peer: Peer, parts: list[Any], theirs: list[Any], threads: Any
) -> dict[str, float]:
    """Measure one batch."""

    def ours() -> list[Any]:
        return [m for compiled, text, n in parts for m in matchers(compiled, vocabulary, text, n) or ()]

    again, batch = ours(), peer.batch[threads]
    mask = allocate_bitmask(len(again), vocabulary.size)
    copy, bits = mask.copy(), peer.library.allocate_token_bitmask(len(theirs), vocabulary.size)
    for _ in range(3):
        fill_bitmasks(again, mask)
    calls = {
        "copy": lambda: np.copyto(copy, mask),
        "again": lambda: fill_bitmasks(again, mask),
        "anew": lambda fresh=None: fill_bitmasks(fresh, mask),
        "peer": lambda: batch.batch_fill_next_token_bitmask(theirs, bits),
    }
    return measured(calls, {"anew": ours})


def rows_of(vocabulary: guard.Vocabulary, peer: Peer, rows: int, threads: Any) -> Iterator[list[str]]:
    """Measure each batch."""
    for name, place, parts, theirs in batches(vocabulary, peer, rows):
        found = figures_of(vocabulary, peer, parts, theirs, threads)
        bar = max(found["peer"] / 3, 2 * found["copy"])
        figures = [f"{found[key]:,.0f}" for key in ("copy", "again", "anew", "peer")]
        ratios = [f"{found['again'] / found[key]:.3f}" for key in ("peer", "copy")]
        yield [name, place, *figures, *ratios, "yes" if found["again"] <= bar else "**no**"]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=256)
    args = parser.parse_args()
    name, loaded = tokenizer()
    try:
        import xgrammar  # noqa: F401 - is it there?
    except ImportError:
        print("xgrammar is not installed (`make bench` installs it): there is nothing to measure against.")
        return 2
    vocabulary = guard.Vocabulary.from_tokenizer(loaded)
    peer = Peer(loaded, vocabulary.size)
    load = os.getloadavg()[0]
    print(
        f"### {args.rows} rows in one call: {name}, {vocabulary.size:,} tokens, {platform.machine()}, load {load:.1f}\n"
    )
    cores = os.sched_getaffinity(0)
    header = ["schema", "where", "copy, µs", "again", "anew", "xgrammar", "again/xgrammar", "again/copy", "bar met"]
    for used, threads in ((cores, "auto"), ({min(cores)}, 1)):
        os.sched_setaffinity(0, used)
        print(f"{len(used)} core{'s' if len(used) > 1 else ''}\n")
        table(header, rows_of(vocabulary, peer, args.rows, threads))
    os.sched_setaffinity(0, cores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
