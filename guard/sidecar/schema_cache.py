"""Schemas of clients, compiled under limits, off the event loop, and kept while they are in use.

Schemas are compiled one at a time, since the front end is Python, and waiting clients take turns. Equal schemas are
compiled once, however many requests wait for them, and a request that leaves does not stop the others. The cache is
bounded by memory, since a stranger's schema may be large. Refusals are not cached.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from guard.errors import SchemaError
from guard.output import target as targets
from guard.schemas import Limits
from guard.schemas.limits import limit_error
from guard.sidecar import large
from guard.sidecar.fair_queue import FairQueue
from guard.support.first_step import within
from guard.support.json_pieces import compact, pieces
from guard.turns import value

T = TypeVar("T")

#: Limits of a stranger's schema; the defaults of `guard.compile` are for schemas that a program holds. Parsing a schema
#: and making its validator hold the GIL for a time that grows with its size.
LIMITS = Limits(bytes=400_000, nodes=25_000, states=500_000, seconds=2.0)
MOST = 256  #: Most compiled schemas in the cache.
MOST_BYTES = 64_000_000  #: Most bytes of memory that they take together.
WEIGHT = 64  #: Bytes in Python and the validator for each byte of a schema's text, measured; the engine tells its own.


class Targets:
    """The cache of schemas that are compiled, or being compiled. Belongs to one event loop."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[str, tuple[targets.Target, int]] = OrderedDict()  # with the length of the text
        self._flights: dict[str, asyncio.Task[targets.Target]] = {}
        self._queue = FairQueue()
        self._thread = large.thread("guard-compile")

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory the cache takes."""
        return sum(_weighed(self._kept.values()))

    async def of(
        self,
        schema: Any,
        name: str,
        size: int,
        *,
        is_checked_only: bool,
        is_turn: bool = False,
        sender: str = "",
        seconds: float | None = None,
    ) -> targets.Target:
        """Return the target of a schema in a sender's body of so many bytes. Raises SchemaError where it is refused.

        `is_checked_only` says that some tier has no masks, so the schema may have keywords that masks can't enforce.
        `is_turn` says that it is a turn's (guard/turns/value.py), so that something must meet each of its parts.
        Raises TimeoutError where it is not there within so many seconds.
        """
        return await within(seconds, self._of(size, sender, schema, name, is_checked_only, is_turn))

    async def _of(
        self, size: int, sender: str, schema: Any, name: str, is_checked_only: bool, is_turn: bool
    ) -> targets.Target:
        key, size = await large.done(size, _key, schema, name, size, is_checked_only, is_turn)
        if (kept := self._known(key)) is not None:
            return kept
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._compiled(key, size, sender, schema, name, is_checked_only, is_turn))
            self._flights[key] = flight
            flight.add_done_callback(_seen)
        return await asyncio.shield(flight)

    def _known(self, key: str) -> targets.Target | None:
        """Return a target that is kept, which is the latest one used then."""
        if (kept := self._kept.get(key)) is None:
            return None
        self._kept.move_to_end(key)
        return kept[0]

    async def _compiled(self, key: str, size: int, sender: str, *what: Any) -> targets.Target:
        try:
            async with self._queue.turn(sender, size):
                made = await self._in_thread(compiled, *what)
                self._kept[key] = made, size
                await self._make_room()
            return made
        finally:
            del self._flights[key]

    async def _make_room(self) -> None:
        """Drop the least recently used schemas. All are weighed again, because decoding makes them grow.

        To weigh hundreds takes milliseconds, and so does to give back the memory of one. The thread does both.
        """
        held, dropped = list(self._kept.items()), []
        weights = await self._in_thread(_weighed, [kept for _, kept in held])
        nbytes = sum(weights)
        by_key = {key: each for (key, _), each in zip(held, weights, strict=True)}
        while self._kept and (nbytes > self._most_bytes or len(self._kept) > self._most):
            dropped.append(self._kept.popitem(last=False))
            nbytes -= by_key.pop(dropped[-1][0])
        held.clear()
        if dropped:
            await self._in_thread(dropped.clear)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        job = functools.partial(large.counted, work, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)


def _weighed(kept: Iterable[tuple[targets.Target, int]]) -> list[int]:
    """Return about how many bytes of memory each target takes, given with the length of its schema's text."""
    return [size * WEIGHT + target.compiled.nbytes for target, size in kept]


def compiled(schema: Any, name: str, is_checked_only: bool, is_turn: bool = False) -> targets.Target:
    """Compile a client's schema, or that of a turn."""
    options, parts = {"limits": LIMITS}, (*value.parts(schema),) if is_turn else ()
    try:
        target = targets.from_any(schema, options, parts=parts)
    except SchemaError as error:
        if not is_checked_only or error.limit == "seconds":  # it would take as long again
            raise
        unmasked = targets.from_any(schema, {**options, "inexact": "residual"}, parts=parts)
        target = dataclasses.replace(unmasked, refused=copy.copy(error))  # without the compiler's frames
    # Lazy properties that the event loop reads are computed here.
    _ = target.compiled.hash, target.compiled.is_large
    return dataclasses.replace(target, name=name, made_of=(), is_turn=is_turn)  # no pickle is made of it


def _key(schema: Any, name: str, within: int, is_checked_only: bool, is_turn: bool) -> tuple[str, int]:
    """Return the key of a schema in a body of so many bytes, and the length of its text.

    Raises SchemaError where that is too long.
    """
    digest, size = hashlib.sha256(), 0
    what = [name, is_checked_only, is_turn, schema]
    for piece in (compact(what),) if within < large.LARGE else pieces(what):
        data = piece.encode(errors="backslashreplace")  # halves of surrogate pairs, as JSON escapes them
        digest.update(data)
        size += len(data)
        if size > LIMITS.bytes:
            raise limit_error(LIMITS, "bytes", "", None, f"more than {LIMITS.bytes:,} bytes of JSON")
    return digest.hexdigest(), size


def _seen(flight: asyncio.Task[targets.Target]) -> None:
    """Retrieve a failure that nobody waits for any more, so that asyncio does not log it."""
    if not flight.cancelled():
        flight.exception()
