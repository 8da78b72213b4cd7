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
import gzip
import json
import math
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import guard
from benchmarks.__main__ import DATA, table

BENCH = {"full": [], "short": ["--n", "3", "--category", "simple_python"]}  #: What `make bench` runs.
TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}
NO_CALL = ("irrelevance", "live_irrelevance")  #: Categories in which nothing should be called.


def schema(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return BFCL's schema of arguments as JSON Schema."""
    made = {key: part for key, part in given.items() if key not in ("type", "properties", "items", "optional")}
    kind = str(given.get("type", "object")).lower()
    if (named := TYPES.get(kind, kind)) is not None:
        made["type"] = named
    if "properties" in given:
        made["properties"] = {name: schema(part) for name, part in given["properties"].items()}
        made.setdefault("additionalProperties", False)
    if isinstance(given.get("items"), dict):
        made["items"] = schema(given["items"])
    return made


def same(got: Any, accepted: Any) -> bool:
    """Whether two values are the same by BFCL's rules: texts without case and punctuation, numbers by value."""
    if isinstance(got, bool) or isinstance(accepted, bool):
        return got is accepted
    if isinstance(got, str) and isinstance(accepted, str):
        return _plain(got) == _plain(accepted)
    if isinstance(got, list) and isinstance(accepted, list):
        return len(got) == len(accepted) and all(map(same, got, accepted))
    if isinstance(got, dict) and isinstance(accepted, dict):
        return fits(got, accepted)
    return bool(got == accepted)


def _plain(text: str) -> str:
    return re.sub(r"[ ,./\-_*^]", "", text).lower().replace("'", '"')


def fits(arguments: Mapping[str, Any], accepted: Mapping[str, list[Any]]) -> bool:
    """Whether every argument is among the accepted ones; "" among them: it may be left out."""
    return all(name in accepted for name in arguments) and all(
        any(same(arguments[name], one) for one in ones if one != "" or arguments[name] == "")
        if name in arguments
        else "" in ones
        for name, ones in accepted.items()
    )


def is_right(turn: guard.Turn, answers: list[dict[str, Any]]) -> bool:
    """Whether a turn makes the calls that are wanted, in any order, and no others."""
    left = list(answers)
    for call in turn.calls:
        found = next((one for one in left if call.name in one and fits(call.arguments, one[call.name])), None)
        if found is None:
            return False
        left.remove(found)
    return not left


def interval(right: int, count: int) -> str:
    """Return a share in percent with Wilson's 95% interval."""
    if not count:
        return "-"
    z, share = 1.96, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return f"{100 * share:.0f}% ({100 * (middle - half):.0f} to {100 * (middle + half):.0f})"


def questions(category: str, most: int) -> list[dict[str, Any]]:
    """Return so many questions of a category."""
    with gzip.open(DATA / "bfcl.jsonl.gz", "rt") as lines:
        return [row for row in map(json.loads, lines) if row["category"] == category][:most]


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
            tools = [{**f, "parameters": schema(f["parameters"])} for f in row["function"]]
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
                right = sum(
                    one is not None and is_right(one, row["answer"]) for one, row in zip(forced, every, strict=False)
                )
                called = sum(one is not None and bool(one.calls) for one in free)
                good = sum(
                    one is not None and (not one.calls if wants_none else is_right(one, row["answer"]))
                    for one, row in zip(free, every, strict=True)
                )
                told = ["-", "-"] if wants_none else [f"{valid} of {len(forced)}", interval(right, len(forced))]
                yield [category, str(len(every)), *told, f"{called} of {len(free)}", interval(good, len(free))]

        table(["category", "questions", "forced: valid", "forced: right", "auto: called", "auto: right"], rows())
    return int(not is_whole)


if __name__ == "__main__":
    sys.exit(main())
