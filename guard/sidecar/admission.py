"""Admission: how many requests, and how many bytes of bodies, a process holds at once, and one client's share of them.

A request takes a place once its body has arrived, so slow clients hold nobody up. Clients are told apart by key, or by
address where no key is needed. Bytes of bodies are counted until their requests end, because they are most of the
process's memory.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from typing import Any, Self

from guard.sidecar.errors import AGAIN_SECONDS, ApiError
from guard.sidecar.settings import ServeSettings

SHARE = 4  #: One client may hold a quarter of all bytes, or one largest body.


class Room:
    """The places and bytes that the requests of one process hold. Belongs to one event loop."""

    def __init__(self) -> None:
        self._under_way = 0
        self._bytes = 0
        self._bytes_of: dict[str, int] = {}
        self._waiting_of: dict[str, int] = {}

    def under_way(self, settings: ServeSettings) -> _Place:
        """Return a place for one request, as a context manager. Raises ApiError where all places are taken."""
        return _Place(self, settings.in_flight)

    def share(self, scope: Any, settings: ServeSettings) -> Share:
        """Return a request's share of the bytes; the request owns it until it ends."""
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
    """The bytes that one request holds; it gives them back at its end."""

    def __init__(self, room: Room, who: str, settings: ServeSettings) -> None:
        self._room, self.who, self._settings = room, who, settings
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def take(self, size: int) -> None:
        """Hold more bytes. Raises ApiError where the client, or all clients together, would hold too many."""
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
        """Wait for a slow body. Raises ApiError where its client has too many slow ones already."""
        counts = self._room._waiting_of
        if counts.get(self.who, 0) >= self._settings.slow_bodies:
            raise _too_much(f"{self._settings.slow_bodies} bodies are waited for, which is all that a client may have")
        _add(counts, self.who, 1)
        try:
            yield
        finally:
            _add(counts, self.who, -1)

    def give_back(self) -> None:
        """Release all bytes."""
        self._room._bytes -= self._bytes
        _add(self._room._bytes_of, self.who, -self._bytes)
        self._bytes = 0


def sender(scope: Any) -> str:
    """Return who sends a request: its key, else its address; of an IPv6 address the /64, which is one client's."""
    if (key := scope["context"].key) is not None:
        return f"key {key.id}"
    host: str = scope["client"][0] if scope["client"] else ""
    return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False)) if ":" in host else host


def _add(counts: dict[str, int], who: str, more: int) -> None:
    """Change a count. A count of 0 is dropped: strangers' names must not pile up."""
    counts[who] = counts.get(who, 0) + more
    if counts[who] == 0:
        del counts[who]


def _too_much(words: str) -> ApiError:
    return ApiError(503, words, code="busy", retry_after=AGAIN_SECONDS, ends_connection=True)
