"""Every benchmark that belongs to `make bench`, one after the other: `python -m benchmarks.all [--short] [--docs]`.

A module belongs to it when it has a line `BENCH = {"full": [...], "short": [...]}`: its arguments. Each table goes to
the terminal and to build/bench/NAME.md; with --docs also into docs/explanation/performance.md, where that has a
place for it (`<!-- bench: NAME -->` to `<!-- end -->`), and the plot into docs/images. Exit codes other than 0 are told
at the end; 2 says that a machine lacks what is measured.

Examples:
    python -m benchmarks.all --short                a quarter of an hour
    python -m benchmarks.all --only decode,forcing
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "bench"
PAGE = ROOT / "docs" / "explanation" / "performance.md"
ABSENT = 2  #: The exit code of a benchmark whose hardware is not there.


def benchmarks() -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Yield the modules that belong to it, with their arguments; nothing is imported."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and re.match(r"BENCH\b", ast.unparse(statement)):
                yield path.stem, ast.literal_eval(statement.value or ast.Constant({}))


def run(name: str, arguments: list[str]) -> tuple[int, str]:
    """Run one, showing what it prints as it comes; returns its exit code and that."""
    command = [sys.executable, "-m", f"benchmarks.{name}" if name != "__main__" else "benchmarks", *arguments]
    lines = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


def put(page: str, name: str, text: str) -> str:
    """Return the page with the text in the place that it has for that benchmark; as it was where it has none."""
    place = re.compile(rf"(<!-- bench: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    return place.sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[2]}", page)


def main() -> int:
    """Run them all. Exit code 1 where one failed, or missed its bar."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.all", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="few of everything")
    parser.add_argument("--docs", action="store_true", help="write tables and plot into docs as well")
    parser.add_argument("--only", help="names, separated by commas")
    args = parser.parse_args()
    every = dict(benchmarks())
    chosen = args.only.split(",") if args.only else list(every)
    if unknown := [name for name in chosen if name not in every]:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(every)}")
    OUT.mkdir(parents=True, exist_ok=True)
    codes = {}
    for name in chosen:
        started = time.perf_counter()
        print(f"\n== {name} ==\n", file=sys.stderr, flush=True)
        codes[name], text = run(name, every[name]["short" if args.short else "full"])
        print(f"{name}: {time.perf_counter() - started:.0f} s, exit code {codes[name]}", file=sys.stderr)
        (OUT / f"{name}.md").write_text(text, encoding="utf-8")
        if args.docs and codes[name] in (0, 1):
            PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), name, text), encoding="utf-8")
            if (plot := OUT / f"{name}.png").is_file():
                shutil.copy(plot, ROOT / "docs" / "images" / plot.name)
    failed = {name: code for name, code in codes.items() if code not in (0, ABSENT)}
    for name, code in failed.items():
        print(f"{name} failed or missed a bar: exit code {code}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
