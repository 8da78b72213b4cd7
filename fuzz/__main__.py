"""python -m fuzz: the engine's properties, and the pipeline's, on random seeds, until time is up or one does not hold.

    python -m fuzz --seconds 60                    every property in turn, from a seed of the clock
    python -m fuzz --only masks --seed 123         one property, from one seed
    python -m fuzz --only masks --seed 123 --cases 1    exactly one case: what a failure prints
    python -m fuzz --only exactness --seconds 1800      the judge of tests/exactness, with a table of what met
    python -m fuzz --only exactness --keyword x-guard-from    its pairs with one keyword

Each case has a seed of its own, counted from --seed; those of exactness are chosen such that the two keywords that met
least meet next. Cases run in child processes, a batch in each, so that a crash, a hang or a runaway of memory is a
failure with a seed too. A failing schema is cut down as far as it still fails.
Exit code 0: nothing found; 1: a property does not hold, and its seed was printed.
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import numerals
import properties
import strategies
from exactness import judge
from exactness.generator import KEYWORDS, PAIRS

BATCH = 40  #: Cases in one child process.
JUDGED = 300  #: The same of exactness, whose tables all schemas share and each child makes.
CASE_SECONDS = 60.0  #: A case that takes longer hangs: most take milliseconds.
HARNESS_BATCH = 5  #: Cases of harness in one child process: each is hundreds of calls.
HARNESS_RUNS = 20  #: Answers drawn for each schema of harness, beside each fault alone.
MEMORY = 8 * 2**30  #: Address space of a child, in bytes.
SHRINK_SECONDS = 60.0  #: Longest time spent on cutting a failing schema down.


@dataclass(frozen=True)
class Property:
    """A check, and how its argument is drawn from a seed."""

    draw: Callable[[int], Any]
    check: Callable[[Any], Counter[Any]]


def _case(seed: int) -> strategies.Case:
    return strategies.case(Random(seed))


def _seeded_draw(draw: Callable[[Random], Any]) -> Callable[[int], tuple[Any, int]]:
    def both(seed: int) -> tuple[Any, int]:
        r = Random(seed)
        return draw(r), r.randrange(2**32)

    return both


def _with_vocabulary(check: Callable[..., Counter[str]]) -> Callable[[strategies.Case], Counter[str]]:
    return lambda case: check(case, strategies.vocabulary(case.seed % strategies.VOCABULARIES))


def _seeded(check: Callable[..., Counter[str]]) -> Callable[[tuple[Any, int]], Counter[str]]:
    return lambda drawn: check(drawn[0], Random(drawn[1]))


def check_harness(case: strategies.Case) -> Counter[str]:
    """Check that Guard's own pipeline holds every invariant of the harness on a schema."""
    from guard.testing import Check
    from guard.testing.report import as_text

    asked = strategies.guard.Guard(retries=1, options={"inexact": "residual"})
    try:
        report = Check(asked, schema=case.schema, runs=HARNESS_RUNS, seed=case.seed).run()
    except strategies.guard.SchemaError as error:  # no value at all: there is nothing to say
        if "nothing can meet it" not in str(error):
            raise
        return Counter(empty=1)
    assert report.holds, as_text(report)
    return Counter(trials=report.cases, requests=report.asks)


PROPERTIES: dict[str, Property] = {
    "masks": Property(_case, _with_vocabulary(properties.check_masks)),
    "forced": Property(_case, properties.check_forced_bytes),
    "generations": Property(_case, _with_vocabulary(properties.check_generation)),
    "universe": Property(_case, properties.check_universe),
    "soundness": Property(_case, properties.check_soundness),
    "spellings": Property(_case, properties.check_spellings),
    "regexes": Property(_seeded_draw(lambda r: properties.regex(r, r.randint(1, 4))), _seeded(properties.check_regex)),
    "numbers": Property(_seeded_draw(numerals.number_schema), _seeded(numerals.check_number)),
    "exactness": Property(judge.case, judge.check),
    "harness": Property(_case, check_harness),
}


def run_case(name: str, seed: int) -> Counter[Any]:
    """Run one case of a property."""
    drawn = PROPERTIES[name].draw(seed)
    return properties.within_limits(_refusals_counted, name, drawn)


def _refusals_counted(name: str, drawn: Any) -> Counter[str]:
    try:
        return PROPERTIES[name].check(drawn)
    except strategies.guard.SchemaError as error:
        if "is not supported yet" not in str(error):
            raise
        return Counter(refused=1)


def run_batch(name: str, seeds: list[int], pipe: Any) -> None:
    """Run cases in a child; tell the parent which one begins, and what was counted or found."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for at in seeds:
        pipe.send(("begins", at))
        try:
            pipe.send(("count", run_case(name, at)))
        except Exception as error:
            pipe.send(("fails", f"{type(error).__name__}: {error}"))
            drawn = PROPERTIES[name].draw(at)
            if isinstance(drawn, (strategies.Case, judge.Case)):
                pipe.send(("shrunk", _shrunk(name, drawn, type(error))))
            return


def _shrunk(name: str, case: Any, kind: type[Exception]) -> str:
    """Cut a failing case down, to one that fails with an error of the same kind."""
    until = time.monotonic() + SHRINK_SECONDS
    last = [""]

    def fails(candidate: Any) -> bool:
        if time.monotonic() > until:
            return False
        try:
            PROPERTIES[name].check(candidate)
        except Exception as error:
            if type(error) is not kind or isinstance(error, strategies.guard.SchemaError):
                return False
            last[0] = f"{type(error).__name__}: {error}"
            return True
        return False

    smallest = strategies.shrunk(case, fails)
    return last[0] or str(smallest)


def batch(name: str, seeds: list[int]) -> tuple[Counter[Any], str | None]:
    """Run a batch in a child process; return what was counted, and what failed, in words."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=run_batch, args=(name, seeds, sender))
    child.start()
    sender.close()
    count: Counter[Any] = Counter()
    at, failure = seeds[0], None
    try:
        while receiver.poll(CASE_SECONDS + (SHRINK_SECONDS if failure else 0)):
            kind, value = receiver.recv()
            if kind == "begins":
                at = value
            elif kind == "count":
                count += Counter(cases=1) + value
            elif kind == "fails":
                failure = value
            else:
                failure = f"{failure}\ncut down: {value}"
        else:
            failure = failure or f"runs for more than {CASE_SECONDS:g} s"
            child.kill()
    except EOFError:
        pass
    child.join()
    if failure is None and child.exitcode:
        failure = f"the process died with exit code {child.exitcode}"
    again = f"again: python -m fuzz --only {name} --seed {at} --cases 1"
    return count, failure and f"{name}, seed {at}: {failure}\n{again}"


def main() -> int:
    """Run, report, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Look for faults in the mask engine.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="of the first case; default: from the clock")
    parser.add_argument("--cases", type=int, help="stop after so many cases of each property")
    parser.add_argument("--only", choices=PROPERTIES, nargs="+", default=list(PROPERTIES))
    parser.add_argument("--keyword", choices=sorted(KEYWORDS), help="of exactness: only pairs with this keyword")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    args = parser.parse_args()
    first = int(time.time()) * 1000 if args.seed is None else args.seed
    start, seed, failed = time.monotonic(), first, False
    totals = {name: Counter[Any]() for name in args.only}
    spent = dict.fromkeys(args.only, 0.0)
    # Warm what all children share: they are forks.
    for number in range(strategies.VOCABULARIES):
        strategies.vocabulary(number)
    strategies.byte_vocabulary()
    while time.monotonic() - start < args.seconds and (args.cases is None or seed < first + args.cases):
        size = BATCH if args.cases is None else min(BATCH, first + args.cases - seed)
        for name in args.only:
            began = time.monotonic()
            seeds = list(range(seed, seed + size))
            if name == "harness":
                seeds = seeds[:HARNESS_BATCH]
            if name == "exactness" and args.cases is None:
                seeds = rarest(totals[name], seeds[0], args.keyword)
            count, failure = batch(name, seeds)
            totals[name] += count
            spent[name] += time.monotonic() - began
            if failure:
                failed = True
                print(failure, file=sys.stderr, flush=True)
                if not args.keep_going:
                    report(first, totals, spent, args.keyword)
                    return 1
        seed += size
    report(first, totals, spent, args.keyword)
    return int(failed)


def rarest(met: Counter[Any], seed: int, keyword: str | None) -> list[int]:
    """Return seeds of exactness in which the pairs that met least (of a keyword) are drawn, the rarest most often."""
    r = Random(seed)
    numbers = [number for number, pair in enumerate(PAIRS) if keyword is None or keyword in pair]
    order = sorted(numbers, key=lambda number: (met[PAIRS[number]], r.random()))
    chosen = [order[int(len(order) * r.random() ** 4)] for _ in range(JUDGED)]
    return [(seed * JUDGED + at) * len(PAIRS) + number for at, number in enumerate(chosen)]


def report(seed: int, totals: dict[str, Counter[Any]], spent: dict[str, float], keyword: str | None) -> None:
    """Print a table: cases, cases per second, and what was judged; of exactness also what met."""
    print(f"from seed {seed}\n")
    print("| property | cases | cases/s | counted |\n|:--|--:|--:|:--|")
    for name, count in totals.items():
        cases = count["cases"]
        what = {w: n for w, n in count.items() if isinstance(w, str) and w not in ("cases", "schemas")}
        counted = ", ".join(f"{w} {n:,}" for w, n in sorted(what.items()))
        print(f"| {name} | {cases:,} | {cases / max(spent[name], 1e-9):,.0f} | {counted} |")
    if "exactness" in totals:
        count = totals["exactness"]
        low = sorted((count[pair], pair) for pair in PAIRS if keyword is None or keyword in pair)
        speed = count["verdicts"] / max(spent["exactness"], 1e-9)
        print(f"\n{speed:,.0f} verdicts/s; of {len(low):,} pairs of keywords")
        print(f"the rarest met {low[0][0]:,} times, the median {low[len(low) // 2][0]:,}; the rarest ten:")
        print(", ".join(f"{a} & {b} {n}" for n, (a, b) in low[:10]))


if __name__ == "__main__":
    sys.exit(main())
