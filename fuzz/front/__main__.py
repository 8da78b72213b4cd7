"""python -m fuzz.front: coverage-guided fuzzing of the front end under atheris, until time is up or something fails.

    python -m fuzz.front --seconds 60                        every target in turn
    python -m fuzz.front --only records --seconds 600
    python -m fuzz.front --only text --input build/fuzz/text-crash-…     one input again

Seeds are the official suite's schemas, where the test data lies. What libFuzzer keeps is in build/fuzz; so are inputs
that fail. Exit code 0: nothing found; 1: an input fails, and was named; 2: atheris is not installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
KEPT = ROOT / "build" / "fuzz"
NAMES = ("text", "pattern", "records")
MOST_SEEDS = 400  #: Of each target, the smallest ones.


def seeds(target: str) -> Iterator[bytes]:
    """Yield the first inputs of a target."""
    sys.path.insert(0, str(TESTS))
    import suite
    from conftest import DATA

    from fuzz.front.mutation import SCHEMAS

    found: set[bytes] = set()
    schemas: list[object] = list(SCHEMAS)
    if DATA.is_dir():
        schemas += [group.schema for draft in suite.DRAFTS for group in suite.groups(draft)]
    for schema in schemas:
        if target == "pattern":
            found |= {source.encode("utf-8", "surrogatepass") for source in _patterns(schema)}
        else:
            found.add(b"\x05" + json.dumps(schema, default=float).encode("utf-8", "surrogatepass"))
    yield from sorted(found, key=len)[:MOST_SEEDS]


def _patterns(schema: object) -> Iterator[str]:
    todo = [schema]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            if isinstance(item.get("pattern"), str):
                yield item["pattern"]
            todo += item.values()
        elif isinstance(item, list):
            todo += item


def fuzz(target: str, arguments: list[str]) -> None:
    """Run libFuzzer in this process, which it ends."""
    import atheris

    sys.path.insert(0, str(TESTS))
    with atheris.instrument_imports(include=["guard.schemas", "records"]):
        from fuzz.front.targets import TARGETS
    from fuzz.front.mutation import mutated

    options = {} if target == "pattern" else {"custom_mutator": lambda d, n, s: mutated(d, n, s, atheris.Mutate)}
    atheris.Setup([f"fuzz.front --only {target}", *arguments], TARGETS[target], **options)
    atheris.Fuzz()


def campaign(target: str, seconds: float) -> int:
    """Fuzz a target in a process of its own; return its exit code."""
    kept = KEPT / target
    kept.mkdir(parents=True, exist_ok=True)
    for seed in seeds(target):
        (kept / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    command = [sys.executable, "-m", "fuzz.front", "--inside", target, str(kept), f"-max_total_time={seconds:.0f}"]
    command += ["-timeout=20", "-rss_limit_mb=3000", "-max_len=20000", "-print_final_stats=1", "-verbosity=0"]
    command += [f"-artifact_prefix={kept.parent}/{target}-"]
    done = subprocess.run(command, cwd=ROOT, check=False, stderr=subprocess.PIPE, text=True)
    counts = dict(line[6:].split(":", 1) for line in done.stderr.splitlines() if line.startswith("stat::"))
    print(
        f"{target}: {counts.get('number_of_executed_units', '?').strip()} inputs, exit code {done.returncode}",
        flush=True,
    )
    if done.returncode:
        print(done.stderr[-6000:], flush=True)
    return done.returncode


def main() -> int:
    """Run the targets."""
    if sys.argv[1:2] == ["--inside"]:
        fuzz(sys.argv[2], sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(prog="python -m fuzz.front", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of all targets together")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--input", type=Path, help="one input again, of the one target in --only")
    args = parser.parse_args()
    if args.input is not None:
        sys.path.insert(0, str(TESTS))
        from fuzz.front.targets import TARGETS

        TARGETS[args.only[0]](args.input.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: pip install '.[fuzz]'", file=sys.stderr)
        return 2
    return max(bool(campaign(target, args.seconds / len(args.only))) for target in args.only)


if __name__ == "__main__":
    sys.exit(main())
