"""The user's cache of models. A folder in it appears complete, by a rename, or not at all.

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

#: Called with (step, done, total): the step in words, bytes done, bytes in all (0 while unknown).
Progress = Callable[[str, int, int], None]

#: Seconds between two messages of a process that waits for another one's pull.
WAIT_S = 1.0


def cache_dir() -> Path:
    """Return the cache's folder, which may not exist yet."""
    named = os.environ.get("GUARD_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("guard", appauthor=False)


def build_folder(name: str, build: Callable[[Path], None], progress: Progress | None = None) -> Path:
    """Return the folder `models/NAME` of the cache; `build(empty folder)` makes it where it does not exist.

    Waits for another process that builds the same folder. The next build removes what a killed one left.
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
    """Flush the files to the disk before the rename marks them complete."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
