"""Run the tests on every Python that this machine has: each in an environment of its own under build/pythons.

    python tools/pythons.py [--all] [--only 3.12 ...] [-- PYTEST_ARGUMENT ...]

Without --all it is a part of a few minutes that wants no torch: tests that do are skipped. On a Python without a GIL,
packages that have no wheels for it are left out, with the tests that want them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

from interpreters import found

ROOT = Path(__file__).parent.parent
#: What differs between versions of Python: annotations and types, pickles, signals, threads, the native module.
FAST = (
    "tests/schemas",
    *(f"tests/kernels/test_{name}.py" for name in ("regressions", "batches", "nesting", "isolates", "interrupted")),
    *(f"tests/guard/{name}" for name in ("calls", "output", "support", "trace")),
    *(f"tests/guard/test_{name}.py" for name in ("import", "packaging", "pickles", "settings", "tools")),
)


def main() -> None:
    """Make the environments, and run the tests in each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--all", action="store_true", help="all tests, with torch and transformers")
    parser.add_argument("--only", nargs="*", metavar="VERSION", help="of Python; default: all that are here")
    parser.add_argument("pytest", nargs="*", metavar="ARGUMENT", help="of pytest, in place of the part's")
    asked = parser.parse_args()
    pythons = {version: path for version, path in found().items() if not asked.only or version in asked.only}
    print("Python", ", ".join(pythons) or "is not here in any version that was asked for", flush=True)
    failed = [version for version, python in pythons.items() if not passes(version, python, asked)]
    if failed or not pythons:
        raise SystemExit(f"failed on Python {', '.join(failed)}" if failed else 1)


def passes(version: str, python: str, asked: argparse.Namespace) -> bool:
    """Whether the tests pass on one version."""
    print(f"\n== Python {version}", flush=True)
    environment = ROOT / "build" / "pythons" / version
    own = str(environment / "bin" / "python")
    extras = "local,serve,test" if asked.all else "serve,test"
    if not environment.exists():
        _run([python, "-m", "venv", str(environment)])
    _run([own, "-m", "pip", "install", "-q", *_of_extra("build")])
    if version.endswith("t"):
        _run([own, "-m", "pip", "install", "-q", "--no-build-isolation", "-e", str(ROOT)])
        for requirement in (each for extra in extras.split(",") for each in _of_extra(extra)):
            if not _has_wheel(own, requirement):
                print(f"no wheel: {requirement}", flush=True)
    else:
        _run([own, "-m", "pip", "install", "-q", "--no-build-isolation", "-e", f"{ROOT}[{extras}]"])
    part = () if asked.all else FAST
    without = {} if asked.all else {"TESTS_WITHOUT": "torch"}
    done = subprocess.run(
        [own, "-m", "pytest", "-q", *(asked.pytest or part)], cwd=ROOT, env={**os.environ, **without}, check=False
    )
    return done.returncode == 0


def _has_wheel(python: str, requirement: str) -> bool:
    """Install a requirement if that needs no compiler; says whether it did."""
    command = [python, "-m", "pip", "install", "-q", "--only-binary", ":all:", requirement]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _of_extra(name: str) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements: list[str] = project["optional-dependencies"][name]
    return requirements


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
