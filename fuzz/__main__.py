"""python -m fuzz: the engine's properties on random seeds, until time is up or one does not hold.

    python -m fuzz --seconds 60                    every property in turn, from a seed of the clock
    python -m fuzz --only masks --seed 123         one property, from one seed
    python -m fuzz --only masks --seed 123 --cases 1    exactly one case: what a failure prints

Each case has a seed of its own, counted from --seed. Cases run in child processes, a batch in each, so that a crash, a
hang or a runaway of memory is a failure with a seed too. A failing schema is cut down as far as it still fails.
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

import properties
import strategies
from strategies import Case

BATCH = 40  #: Cases in one child process.
CASE_SECONDS = 60.0  #: A case that takes longer hangs: most take milliseconds.
MEMORY = 8 * 2**30  #: Address space of a child, in bytes.
SHRINK_SECONDS = 60.0  #: Longest time spent on cutting a failing schema down.


@dataclass(frozen=True)
class Property:
    """A check, and how its argument is drawn from a seed."""

    draw: Callable[[Random], Any]
    check: Callable[[Any], Counter[str]]


def _with_vocabulary(check: Callable[..., Counter[str]]) -> Callable[[Case], Counter[str]]:
    return lambda case: check(case, strategies.vocabulary(case.seed % strategies.VOCABULARIES))


def _seeded(check: Callable[..., Counter[str]]) -> Callable[[tuple[Any, int]], Counter[str]]:
    return lambda drawn: check(drawn[0], Random(drawn[1]))


PROPERTIES: dict[str, Property] = {
    "masks": Property(strategies.case, _with_vocabulary(properties.check_masks)),
    "forced": Property(strategies.case, properties.check_forced_bytes),
    "generations": Property(strategies.case, _with_vocabulary(properties.check_generation)),
    "universe": Property(strategies.case, properties.check_universe),
    "soundness": Property(strategies.case, properties.check_soundness),
    "spellings": Property(strategies.case, properties.check_spellings),
    "regexes": Property(
        lambda r: (properties.regex(r, r.randint(1, 4)), r.randrange(2**32)), _seeded(properties.check_regex)
    ),
    "numbers": Property(lambda r: (properties.number_schema(r), r.randrange(2**32)), _seeded(properties.check_number)),
}


def run_case(name: str, seed: int) -> Counter[str]:
    """Run one case of a property."""
    drawn = PROPERTIES[name].draw(Random(seed))
    return properties.within_limits(_refusals_counted, name, drawn)


def _refusals_counted(name: str, drawn: Any) -> Counter[str]:
    try:
        return PROPERTIES[name].check(drawn)
    except strategies.guard.SchemaError as error:
        if "is not supported yet" not in str(error):
            raise
        return Counter(refused=1)


def run_batch(name: str, seed: int, cases: int, pipe: Any) -> None:
    """Run cases in a child; tell the parent which one begins, and what was counted or found."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for at in range(seed, seed + cases):
        pipe.send(("begins", at))
        try:
            pipe.send(("count", run_case(name, at)))
        except Exception as error:
            pipe.send(("fails", f"{type(error).__name__}: {error}"))
            drawn = PROPERTIES[name].draw(Random(at))
            if isinstance(drawn, Case):
                pipe.send(("shrunk", _shrunk(name, drawn)))
            return


def _shrunk(name: str, case: Case) -> str:
    """Cut a failing case down; a candidate that fails in any way will do."""
    until = time.monotonic() + SHRINK_SECONDS
    last = [""]

    def fails(candidate: Case) -> bool:
        if time.monotonic() > until:
            return False
        try:
            PROPERTIES[name].check(candidate)
        except strategies.guard.SchemaError:
            return False
        except Exception as error:
            last[0] = f"{type(error).__name__}: {error}"
            return True
        return False

    smallest = strategies.shrunk(case, fails)
    return last[0] or str(smallest)


def batch(name: str, seed: int, cases: int) -> tuple[Counter[str], str | None]:
    """Run a batch in a child process; return what was counted, and what failed, in words."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=run_batch, args=(name, seed, cases, sender))
    child.start()
    sender.close()
    count: Counter[str] = Counter()
    at, failure = seed, None
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
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    args = parser.parse_args()
    first = int(time.time()) * 1000 if args.seed is None else args.seed
    start, seed, failed = time.monotonic(), first, False
    totals = {name: Counter[str]() for name in args.only}
    spent = dict.fromkeys(args.only, 0.0)
    # Warm what all children share: they are forks.
    for number in range(strategies.VOCABULARIES):
        strategies.vocabulary(number)
    strategies.byte_vocabulary()
    while time.monotonic() - start < args.seconds and (args.cases is None or seed < first + args.cases):
        size = BATCH if args.cases is None else min(BATCH, first + args.cases - seed)
        for name in args.only:
            began = time.monotonic()
            count, failure = batch(name, seed, size)
            totals[name] += count
            spent[name] += time.monotonic() - began
            if failure:
                failed = True
                print(failure, file=sys.stderr, flush=True)
                if not args.keep_going:
                    report(first, totals, spent)
                    return 1
        seed += size
    report(first, totals, spent)
    return int(failed)


def report(seed: int, totals: dict[str, Counter[str]], spent: dict[str, float]) -> None:
    """Print a table: cases, cases per second, and what was judged."""
    print(f"from seed {seed}\n")
    print("| property | cases | cases/s | counted |\n|:--|--:|--:|:--|")
    for name, count in totals.items():
        cases = count["cases"]
        counted = ", ".join(f"{what} {n:,}" for what, n in sorted(count.items()) if what not in ("cases", "schemas"))
        print(f"| {name} | {cases:,} | {cases / max(spent[name], 1e-9):,.0f} | {counted} |")


if __name__ == "__main__":
    sys.exit(main())
