"""Schemas of clients, compiled under limits, off the event loop, and kept while they are in use.

One is compiled at a time, for the front end is Python, and of those who wait each client in turn. One content is
compiled once, however many ask for it at the same time; whoever stops asking does not stop it for the others. What is
kept is bounded by what it weighs, of which a stranger's large schema has much; a refusal is not kept.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import hashlib
from collections import OrderedDict
from typing import Any

from guard.errors import SchemaError
from guard.output import target as targets
from guard.schemas import Limits
from guard.schemas.limits import limit_error
from guard.sidecar import large
from guard.sidecar.fair_queue import FairQueue
from guard.support.json_pieces import pieces

#: What a stranger's schema may cost. `guard.compile`'s own limits are for schemas that a program holds. A large one is
#: read, and a judge made of it, in calls that keep the GIL for the longer, the larger it is.
LIMITS = Limits(bytes=400_000, nodes=25_000, states=500_000, seconds=2.0)
MOST = 256  #: Schemas kept compiled.
MOST_BYTES = 64_000_000  #: That they weigh together.
WEIGHT = 64  #: Bytes that Python and the judge hold for each byte of a schema's text, measured; the engine's are asked.


class Targets:
    """The schemas that are compiled, or on the way; of one event loop."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[str, tuple[targets.Target, int]] = OrderedDict()  # with the length of the text
        self._flights: dict[str, asyncio.Task[targets.Target]] = {}
        self._queue = FairQueue()
        self._thread = large.thread("guard-compile")

    @property
    def nbytes(self) -> int:
        """What is kept weighs about so much."""
        return sum(size * WEIGHT + target.compiled.nbytes for target, size in self._kept.values())

    async def of(self, schema: Any, name: str, size: int, *, is_checked_only: bool, sender: str = "") -> targets.Target:
        """Return the target of a schema that a sender's body of so many bytes has; SchemaError where it is refused.

        `is_checked_only`: some tier has no masks, and may be asked where masks can't enforce it all.
        """
        key, size = await large.done(size, _key, schema, name, is_checked_only)
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return kept[0]
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._compiled(key, size, schema, name, is_checked_only, sender))
            self._flights[key] = flight
            flight.add_done_callback(_seen)
        return await asyncio.shield(flight)

    async def _compiled(
        self, key: str, size: int, schema: Any, name: str, is_checked_only: bool, sender: str
    ) -> targets.Target:
        work = functools.partial(large.giving_way, compiled, schema, name, is_checked_only)
        try:
            async with self._queue.turn(sender):
                made = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            self._kept[key] = made, size
            self._make_room()
            return made
        finally:
            del self._flights[key]

    def _make_room(self) -> None:
        """Let go of what was asked for longest ago; weighed anew, for what decoding meets makes schemas grow."""
        nbytes = self.nbytes
        while self._kept and (nbytes > self._most_bytes or len(self._kept) > self._most):
            _, (target, size) = self._kept.popitem(last=False)
            nbytes -= size * WEIGHT + target.compiled.nbytes


def compiled(schema: Any, name: str, is_checked_only: bool) -> targets.Target:
    """Compile a client's schema."""
    options = {"limits": LIMITS}
    try:
        target = targets.from_any(schema, options)
    except SchemaError as error:
        if not is_checked_only or error.limit == "seconds":  # it would take as long again
            raise
        unmasked = targets.from_any(schema, {**options, "inexact": "residual"})
        target = dataclasses.replace(unmasked, refused=copy.copy(error))  # without the compiler's frames
    # What is asked of it on the loop is worked out here.
    _ = target.compiled.hash, target.compiled.is_large
    return dataclasses.replace(target, name=name, made_of=())  # no pickle is made of it


def _key(schema: Any, name: str, is_checked_only: bool) -> tuple[str, int]:
    """Return by what a schema is known, and the length of its text; SchemaError where that is too long."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces([name, is_checked_only, schema]):
        data = piece.encode(errors="backslashreplace")  # halves of surrogate pairs, as JSON escapes them
        digest.update(data)
        size += len(data)
        if size > LIMITS.bytes:
            raise limit_error(LIMITS, "bytes", "", None, f"more than {LIMITS.bytes:,} bytes of JSON")
    return digest.hexdigest(), size


def _seen(flight: asyncio.Task[targets.Target]) -> None:
    """See a failure, also where nobody waits for it any more."""
    if not flight.cancelled():
        flight.exception()
