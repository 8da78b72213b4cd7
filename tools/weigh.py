"""Weigh what `pip install guard-slm` brings: each distribution's bytes on disk, and what it is wanted by.

    python tools/weigh.py [--extra NAME]   # `make weigh`

It is installed in an environment of its own, without Guard itself, which is built from a checkout.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Run in the environment that is weighed: name, bytes and direct requirements of each distribution.
_LIST = """
import json, re
from importlib.metadata import distributions
out = {}
for one in distributions():
    size = sum(file.stat().st_size for path in one.files or () if (file := path.locate()).is_file())
    wants = [re.match(r"[\\w.-]+", line)[0] for line in one.requires or () if "extra ==" not in line]
    out[one.name] = size, wants
print(json.dumps(out))
"""


def main() -> None:
    """Install, weigh, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--extra", action="append", default=[], metavar="NAME", help="with an extra; may be repeated")
    extras = parser.parse_args().extra
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    with tempfile.TemporaryDirectory(prefix="guard-weigh-") as folder:
        own = str(Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        install = [sys.executable, "-m", "pip", "--python", own, "install", "-q", *wanted]
        subprocess.run(install, check=True)
        listed = subprocess.run([own, "-c", _LIST], capture_output=True, text=True, check=True)
    show(json.loads(listed.stdout), {_normal(one) for one in wanted})


def show(weights: dict[str, tuple[int, list[str]]], direct: set[str]) -> None:
    """Print the distributions, the heaviest first."""
    wanted_by = defaultdict(list)
    for name, (_, wants) in weights.items():
        for one in wants:
            wanted_by[_normal(one)].append(name)
    for name, (size, _) in sorted(weights.items(), key=lambda item: -item[1][0]):
        by = [*(["Guard"] if _normal(name) in direct else []), *sorted(wanted_by[_normal(name)])]
        print(f"{size / 1e6:8.1f} MB  {name:28} {', '.join(by)}")
    print(f"{sum(size for size, _ in weights.values()) / 1e6:8.1f} MB  together, without compiled bytecode")


def _normal(requirement: str) -> str:
    name = requirement
    for end in "<>=!~;[ ":
        name = name.partition(end)[0]
    return name.strip().lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    main()
