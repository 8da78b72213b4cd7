"""The user's cache: where models are kept, and how a folder is put there at once or not at all.

The cache is `platformdirs.user_cache_path("guard")`, or what the environment variable GUARD_CACHE says. A folder
in it is complete or absent: it is built beside its place and renamed. One process builds, the others wait.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

#: Called with (step, done, total): the step in words, bytes done so far, bytes in all (0 while not known).
Progress = Callable[[str, int, int], None]


def cache_dir() -> Path:
    """The folder that models are kept in; it may not exist yet."""
    named = os.environ.get("GUARD_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("guard", appauthor=False)
