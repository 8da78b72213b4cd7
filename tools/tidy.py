"""Run clang-tidy over the kernel, a room at a time: python tools/tidy.py BUILD. Run by `make lint`.

Reading the headers is most of clang-tidy's time, so the sources of a room are read as one. Where names of unnamed
namespaces clash, the halves of that room are, and so on. BUILD is a folder with compile commands. The exit code is 1
where anything is found.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[1]
KERNEL = ROOT / "kernels" / "cpu"
UNITS = ROOT / "build" / "tidy"
#: A source that includes sources is what is wanted here.
SETTINGS = "InheritParentConfig: true\nChecks: '-bugprone-suspicious-include'\n"
CLASHES = ("redefinition of", "is ambiguous")


def main() -> int:
    os.nice(10)  # the tests run beside it
    UNITS.mkdir(parents=True, exist_ok=True)
    (UNITS / ".clang-tidy").write_text(SETTINGS)
    entries = json.loads((Path(sys.argv[1]) / "compile_commands.json").read_text())
    commands = {entry["file"]: entry for entry in entries if KERNEL in Path(entry["file"]).parents}
    if not commands:
        sys.exit(f"no source of {KERNEL} has a compile command in {sys.argv[1]}: build first")
    rooms = [list(found) for _, found in groupby(sorted(commands), key=os.path.dirname)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [*pool.map(lambda room: _found([commands[file] for file in room]), rooms)]
    print(*filter(None, found), sep="\n", end="")
    return any(found)


def _found(sources: list[dict[str, str]]) -> str:
    """What clang-tidy says of sources that it reads as one; nothing where they are as they should be."""
    first = sources[0]
    stem = f"{Path(first['file']).parent.name}-{Path(first['file']).stem}-{len(sources)}"
    folder = UNITS / stem
    folder.mkdir(exist_ok=True)
    unit = str(folder / "unit.cpp")
    Path(unit).write_text("".join(f'#include "{source["file"]}"\n' for source in sources))
    command = first | {"command": first["command"].replace(first["file"], unit), "file": unit}
    (folder / "compile_commands.json").write_text(json.dumps([command]))
    tidy: list[str | Path] = [
        Path(sys.executable).with_name("clang-tidy"),
        "--quiet",
        "-p",
        folder,
        "--warnings-as-errors=*",
        unit,
    ]
    done = subprocess.run(tidy, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    if len(sources) > 1 and any(clash in done.stdout for clash in CLASHES):
        middle = len(sources) // 2
        return _found(sources[:middle]) + _found(sources[middle:])
    return done.stdout or done.stderr or f"clang-tidy ended with {done.returncode} on {unit}\n"


if __name__ == "__main__":
    sys.exit(main())
