"""python -m benchmarks.functions: BFCL's questions answered by turns, with calls that must come and calls at will.

For each category: how many forced calls (`tool_choice="required"`) were valid, and how many right by BFCL's rules with
a 95% interval (Wilson's); and of free turns (`auto`) how many called, and how many were right. For questions to which
no function belongs, right is a turn without a call; for those that want any call, a turn with one.

Examples:
    python -m benchmarks.functions                      SmolLM2, 50 questions of each category
    python -m benchmarks.functions --n 0                all 2,466 questions
    python -m benchmarks.functions --n 100 --category simple_python --model transformers:FOLDER
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import guard
from benchmarks import bfcl
from benchmarks.__main__ import table

BENCH = {"full": [], "short": ["--n", "3", "--category", "simple_python"]}  #: What `make bench` runs.
CATEGORIES = (
    *("simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance", "live_simple", "live_multiple"),
    *("live_parallel", "live_parallel_multiple", "live_relevance", "live_irrelevance"),
)
NO_CALL = ("irrelevance", "live_irrelevance")  #: Categories in which nothing should be called.
ANY_CALL = ("live_relevance",)  #: Categories in which any call is right.
WORKERS = 4


def is_right(turn: guard.Turn, answers: list[dict[str, Any]]) -> bool:
    """Whether a turn makes the calls that are wanted, in any order, and no others."""
    left = list(answers)
    for call in turn.calls:
        found = next((one for one in left if call.name in one and bfcl.fits(call.arguments, one[call.name])), None)
        if found is None:
            return False
        left.remove(found)
    return not left


def questions(category: str, most: int) -> list[dict[str, Any]]:
    """Return `most` questions of a category, drawn with a fixed seed; all where there are no more, or `most` is 0."""
    every = [row for row in bfcl.rows() if row["category"] == category]
    return every if not most or len(every) <= most else random.Random(1).sample(every, most)


def shares(category: str, turns: list[guard.Turn | None], rows: list[dict[str, Any]]) -> tuple[int, str]:
    """Return how many turns have a call, and how many are right, with the interval."""
    called = [one is not None and bool(one.calls) for one in turns]
    if category in NO_CALL:
        right = [one is not None and not one.calls for one in turns]
    elif category in ANY_CALL:
        right = called
    else:
        right = [one is not None and is_right(one, row["answer"]) for one, row in zip(turns, rows, strict=True)]
    return sum(called), bfcl.share(right)


def main() -> int:
    """Print the table; returns 1 where a forced call was not valid."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.functions")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--category", default=",".join(CATEGORIES))
    parser.add_argument("--n", type=int, default=50, help="questions of each category; 0: all")
    given = parser.parse_args()
    is_whole = True

    with tempfile.TemporaryDirectory() as folder:
        settings: Any = {"retries": 0, "max_tokens": 200, "on": {"length": "return"}}
        asker = guard.Guard(model=given.model, trace=Path(folder) / "trace.db", **settings)

        def turn(row: dict[str, Any], choice: str) -> guard.Turn | None:
            tools = [{**f, "parameters": bfcl.schema(f["parameters"])} for f in row["function"]]
            try:
                return asker.turn(row["question"][0], tools, tool_choice=choice)
            except guard.GuardError as error:
                print(f"{row['id']}: {error}", file=sys.stderr)
                return None

        def rows() -> Iterator[list[str]]:
            nonlocal is_whole
            for category in given.category.split(","):
                every = questions(category, given.n)
                with ThreadPoolExecutor(WORKERS) as pool:
                    wanted = [] if category in NO_CALL else every
                    forced = list(pool.map(lambda row: turn(row, "required"), wanted))
                    free = list(pool.map(lambda row: turn(row, "auto"), every))
                told = ["-", "-"]
                if forced:
                    valid, right = shares(category, forced, every)
                    is_whole = is_whole and valid == len(forced)
                    told = [f"{valid} of {len(forced)}", right]
                called, right = shares(category, free, every)
                yield [category, str(len(every)), *told, f"{called} of {len(free)}", right]

        table(["category", "questions", "forced: valid", "forced: right", "auto: called", "auto: right"], rows())
    return int(not is_whole)


if __name__ == "__main__":
    sys.exit(main())
