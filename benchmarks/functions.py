"""python -m benchmarks.functions: BFCL's questions answered by turns, with calls that must come and calls at will.

For each category: how many forced calls (`tool_choice="required"`) were valid, and how many right by BFCL's rules with
a 95% interval (Wilson's); and of free turns (`auto`) how many called, and of those how many were right. For questions
to which no function belongs, right is a turn without a call.

Examples:
    python -m benchmarks.functions                      SmolLM2, 20 questions of each category
    python -m benchmarks.functions --n 100 --category simple_python --model transformers:FOLDER
"""

from __future__ import annotations

import argparse
import itertools
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
NO_CALL = ("irrelevance", "live_irrelevance")  #: Categories in which nothing should be called.


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
    """Return the first `most` questions of a category."""
    return list(itertools.islice((row for row in bfcl.rows() if row["category"] == category), most))


def main() -> int:
    """Print the table; returns 1 where a forced call was not valid."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.functions")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--category", default="simple_python,live_simple,multiple,parallel,live_multiple,irrelevance")
    parser.add_argument("--n", type=int, default=20)
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
                wants_none = category in NO_CALL
                with ThreadPoolExecutor(4) as pool:
                    forced = [] if wants_none else list(pool.map(lambda row: turn(row, "required"), every))
                    free = list(pool.map(lambda row: turn(row, "auto"), every))
                valid = sum(one is not None and bool(one.calls) for one in forced)
                is_whole = is_whole and valid == len(forced)
                right = [
                    one is not None and is_right(one, row["answer"]) for one, row in zip(forced, every, strict=False)
                ]
                called = sum(one is not None and bool(one.calls) for one in free)
                good = [
                    one is not None and (not one.calls if wants_none else is_right(one, row["answer"]))
                    for one, row in zip(free, every, strict=True)
                ]
                told = ["-", "-"] if wants_none else [f"{valid} of {len(forced)}", bfcl.share(right)]
                yield [category, str(len(every)), *told, f"{called} of {len(free)}", bfcl.share(good)]

        table(["category", "questions", "forced: valid", "forced: right", "auto: called", "auto: right"], rows())
    return int(not is_whole)


if __name__ == "__main__":
    sys.exit(main())
