"""Files that only their owner may read: the trace, its exports, the access log.

A file that holds something keeps its mode, except a trace made by an older Guard.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import IO

FILE, FOLDER = 0o600, 0o700


def make_file(path: str) -> None:
    """Create a file and its folders where they are missing; an empty file, too, is its owner's from then on."""
    Path(path).parent.mkdir(mode=FOLDER, parents=True, exist_ok=True)
    file = os.open(path, os.O_CREAT | os.O_WRONLY, FILE)
    try:
        found = os.fstat(file)
    finally:
        os.close(file)
    if stat.S_ISREG(found.st_mode) and not found.st_size:  # not a device
        with contextlib.suppress(PermissionError):  # it may be another's, who decides
            Path(path).chmod(FILE)


def close_to_others(path: str) -> None:
    """Make a database's files readable by their owner only. A file that another user owns is left alone."""
    for file in (path, f"{path}-wal", f"{path}-shm"):
        with contextlib.suppress(FileNotFoundError, PermissionError):  # it may be another's, who decides
            Path(file).chmod(FILE)


def open_text(path: Path, mode: str) -> IO[str]:
    """Open a file to write or append text; a new file is readable by its owner only."""
    return open(path, mode, encoding="utf-8", opener=_opener)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags, FILE)
