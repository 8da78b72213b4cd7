"""The user's cache: where models are kept, and how a folder comes to be there at once or not at all.

The cache is `platformdirs.user_cache_path("guard")`, or what the environment variable GUARD_CACHE says. A folder
under `models/` is complete or absent: it is built beside its place and renamed. One process builds, the others wait.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import platformdirs

from guard.errors import ModelError

#: Called with (step, done, total): the step in words, bytes done so far, bytes in all (0 while not known).
Progress = Callable[[str, int, int], None]

#: How often a process that waits for another one's pull says so, in seconds.
WAIT_S = 1.0


def cache_dir() -> Path:
    """The folder that everything fetched is kept under; it may not exist yet."""
    named = os.environ.get("GUARD_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("guard", appauthor=False)


def build_folder(name: str, build: Callable[[Path], None], progress: Progress | None = None) -> Path:
    """The folder `models/NAME` of the cache; built by `build(empty folder)` where it is not there yet.

    Another process that builds the same folder is waited for. What a killed build left is removed by the next one.
    """
    models = cache_dir() / "models"
    target = models / name
    if target.is_dir():
        return target
    from filelock import FileLock, Timeout  # here: only a pull needs it

    try:
        models.mkdir(parents=True, exist_ok=True)
        lock = FileLock(models / f"{name}.lock")
        while True:
            try:
                lock.acquire(timeout=WAIT_S)
                break
            except Timeout:
                if progress is not None:
                    progress("waiting for another process that fetches it", 0, 0)
        try:
            if not target.is_dir():
                partial = models / f"{name}.partial"
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                build(partial)
                _sync(partial)
                partial.rename(target)
        finally:
            lock.release()
    except OSError as error:
        raise ModelError(
            f"can't write the model to {target}: {error.strerror or error}; free some space or set GUARD_CACHE"
        ) from error
    return target


def _sync(folder: Path) -> None:
    """Put the files on the disk before the rename says that they are complete."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
