"""Does tuning pay? `python -m benchmarks.tuning --data FILE --minutes 10 --out FOLDER`: BFCL, trained and measured.

Questions of the Berkeley Function Calling Leaderboard with one function. The functions whose names have the lowest
hashes are held out, with whatever asks about them; a model is trained on the others and saved in FOLDER, which
`transformers:FOLDER` loads. Then the held-out questions are answered under masks, once each, by the base and by the
tuned model: right by the leaderboard's rules.

--minutes are of one processor, loading and cutting included; what is measured before and after is beside it. Other
questions about the held-out functions only calibrate: each half of the functions says which answers of the other half
are sure enough to be served alone, in the mean of many divisions into halves.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import random
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import guard
from benchmarks import bfcl
from guard.decoding.answer_figures import WHOLE, figures
from guard.decoding.calibration import Calibration, Known, threshold
from guard.models.chat_messages import asked
from guard.tuning.examples import Pair
from guard.tuning.job import tune
from guard.tuning.training import Recipe, TrainingReport

PRECISION = 0.8  #: Of answers served alone; the threshold is another set's.
DIVISIONS = 100  #: Of the held-out functions into two halves.
APART_S = 120.0  #: Of --minutes, seconds for loading, cutting and saving; training has the rest.
#: --minutes from which on there is time to train all layers, and on questions with several calls.
DEEP = 10.0
ALL = 1_000  #: More layers than a model has.


@dataclasses.dataclass(frozen=True)
class Answer:
    """A model's answer to a question."""

    function: str
    is_right: bool
    known: Known | None  # what speaks for it; None where there is no answer


def messages(row: dict[str, Any], function: dict[str, Any]) -> tuple[dict[str, str], ...]:
    """Return the question as a model is asked."""
    asked = row["question"][0][-1]["content"]
    words = f"Call {function['name']}: {function.get('description', '')} Answer with its arguments as JSON."
    return ({"role": "user", "content": f"{asked}\n\n{words}"},)


def right_answer(accepted: dict[str, list[Any]], function: dict[str, Any]) -> dict[str, Any]:
    """Return one accepted answer: the first value of each argument, in the schema's order, optional ones left out."""
    declared = function["parameters"].get("properties", {})
    required = function["parameters"].get("required", [])
    chosen = {}
    for key in declared:
        values = accepted.get(key)
        if values is None or ("" in values and key not in required):
            continue
        chosen[key] = _first(values)
    return chosen


def _first(values: list[Any]) -> Any:
    value = next((value for value in values if value != ""), "")
    if isinstance(value, dict):  # of whose members the accepted values are listed again
        return {k: _first(v) if isinstance(v, list) else v for k, v in value.items() if v != [""]}
    if isinstance(value, list):
        return [_first([item]) if isinstance(item, dict) else item for item in value]
    return value


def questions(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, list[Any]]]]:
    """Yield rows with each function that they call once, and the accepted values of its arguments."""
    for row in bfcl.rows(path):
        calls = [called for answer in row["answer"] or () for called in answer.items()]
        times = Counter(name for name, _ in calls)
        for name, accepted in calls:
            function = next((f for f in row["function"] if f["name"] == name), None)
            if function is not None and times[name] == 1:
                yield row, function, accepted


def held_out(rows: list[Any], categories: list[str], count: int) -> tuple[dict[str, list[Any]], set[str]]:
    """Return held-out questions by category, three of a function at most, and the names of their functions."""
    found: dict[str, list[Any]] = {}
    names: set[str] = set()
    for category in categories:
        of = [row for row in rows if row[0]["category"] == category and len(row[0]["function"]) == 1]
        by_hash = sorted({_last(f["name"]) for _, f, _ in of}, key=lambda n: hashlib.sha256(n.encode()).hexdigest())
        chosen: list[Any] = []
        for name in by_hash:
            if len(chosen) >= count:
                break
            chosen += [row for row in of if _last(row[1]["name"]) == name][:3]
            names.add(name)
        found[category] = chosen[:count]
    return found, names


def others_of(rows: list[Any], names: set[str], held: list[Any]) -> list[Any]:
    """Return the other questions about held-out functions: neither trained on nor measured."""
    return [row for row in rows if _last(row[1]["name"]) in names and row not in held]


def _last(name: str) -> str:
    return name.split(".")[-1].lower()


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", text.lower()))


def pairs(rows: list[Any], names: set[str], held: list[Any], dropped: Counter[str]) -> Iterator[Pair]:
    """Yield what may be trained on: other functions than the held-out ones, and no question that is nearly theirs."""
    texts = [_words(row["question"][0][-1]["content"]) for row, _, _ in held]
    for row, function, accepted in rows:
        if _last(function["name"]) in names:
            continue
        words = _words(row["question"][0][-1]["content"])
        if any(len(words & other) >= 0.8 * max(1, len(words | other)) for other in texts):
            dropped["nearly a held-out question"] += 1
            continue
        answer = right_answer(accepted, function)
        if not bfcl.fits(answer, accepted):
            dropped["its answer is not one of its own"] += 1
            continue
        try:
            compiled = guard.compile(bfcl.schema(function["parameters"]))
        except guard.SchemaError:
            dropped["its schema is refused"] += 1
            continue
        yield Pair(messages(row, function), compiled, json.dumps(answer, ensure_ascii=False), row["id"], by="person")


def measured(model: str, rows: list[Any]) -> list[Answer]:
    """Answer questions under masks, once each; returns which are right, with what speaks for them."""

    def one(given: Any) -> Answer:
        row, function, accepted = given
        told, schema = messages(row, function), bfcl.schema(function["parameters"])
        try:
            value, call = asker.traced(schema, messages=told)
        except guard.GuardError:
            return Answer(_last(function["name"]), False, None)
        reply = call.attempts[-1].reply
        found = figures(call.text, reply.tokens if reply else (), asked(told, model), schema)
        is_right = bfcl.fits(value, accepted)
        return Answer(_last(function["name"]), is_right, Known(found[WHOLE], is_right) if found else None)

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as pool:
        asker = guard.Guard(model=model, retries=0, max_tokens=160, trace=Path(folder) / "trace.db")
        return list(pool.map(one, rows))


def _alone(answers: list[Answer], others: list[Answer]) -> str:
    """Say what is served at a precision: each half of the functions by the calibration that the other half gives.

    The mean of DIVISIONS into halves: a single one is a matter of luck. `others` are answers that only calibrate, to
    more questions about the same functions.
    """
    functions, draw = sorted({one.function for one in (*answers, *others)}), random.Random(0)
    asked, right = 0, []
    for _ in range(DIVISIONS):
        draw.shuffle(functions)
        first = set(functions[: len(functions) // 2])
        for half in (True, False):
            known = [one.known for one in (*answers, *others) if (one.function in first) != half and one.known]
            made = Calibration.made((), {WHOLE: known})
            least = threshold(made.precision, PRECISION)
            judged = [one for one in answers if (one.function in first) == half]
            asked += len(judged)
            right += [
                one.is_right
                for one in judged
                if one.known and least is not None and made.confidence(one.known.figures) >= least
            ]
    found = f", {sum(right) / len(right):.1%} of them right" if right else ""
    return f"{len(right) / asked:.1%} served alone where {PRECISION:.0%} are to be right{found} (mean of {DIVISIONS})"


def main() -> int:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=bfcl.QUESTIONS)
    parser.add_argument("--category", default="simple_python,live_simple", help="measured; separated by commas")
    parser.add_argument("--train", default="", help="categories that are trained on; default: all of the file")
    parser.add_argument("--minutes", type=float, default=10.0, help="of one processor")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--held-out", type=int, default=60, help="questions of each category; 0: none, all are trained")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--no-base", action="store_true", help="do not measure the base as well")
    for field in dataclasses.fields(Recipe):
        if field.name not in ("seconds", "steps"):
            kind = type(field.default)
            parser.add_argument(f"--{field.name}", type=kind, default=None)
    args = parser.parse_args()
    categories = args.category.split(",")
    rows = list(questions(args.data))
    held, names = held_out(rows, categories, args.held_out)
    wanted = set(args.train.split(",")) if args.train else {row["category"] for row, _, _ in rows}
    dropped: Counter[str] = Counter()
    is_deep = args.minutes >= DEEP
    training = [
        (row, *of_it)
        for row, *of_it in rows
        if row["category"] in wanted and (is_deep or sum(map(len, row["answer"])) == 1)
    ]
    given = [row for part in held.values() for row in part]
    usable = list(pairs(training, names, given, dropped))
    options = {f.name: getattr(args, f.name) for f in dataclasses.fields(Recipe) if getattr(args, f.name, None)}
    # Epochs and branches are the most that there is time for.
    usual = {"epochs": 3.0, "layers": ALL, "batch": 4, "branches": 4} if is_deep else {"epochs": 4.0}
    seconds = max(args.minutes * 60 - APART_S, args.minutes * 30) - time.process_time()
    recipe = Recipe(**{**usual, **options, "seconds": seconds})

    def told(report: TrainingReport) -> None:
        if report.step % 10 == 0 or report.validation:
            print(
                f"step {report.step}, {report.progress:.0%}, loss {report.loss:.3f}, {report.seconds:.0f} s,"
                f" {report.seconds_left:.0f} s left {report.validation or ''}",
                file=sys.stderr,
                flush=True,
            )

    tuned = tune(usable, args.out, model=args.model, recipe=recipe, told=told, clock=time.process_time, dropped=dropped)
    spent, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{tuned.card['examples']} examples, {tuned.card['steps']} steps, {spent:.0f} processor seconds, {peak:.2f} GB"
    )
    print(f"left out: {dict(dropped)}\nbefore: {tuned.before}\nafter: {tuned.after}\n")
    print("| | " + " | ".join(f"{c}, {len(part)}" for c, part in held.items()) + " |\n|:--|" + "--:|" * len(held))
    alone: list[str] = []
    # In a process of their own: answering takes its memory beside what training has left.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
        for name in ([] if args.no_base else [args.model]) + [f"transformers:{args.out}"]:
            found = [apart.submit(measured, name, part).result() for part in held.values() if part]
            shares = [bfcl.share([one.is_right for one in part]) for part in found]
            print(f"| {name} | {' | '.join(shares)} |", flush=True)
            if found:
                others = apart.submit(measured, name, others_of(rows, names, given)).result()
                alone.append(f"{name}: {_alone([one for part in found for one in part], others)}")
    print("\n".join(("", *alone)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
