"""Kept: compiled schemas by content, so that whoever asks for the same one gets the same object.

The key is all that decides what is made, or a digest of it: the schema's content as the compiler's private copy tells
it (key order and the types of numbers count, how it was built does not), and the options. What was asked for once is
known as long as somebody holds it, and no longer: a schema that is never seen again costs its key. What was asked for
again is kept. Threads that ask for one at the same time wait for one compile; a refusal is not kept. Beyond so many, or
so many bytes, what was asked for longest ago goes. Whoever holds a compiled schema goes on holding it.

A signal handler may ask for a schema in the middle of all this, in the thread that holds the locks. They let it in, and
it goes past the cache: what is half changed is not looked at.
"""

from __future__ import annotations

import threading
import weakref
from _thread import RLock  # threading's is a function around it, of which every compile would wait
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

from guard.kernels import at_fork

MOST = 256  #: Schemas known.
MOST_BYTES = 64_000_000  #: That those that are kept hold: the engine's, which are asked, and Python's.
WEIGHT = 64  #: Bytes that Python holds for each byte of a schema's content, measured.


class Weighed(Protocol):
    """What can be kept: it tells how many bytes it holds, and can be referred to weakly."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        ...


Made = TypeVar("Made", bound=Weighed)


class _Entry(Generic[Made]):
    """One schema: compiled, or on the way."""

    __slots__ = ("compiled", "is_kept", "is_making", "known", "making", "nbytes", "own")

    def __init__(self, own: int) -> None:
        self.making = RLock()
        self.is_making = False
        self.known: weakref.ref[Made] | None = None  # once it was compiled
        self.compiled: Made | None = None  # once it was asked for again
        self.is_kept = True
        self.nbytes = 0
        self.own = own  # bytes beside the engine's


class Kept(Generic[Made]):
    """A least-recently-used cache of compiled schemas. Any number of threads may use it."""

    def __init__(self, most: int = MOST, nbytes: int = MOST_BYTES) -> None:
        """Make one for at most so many, of which those that are kept hold at most so many bytes together."""
        self._most, self._most_bytes = most, nbytes
        self._lock = threading.RLock()
        self._is_changing = False
        self._entries: OrderedDict[Hashable, _Entry[Made]] = OrderedDict()
        self._nbytes = 0
        self._last: _Entry[Made] | None = None

    def __len__(self) -> int:
        """Return how many are known, or on the way."""
        return len(self._entries)

    def get(self, key: Hashable, make: Callable[[], Made], size: int = 0) -> Made:
        """Return what `make` returned for this key, now or before; what it raises is raised, and nothing is kept.

        `size` is of the content, in bytes.
        """
        dropped: list[_Entry[Made]] = []
        entry = None
        with self._lock:
            if not self._is_changing:
                try:
                    self._is_changing = True
                    entry = self._entries.get(key)
                    if entry is not None:
                        self._entries.move_to_end(key)
                    else:
                        entry = self._entries[key] = _Entry(size * WEIGHT)
                        if len(self._entries) > self._most:
                            dropped.append(self._drop())
                finally:
                    self._is_changing = False
        if entry is None:
            return make()
        with entry.making:
            if entry.is_making:
                return make()
            try:
                entry.is_making = True
                known = entry.known
                compiled = known() if known is not None else None
                if compiled is None:
                    compiled = make()
                    entry.known = weakref.ref(compiled)
                if known is not None:
                    entry.compiled = compiled
            except BaseException:
                self._forget(key, entry)
                raise
            finally:
                entry.is_making = False
        if known is not None:
            with self._lock:
                dropped += self._weigh(entry)
        del dropped  # outside of the lock: it may be large
        return compiled

    def _forget(self, key: Hashable, entry: _Entry[Made]) -> None:
        with self._lock:
            if not self._is_changing and self._entries.get(key) is entry:
                del self._entries[key]

    def _drop(self) -> _Entry[Made]:
        _, oldest = self._entries.popitem(last=False)
        oldest.is_kept = False
        self._nbytes -= oldest.nbytes
        return oldest

    def _weigh(self, used: _Entry[Made]) -> list[_Entry[Made]]:
        """Weigh what is used now and what was used before, which has grown since; make room, and return what goes."""
        dropped: list[_Entry[Made]] = []
        if self._is_changing:
            return dropped
        try:
            self._is_changing = True
            for entry in (used, self._last):
                if entry is not None and entry.is_kept and entry.compiled is not None:
                    before, entry.nbytes = entry.nbytes, entry.compiled.nbytes + entry.own
                    self._nbytes += entry.nbytes - before
            self._last = used
            while self._nbytes > self._most_bytes and len(self._entries) > 1:
                dropped.append(self._drop())
        finally:
            self._is_changing = False
        return dropped

    def recover(self) -> None:
        """Make it usable in the child of a fork, where the threads are gone that had locked it."""
        self._lock, self._is_changing = threading.RLock(), False
        for key, entry in list(self._entries.items()):
            entry.making, entry.is_making = threading.RLock(), False
            if entry.known is None:
                del self._entries[key]


KEPT: Kept[Any] = Kept()  #: Those of `guard.compile`.

at_fork.in_child(KEPT.recover)
