"""Strategies against validators: `python -m fuzz.strategies [--seconds N] [--schemas N] [--seed N]`.

Of every schema of MaskBench and the official suite: values, which jsonschema-rs and jsonschema must both take, and near
misses, which both must refuse. Ends with 1 where both validators disagree with Guard; where they disagree with each
other that is counted. Each schema has a process of its own: on some that people made up to be hard, validators
themselves take for ever, or all memory. The test data is read from ../shared/data, or the folder that GUARD_DATA names.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import os
import pickle
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guard.errors import SchemaError
from guard.testing.json_validators import Judges, copied
from guard.testing.strategies.near_misses import Misses
from guard.testing.strategies.values import Instances

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("GUARD_DATA") or ROOT.parent / "shared" / "data")
VALUES = 12  #: Of each schema.
SECONDS = 120  #: Of one schema.
MEMORY = 4 << 30  #: Of one schema, in bytes.
PLACES = 8  #: Keywords of each schema whose near misses are drawn, taken at random.

sys.path.insert(0, str(ROOT / "tests"))
import suite  # noqa: E402 - a helper of the tests, which are no package


def schemas() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield each schema: its name, itself, and the options that it is compiled with."""
    for draft in suite.DRAFTS:
        for folder in ("", "optional/format/"):
            for group in suite.groups(draft, folder):
                schema = json.loads(json.dumps(group.schema, default=float))
                yield f"{draft}/{folder}{group.name}", schema, {"draft": draft, "documents": suite.remotes(draft)}
    with gzip.open(DATA / "maskbench.jsonl.gz") as lines:
        for line in lines:
            case = json.loads(line)
            yield case["id"], case["schema"], {}


def choices(r: random.Random) -> list[bytes]:
    """Draw choices about as Hypothesis does."""
    return [r.randbytes(r.randrange(12)) for _ in range(r.randrange(24))]


class Run:
    """What was found so far."""

    def __init__(self, seed: str, places: int = PLACES) -> None:
        self.seed = seed
        self.r = random.Random(seed)
        self.places = places
        self.counts: collections.Counter[str] = collections.Counter()
        self.keywords: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []

    def note(self, what: str, name: str, detail: object) -> None:
        """Count something worth a line."""
        self.counts[what] += 1
        print(f"{what}: {name}: {str(detail)[:300]}", flush=True)

    def check(self, name: str, schema: Any, options: dict[str, Any]) -> None:
        """Draw values and near misses of one schema."""
        try:
            instances = Instances(schema, options)
        except SchemaError as error:
            return self.note("refused", name, error)
        except ValueError:
            self.counts["without instances"] += 1
            return None
        self.counts["schemas"] += 1
        try:
            judges = Judges(copied(schema), instances.compiled.draft, options)
        except Exception as error:
            return self.note("unjudged", name, repr(error))
        for n in range(VALUES):
            try:
                value = instances.value(choices(self.r) if n else [])
            except SchemaError as error:
                self.note("limit", name, error)
                continue
            try:
                verdict = judges.verdict(value)
            except Exception as error:
                self.note("unjudged", name, repr(error))
                break
            self.counts["values"] += 1
            if verdict is None:
                self.note("validators differ", name, json.dumps(value))
            elif not verdict:
                self.wrong.append(name)
                self.note("WRONG value", name, json.dumps(value))
        return self._misses(name, schema, options)

    def _misses(self, name: str, schema: Any, options: dict[str, Any]) -> None:
        try:
            misses = Misses(schema, options)
        except SchemaError as error:
            return self.note("refused, misses", name, error)
        for at in self.r.sample(range(len(misses.places)), min(self.places, len(misses.places))):
            _, keyword, rule = misses.places[at]
            self.counts["places"] += 1
            started = time.monotonic()
            place = misses.place(at)
            if time.monotonic() - started > 1:
                self.note("slow", name, f"{rule}: {time.monotonic() - started:.1f} s")
            if place is None:
                self.keywords[f"{keyword}: none"] += 1
                continue
            self.counts["places with near misses"] += 1
            self.keywords[keyword] += 1
            for _ in range(2):
                miss = misses.draw(at, choices(self.r))
                self.counts["near misses"] += 1
                assert miss.rule == rule, (name, miss)
        return None


def in_a_process(run: Run, name: str, schema: Any, options: dict[str, Any]) -> None:
    """Check one schema in a process of its own, and add what it found."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        own = Run(f"{run.seed} {name}", run.places)
        own.check(name, schema, options)
        with os.fdopen(writer, "wb") as out:
            pickle.dump((own.counts, own.keywords, own.wrong), out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as found:
        told = found.read()
    _, status = os.waitpid(child, 0)
    if status:
        return run.note("not finished", name, f"wait status {status}, of {SECONDS} s and {MEMORY >> 30} GiB")
    counts, keywords, wrong = pickle.loads(told)
    run.counts += counts
    run.keywords += keywords
    run.wrong += wrong
    return None


def main() -> int:
    """Run for a time, or through all schemas."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.strategies", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=0, help="stop after about so long; 0: when all are done")
    parser.add_argument("--schemas", type=int, default=0, help="take so many at random; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument(
        "--places", type=int, default=PLACES, help="keywords of each schema whose near misses are drawn"
    )
    arguments = parser.parse_args()
    run = Run(str(arguments.seed), arguments.places)
    todo = list(schemas())
    if arguments.seconds or arguments.schemas:
        run.r.shuffle(todo)
    until = time.monotonic() + (arguments.seconds or float("inf"))
    for name, schema, options in todo[: arguments.schemas or None]:
        if time.monotonic() > until:
            break
        in_a_process(run, name, schema, options)
    for what, count in sorted(run.counts.items()):
        print(f"{count:8,} {what}")
    print("near misses by keyword:", ", ".join(f"{word} {count}" for word, count in sorted(run.keywords.items())))
    return bool(run.wrong)


if __name__ == "__main__":
    sys.exit(main())
