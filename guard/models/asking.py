"""Asking a model in the way that the caller needs, whichever way it answers in.

A model has `generate`, and may have `agenerate`, `stream`, `astream` (guard/models/base.py). What it has not is made
here of what it has: an async call of a blocking model runs in a thread, and stops between two pieces when it is
cancelled; a model that can't stream answers in one piece.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from guard.models.base import Model, Reply, Request

_END = object()


def generate(model: Model, request: Request) -> Reply:
    """Ask, blocking."""
    return model.generate(request)


async def agenerate(model: Model, request: Request) -> Reply:
    """Ask, async."""
    ask = getattr(model, "agenerate", None)
    if ask is not None:
        reply: Reply = await ask(request)
        return reply
    if not hasattr(model, "stream"):
        return await asyncio.to_thread(model.generate, request)
    async with contextlib.aclosing(apieces(model, request)) as parts:
        async for part in parts:
            if isinstance(part, Reply):
                return part
    raise AssertionError(f"the stream of {model.name} ended without its reply")


def pieces(model: Model, request: Request) -> Iterator[str | Reply]:
    """Ask, blocking; the text in pieces, then the reply. Closing the iterator stops the model."""
    if hasattr(model, "stream"):
        yield from model.stream(request)
    elif hasattr(model, "astream"):
        from guard.models.portal import PORTAL

        yield from PORTAL.iterate(model.astream(request))
    else:
        reply = model.generate(request)
        yield reply.text
        yield reply


async def apieces(model: Model, request: Request) -> AsyncGenerator[str | Reply, None]:
    """Ask, async; the text in pieces, then the reply. Closing the iterator stops the model."""
    if hasattr(model, "astream"):
        async with contextlib.aclosing(model.astream(request)) as parts:
            async for part in parts:
                yield part
    elif hasattr(model, "stream"):
        blocking = iter(model.stream(request))
        turn: asyncio.Future[Any] | None = None
        try:
            while True:
                turn = asyncio.ensure_future(asyncio.to_thread(next, blocking, _END))
                part = await asyncio.shield(turn)
                turn = None
                if part is _END:
                    return
                yield part
        finally:
            if turn is not None:  # cancelled while a piece was on its way: a generator can't be closed under it
                await asyncio.wait([turn])
                turn.exception()
            close = getattr(blocking, "close", None)
            if close is not None:
                await asyncio.to_thread(close)
    else:
        reply = await agenerate(model, request)
        yield reply.text
        yield reply
