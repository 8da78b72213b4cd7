"""Files that only their owner may read: the trace, what is exported of it, the access log.

A file that is there already keeps the mode that somebody has given it, but for a trace that an older Guard made.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO

FILE, FOLDER = 0o600, 0o700


def make_file(path: str) -> None:
    """Make a file where there is none, and the folders in which it lies."""
    Path(path).parent.mkdir(mode=FOLDER, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, FILE))


def close_to_others(path: str) -> None:
    """Take a database's file, and those beside it, from all but their owner."""
    for file in (path, f"{path}-wal", f"{path}-shm"):
        with contextlib.suppress(FileNotFoundError, PermissionError):  # it may be another's, who decides
            Path(file).chmod(FILE)


def open_text(path: Path, mode: str) -> IO[str]:
    """Open a file to write or append text, made where there is none."""
    return open(path, mode, encoding="utf-8", opener=_opener)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags, FILE)
