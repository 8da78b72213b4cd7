"""Which Pythons this machine has: one of each version that Guard supports, with headers to build against.

A version that ends in t has no GIL.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t")
_SUITABLE = """
import pathlib, sys, sysconfig, venv, ensurepip
has_headers = pathlib.Path(sysconfig.get_path("include"), "Python.h").exists()
without = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(f"{sys.version_info[0]}.{sys.version_info[1]}{without}" if has_headers else "")
"""


def found() -> dict[str, str]:
    """Return a path for each version that is here: on PATH, else from pyenv, else from uv."""
    out = {}
    for version in VERSIONS:
        for path in _candidates(version):
            if _version(path) == version:
                out[version] = path
                break
    return out


def _candidates(version: str) -> list[str]:
    name = f"python{version}"
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    pyenv = sorted(map(str, root.glob(f"versions/{version.rstrip('t')}.*/bin/{name}")), reverse=True)
    here = [sys.executable] if "{}.{}".format(*sys.version_info) == version.rstrip("t") else []
    on_path = [path] if (path := shutil.which(name)) else []
    return [*here, *on_path, *pyenv, *_of_uv(version)]


def _of_uv(version: str) -> list[str]:
    if (uv := shutil.which("uv")) is None:
        return []
    command = [uv, "python", "find", "--no-project", version]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [done.stdout.strip()] if done.returncode == 0 else []


def _version(path: str) -> str:
    done = subprocess.run([path, "-c", _SUITABLE], capture_output=True, text=True, check=False)
    return done.stdout.strip()  # empty too where a pyenv shim has nothing behind it
