"""One request and its retries, under one deadline.

An SDK's own retries are switched off. Retries here are the transport's, for failures that may pass: refused and broken
connections, time-outs, 429 and 5xx. They are counted, never outlast the request's deadline, and end once a piece of the
answer was passed on. The pipeline, not the transport, re-asks after an invalid answer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import random
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar

import httpx2

from guard.errors import BudgetExceeded, CallError
from guard.models.base import Reply, added
from guard.models.remote.errors import ExchangeError
from guard.models.remote.runners import LOOP, Waiter
from guard.support.frames import let_go
from guard.support.interrupts import injected

T = TypeVar("T")

_log = logging.getLogger("guard.models")

MOST_WAIT = 60.0  #: Longest wait before a retry, for requests without a deadline, in seconds.
FIRST_BACKOFF, JITTER, LONGEST_BACKOFF = 0.2, 0.3, 10.0  #: Seconds of a wait before a retry.


class Exchange:
    """The deadline and the retries of one request, and the use of its failed tries."""

    def __init__(
        self, name: str, seconds: float | None, retries: int, runner: Waiter = LOOP, most_wait: float = math.inf
    ) -> None:
        """Make one. `most_wait` is the longest wait before a retry; without a deadline it is MOST_WAIT."""
        self.name, self.seconds, self.runner = name, seconds, runner
        self.started = time.perf_counter()
        self.retries = 0  # retries made so far
        self.lost: list[Reply] = []  # partial answers of failed tries
        self._retries, self._most_wait = retries, most_wait  # most retries
        self._failure: CallError | None = None  # the failure during a wait before a retry
        self._known = sys.exception()  # whether the caller's own code runs, whose errors are not this request's
        self._handed_on = False  # whether a piece of the answer was passed on, so that no retry is possible

    def timeout(self, silence: float) -> httpx2.Timeout:
        """Return the HTTP client's time-outs. `silence` is the longest silence of the provider, in seconds."""
        left = silence if self.seconds is None else self.seconds - (time.perf_counter() - self.started)
        return httpx2.Timeout(silence, connect=min(silence, 15.0), pool=max(0.0, min(silence, left)))

    def deadline(self) -> AbstractAsyncContextManager[None]:
        """Limit everything inside to the deadline."""
        return _Deadline(self)

    async def send(self, receive: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
        """Yield the pieces of a request's answer, with retries where they may help. Raises ExchangeError."""
        while True:
            try:
                async with contextlib.aclosing(receive()) as items:
                    async for item in items:
                        self._handed_on = True
                        yield item
                return
            except ExchangeError as error:
                if (wait := self._passed_over(error)) is None:
                    raise
            await self._rest(wait)

    async def whole(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return a request's answer, which comes whole, with the same retries as `send`."""
        while True:
            try:
                return await ask()
            except ExchangeError as error:
                if (wait := self._passed_over(error)) is None:
                    raise
            await self._rest(wait)

    def settled(self, reply: Reply) -> Reply:
        """Return the last try's reply, plus the use of earlier tries, which were paid for too."""
        if not self.lost:
            return reply
        everything, self.lost = [*self.lost, reply], []
        costs = [one.cost for one in everything]
        return dataclasses.replace(
            reply,
            prompt_tokens=sum(one.prompt_tokens for one in everything),
            completion_tokens=sum(one.completion_tokens for one in everything),
            thinking_tokens=sum(one.thinking_tokens for one in everything),
            cached_tokens=added(one.cached_tokens for one in everything),
            cache_creation_tokens=added(one.cache_creation_tokens for one in everything),
            cost=None if None in costs else sum(cost for cost in costs if cost is not None),
            is_estimate=any(one.is_estimate for one in everything),
        )

    def overdue(self, error: TimeoutError) -> CallError:
        """Return the error after the deadline: the failure that a retry waited for, if any, dropped here."""
        if injected(error, self._known) is None:
            let_go(error)  # its frames know the task, and the task what is raised for it
        failure, self._failure = self._failure, None
        return failure or BudgetExceeded(
            f"{self.name} gave no whole answer within the {self.seconds:.3g} s that were left; raise the budget of"
            " seconds"
        )

    def _passed_over(self, error: ExchangeError) -> float | None:
        """Return in how many seconds to try again; None where a retry can't help, or would be too late."""
        wait = self._wait(error)
        if wait is not None:
            _log.info("%s; asking again in %.1f s", error.error.message, wait)
            let_go(error)
            self._failure = error.told()
        return wait

    async def _rest(self, seconds: float) -> None:
        """Wait before the next try. Not where the error is handled: what ends the wait would know the error."""
        await self.runner.sleep(seconds)
        self._failure = None
        self.retries += 1

    def _wait(self, error: ExchangeError) -> float | None:
        """Return the seconds until the next try; None where it can't help, or would be too late."""
        if not error.again or self._handed_on or self.retries >= self._retries:
            return None
        if injected(error, self._known) is not None:  # an SDK mistook a handler's exception for a failure
            return None
        left = MOST_WAIT if self.seconds is None else self.seconds - (time.perf_counter() - self.started)
        wait = error.after
        if wait is None:
            wait = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self.retries, 10) + random.uniform(0, JITTER))  # noqa: S311 (no secret)
        return wait if wait < min(left, self._most_wait) else None


class _Deadline:
    """The deadline of an exchange. No generator, which would take longer than what it does."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._limit = exchange, exchange.runner.timeout(exchange.seconds)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise self._exchange.overdue(late) from None
        if isinstance(error, TimeoutError):
            raise self._exchange.overdue(error) from None
