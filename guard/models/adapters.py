"""Adapters: every model can be asked blocking, as a coroutine, and as either kind of stream.

A model has `generate`, and may have `agenerate`, `stream` and `astream` (guard/models/base.py); the missing ones are
built here from the others. An async call of a blocking model runs in a thread and, when it is cancelled, stops between
two pieces. A model that can't stream answers in one piece. A stream that ends without a reply is charged by an
estimate.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Self

from guard.errors import ModelError
from guard.models.base import Model, Reply, Request, Thought
from guard.models.chat_messages import estimated_tokens
from guard.support.threads import in_thread

_END = object()


def generate(model: Model, request: Request) -> Reply:
    """Ask a model; blocks."""
    return model.generate(request)


async def agenerate(model: Model, request: Request) -> Reply:
    """Ask a model, as a coroutine."""
    ask = getattr(model, "agenerate", None)
    if ask is not None:
        reply: Reply = await ask(request)
        return reply
    if not hasattr(model, "stream"):
        return await in_thread(model.generate, request)
    async with contextlib.aclosing(apieces(model, request)) as parts:
        async for part in parts:
            if isinstance(part, Reply):
                return part
    raise AssertionError("pieces end with a reply")


def price(model: Model, prompt_tokens: int, completion_tokens: int) -> float | None:
    """Return the price of an answer in US dollars: 0 where the model runs here, None where it is unknown."""
    known = getattr(model, "price", None)
    if known is None:
        return 0.0 if getattr(model, "is_masked", False) else None
    cost: float | None = known(prompt_tokens, completion_tokens)
    return cost


def affordable(model: Model, prompt: int, most: int, usd: float) -> int | None:
    """Return how many tokens after a prompt an amount of money certainly pays for, at most `most`.

    None where no price is known.
    """
    least, whole = price(model, prompt, 0), price(model, prompt, most)
    if least is None or whole is None:
        return None
    if whole <= usd:
        return most
    return int(most * (usd - least) / (whole - least)) if whole > least else 0


def pieces(model: Model, request: Request) -> Iterator[str | Reply]:
    """Yield the text in pieces, then the reply; blocks. Closing the iterator stops the model."""
    with _Charge(model, request) as charge:
        for part in _pieces(model, charge.request):
            charge.note(part)
            yield part


async def apieces(model: Model, request: Request) -> AsyncGenerator[str | Reply, None]:
    """Yield the text in pieces, then the reply, asynchronously. Closing the iterator stops the model."""
    with _Charge(model, request) as charge:
        async with contextlib.aclosing(_apieces(model, charge.request)) as parts:
            async for part in parts:
                charge.note(part)
                yield part


class _Charge:
    """Charges a stream that ends before its reply, where the model itself does not report its use.

    The prompt was read, and the pieces are known; the tokens of both are estimated.
    """

    def __init__(self, model: Model, request: Request) -> None:
        self.request = dataclasses.replace(request, told=self._tell)
        self._model, self._asked = model, request
        self._text: list[str] = []
        self._thought: list[str] = []
        self._is_told = False

    def note(self, part: Any) -> None:
        """Add a piece, or the reply, which ends the account."""
        if isinstance(part, str):
            (self._thought if isinstance(part, Thought) else self._text).append(part)
        self._is_told = self._is_told or isinstance(part, Reply)

    def _tell(self, reply: Reply) -> None:
        self._is_told = True
        self._asked.cut(reply)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.request = self._asked  # the request refers to this object: a cycle would keep all messages alive
        if self._is_told:
            return
        if any(self._text) or any(self._thought):
            self._asked.cut(self._estimate("".join(self._text), "".join(self._thought)))
        if kind is None:
            raise ModelError(f"the stream of {self._model.name} ended without its Reply")

    def _estimate(self, text: str, thought: str) -> Reply:
        prompt = sum(estimated_tokens(str(message.get("content", ""))) for message in self._asked.messages)
        written = estimated_tokens(text + thought)
        return Reply(
            text=text,
            finish="cut",
            model=self._model.name,
            prompt_tokens=prompt,
            completion_tokens=written,
            thinking_tokens=estimated_tokens(thought),
            thinking=thought,
            cost=price(self._model, prompt, written),
            is_estimate=True,
        )


def _pieces(model: Model, request: Request) -> Iterator[str | Reply]:
    if hasattr(model, "stream"):
        yield from model.stream(request)
    elif hasattr(model, "astream"):
        from guard.models.event_loop import EVENT_LOOP

        yield from EVENT_LOOP.iterate(model.astream(request), request.unread)
    else:
        yield from _in_one(model.generate(request), request)


async def _apieces(model: Model, request: Request) -> AsyncGenerator[str | Reply, None]:
    if hasattr(model, "astream"):
        async with contextlib.aclosing(model.astream(request)) as parts:
            async for part in parts:
                yield part
    elif hasattr(model, "stream"):
        blocking = iter(model.stream(request))
        turn: asyncio.Future[Any] | None = None
        try:
            while True:
                turn = asyncio.ensure_future(in_thread(next, blocking, _END))
                part = await asyncio.shield(turn)
                turn = None
                if part is _END:
                    return
                yield part
        finally:
            if turn is not None:  # cancelled during a piece: a running generator can't be closed
                await asyncio.wait([turn])
                turn.exception()
            close = getattr(blocking, "close", None)
            if close is not None:
                await asyncio.to_thread(close)
    else:
        for part in _in_one(await agenerate(model, request), request):
            yield part


def _in_one(reply: Any, request: Request) -> Iterator[str | Reply]:
    """Yield a whole reply as a stream: the text, then the reply."""
    if isinstance(reply, Reply):  # the pipeline refuses anything that is not a Reply
        request.cut(dataclasses.replace(reply, finish="cut"))
        yield reply.text
    yield reply
