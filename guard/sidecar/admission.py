"""Room: how much a process has in hand at once, and how much of that one client may take.

A request is under way once its body is there; one that still waits for its body takes none of those places, so that
slow clients hold nobody up. They are counted by who they are: their key, or their address where none is needed. So are
the bytes of bodies, until their requests have ended: what clients send is what a process's memory is made of.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from typing import Any, Self

from guard.sidecar.errors import ApiError
from guard.sidecar.settings import ServeSettings

AGAIN_SECONDS = 1.0  #: When to come again after a 503.
SHARE = 4  #: One client may hold this part of all bytes.


class Room:
    """What the requests of one process have in hand; of one event loop."""

    def __init__(self) -> None:
        self._under_way = 0
        self._bytes = 0
        self._bytes_of: dict[str, int] = {}
        self._waiting_of: dict[str, int] = {}

    def under_way(self, settings: ServeSettings) -> _Place:
        """Return a place among the requests under way, to be taken; ApiError where there are too many."""
        return _Place(self, settings.in_flight)

    def share(self, scope: Any, settings: ServeSettings) -> Share:
        """Return a request's share, which it has until it ends."""
        return Share(self, sender(scope), settings)


class _Place:
    """One of the requests under way, while it is entered."""

    __slots__ = ("_most", "_room")

    def __init__(self, room: Room, most: int) -> None:
        self._room, self._most = room, most

    def __enter__(self) -> None:
        room = self._room
        if room._under_way >= self._most:
            words = f"{room._under_way} requests are under way, which is all that is allowed"
            raise ApiError(503, words, code="busy", retry_after=AGAIN_SECONDS)
        room._under_way += 1

    def __exit__(self, *_: object) -> None:
        self._room._under_way -= 1


class Share:
    """What one request has of the room; it is given back at the end."""

    def __init__(self, room: Room, who: str, settings: ServeSettings) -> None:
        self._room, self.who, self._settings = room, who, settings
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def take(self, size: int) -> None:
        """Hold more bytes; ApiError where its client, or all together, hold too many."""
        room, settings = self._room, self._settings
        most = max(settings.held_bytes, settings.body_bytes)
        mine = room._bytes_of.get(self.who, 0) + size
        if mine > max(most // SHARE, settings.body_bytes):
            raise _too_much("the bodies of your requests are more than one client may have here at once")
        if room._bytes + size > most:
            raise _too_much("the bodies of all requests are more than may be here at once")
        room._bytes += size
        room._bytes_of[self.who] = mine
        self._bytes += size

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for a body that is slow; ApiError where its client has too many of them."""
        counts = self._room._waiting_of
        if counts.get(self.who, 0) >= self._settings.slow_bodies:
            raise _too_much(f"{self._settings.slow_bodies} bodies are waited for, which is all that a client may have")
        _add(counts, self.who, 1)
        try:
            yield
        finally:
            _add(counts, self.who, -1)

    def give_back(self) -> None:
        """Hold nothing any more."""
        self._room._bytes -= self._bytes
        _add(self._room._bytes_of, self.who, -self._bytes)
        self._bytes = 0


def sender(scope: Any) -> str:
    """Return who sends a request: its key, else its address, of IPv6 the network that one client has to itself."""
    if (key := scope["context"].key) is not None:
        return f"key {key.id}"
    host: str = scope["client"][0] if scope["client"] else ""
    return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False)) if ":" in host else host


def _add(counts: dict[str, int], who: str, more: int) -> None:
    """Change a count; one that is 0 is not kept, for strangers' names would be kept for ever."""
    counts[who] = counts.get(who, 0) + more
    if counts[who] == 0:
        del counts[who]


def _too_much(words: str) -> ApiError:
    return ApiError(503, words, code="busy", retry_after=AGAIN_SECONDS, ends_connection=True)
