"""Run clang-tidy over the kernel as it is compiled: python tools/tidy.py BUILD. Run by `make lint`.

BUILD is a folder with compile commands. The exit code is 1 where anything is found.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

KERNEL = Path(__file__).parents[1] / "kernels" / "cpu"
#: A source that includes sources is what a room is compiled as.
CHECKS = "--checks=-bugprone-suspicious-include"


def main() -> int:
    os.nice(10)  # the tests run beside it
    build = Path(sys.argv[1]).resolve()
    entries = json.loads((build / "compile_commands.json").read_text())
    files = {Path(entry["file"]) for entry in entries}
    ours = sorted(file for file in files if KERNEL in file.parents or file.parent.name == "Unity")
    if not ours:
        sys.exit(f"no source of {KERNEL} has a compile command in {build}: build first")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [*pool.map(lambda file: _found(file, build), ours)]
    print(*filter(None, found), sep="\n", end="")
    return any(found)


def _found(file: Path, build: Path) -> str:
    """What clang-tidy says of a source; nothing where it is as it should be."""
    tidy = Path(sys.executable).with_name("clang-tidy")
    command = [tidy, "--quiet", "-p", build, CHECKS, "--warnings-as-errors=*", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    return done.stdout or done.stderr or f"clang-tidy ended with {done.returncode} on {file}\n"


if __name__ == "__main__":
    sys.exit(main())
