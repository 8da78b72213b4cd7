"""Memory that nobody uses goes back to the system: what large bodies and schemas took, of many threads.

By itself glibc makes up to eight arenas a core, learns from large blocks to keep them, and gives back what is free at
the end of an arena only. Under `make attack` that was twice the memory. With another C library nothing is done.
"""

from __future__ import annotations

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  #: Of glibc's malloc.h.


def hold_little() -> None:
    """Have the C library hold little from now on."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for what, value in ((_ARENA_MAX, 2), (_MMAP_THRESHOLD, 262_144), (_TRIM_THRESHOLD, 1_000_000)):
            mallopt(what, value)


def give_back() -> None:
    """Give back what is free between what is used; other threads of Python run meanwhile."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
