"""Free memory goes back to the system: that of large bodies and schemas, from all threads.

By default glibc makes up to eight arenas a core, raises its thresholds after large blocks, and returns only the free
end of an arena. Under `make attack` that was twice the memory. With another C library nothing is done.
"""

from __future__ import annotations

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  #: Constants of glibc's malloc.h.


def hold_little() -> None:
    """Have the C library keep little free memory from now on."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for what, value in ((_ARENA_MAX, 2), (_MMAP_THRESHOLD, 262_144), (_TRIM_THRESHOLD, 1_000_000)):
            mallopt(what, value)


def give_back() -> None:
    """Return free pages inside of arenas to the system. Releases the GIL meanwhile."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
