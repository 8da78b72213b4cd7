"""Valid values a second: `python -m benchmarks.generation [--schemas N] [--peer PYTHON]`, as markdown.

A sample of MaskBench's schemas, of each VALUES values through Hypothesis (`@given`, one run, nothing shrunk): how many
schemas are supported, how many values jsonschema-rs takes, values a second of the processor. Beside it the sampler
without Hypothesis, and what Hypothesis takes for a strategy of bytes, which bounds the others. The peer,
hypothesis-jsonschema, does not run under current releases of Hypothesis: --peer names an interpreter in which it does.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("GUARD_DATA") or ROOT.parent / "shared" / "data")
BENCH = {"full": [], "short": ["--schemas", "20"]}  #: What `make bench` runs.
VALUES = 200  #: Of each schema.
SECONDS = 20  #: Longest time for one schema, after which it counts as not supported.


def schemas(n: int) -> Iterator[Any]:
    """Yield n schemas of MaskBench, always the same ones."""
    with gzip.open(DATA / "maskbench.jsonl.gz") as lines:
        every = lines.readlines()
    for line in random.Random(1).sample(every, n):
        yield json.loads(line)["schema"]


def through_hypothesis(strategy: Any) -> tuple[list[Any], float]:
    """Return the values that one run draws, and its seconds."""
    from hypothesis import HealthCheck, Phase, given, settings

    drawn: list[Any] = []

    @settings(
        max_examples=VALUES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Any) -> None:
        drawn.append(value)

    started = time.process_time()
    draw()
    return drawn, time.process_time() - started


def measure(make: Callable[[Any], Any], schema: Any) -> dict[str, Any]:
    """Draw values of one schema and judge them: speed, how many are valid, how many differ; or why not."""
    import jsonschema_rs

    try:
        judge = jsonschema_rs.validator_for(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, validate_formats=True
        )
    except Exception:  # a few real schemas are none: what the judge can't read is counted
        return {"error": "no schema"}
    signal.alarm(SECONDS)
    try:
        drawn, seconds = through_hypothesis(make(schema))
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"[:200]}
    finally:
        signal.alarm(0)
    if not drawn:
        return {"error": "no value"}
    differing = len({json.dumps(value, sort_keys=True, default=str) for value in drawn})
    valid = sum(judge.is_valid(value) for value in drawn) / len(drawn)
    return {"speed": len(drawn) / seconds, "valid": valid, "differing": differing / len(drawn)}


def peer() -> None:
    """Measure hypothesis-jsonschema: schemas come in on stdin, figures go out. Imports nothing of Guard's."""
    from hypothesis_jsonschema import from_schema

    warnings.simplefilter("ignore")
    figures = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what Hypothesis prints of a failure
        for line in sys.stdin:
            print(json.dumps(measure(from_schema, json.loads(line))), file=figures, flush=True)


def row(name: str, found: list[dict[str, Any]]) -> str:
    """Word one row of the table."""
    good = [one for one in found if "error" not in one]
    whole = [one for one in good if one["valid"] == 1]
    speeds = sorted(one["speed"] for one in good)
    median = statistics.median(speeds) if speeds else 0
    tenth = speeds[len(speeds) // 10] if speeds else 0
    valid = statistics.mean(one["valid"] for one in good) if good else 0
    differing = statistics.median(one["differing"] for one in good) if good else 0
    return (
        f"| {name} | {len(good):,} of {len(found):,} | {len(whole):,} | {valid:.2%} | {differing:.0%} "
        f"| {median:,.0f} | {tenth:,.0f} |"
    )


def sampled(schema: Any) -> dict[str, Any]:
    """Measure the sampler without Hypothesis."""
    import jsonschema_rs

    from guard.testing.strategies.values import Instances

    try:
        instances = Instances(schema, {})
        judge = jsonschema_rs.validator_for(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, validate_formats=True
        )
        r = random.Random(2)
        choices = [[r.randbytes(10) for _ in range(r.randrange(16))] for _ in range(VALUES)]
        for units in choices[:20]:
            instances.value(units)  # the automaton is built as it is reached
        started = time.process_time()
        drawn = [instances.value(units) for units in choices]
        seconds = time.process_time() - started
    except Exception as error:  # a refusal is a result too
        return {"error": repr(error)[:200]}
    differing = len({json.dumps(value) for value in drawn}) / VALUES
    valid = sum(judge.is_valid(value) for value in drawn) / VALUES
    return {"speed": VALUES / seconds, "valid": valid, "differing": differing}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generation", description=__doc__.split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--schemas", type=int, default=200, help="schemas of the sample")
    parser.add_argument("--peer", default=sys.executable, help="an interpreter in which hypothesis-jsonschema runs")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("too slow")))
    from hypothesis import strategies as st

    from guard.testing import values

    chosen = list(schemas(arguments.schemas))
    print("| | supported | all values valid | values valid | differing | values/s, median | tenth slowest |")
    print("|:--|--:|--:|--:|--:|--:|--:|")
    print(row("Guard's sampler", [sampled(schema) for schema in chosen]), flush=True)
    print(row("`guard.testing.values`", [measure(values, schema) for schema in chosen]), flush=True)
    asked = subprocess.run(
        [arguments.peer, __file__, "peer"],
        input="".join(json.dumps(schema) + "\n" for schema in chosen),
        capture_output=True,
        text=True,
        check=True,
    )
    print(row("hypothesis-jsonschema", [json.loads(line) for line in asked.stdout.splitlines()]), flush=True)
    floor = [through_hypothesis(st.binary(max_size=64)) for _ in range(10)]
    print(f"\nHypothesis alone, `st.binary()`: {max(len(drawn) / seconds for drawn, seconds in floor):,.0f} values/s")


if __name__ == "__main__":
    if sys.argv[1:] == ["peer"]:
        signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("too slow")))
        peer()
    else:
        main()
