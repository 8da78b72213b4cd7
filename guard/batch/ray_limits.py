"""What the workers of a Ray job share: one rate, and one budget of money, leased by one actor.

Before each request a worker takes a lease of the most that the request can cost, by the price of its model; the actor
says how long the request must wait for its turn. Afterwards the worker settles the lease with what it did cost. So the
job never spends more than its budget: a request whose lease does not fit waits for others to be settled, and is refused
once none is out. One whose turn comes only after the seconds that are left of its call's budget is refused at once, and
takes no turn. A lease that nobody settles (its worker was killed) counts as spent after LEASE_S.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from guard.errors import BudgetExceeded, ModelError
from guard.models import adapters, chat_messages
from guard.models.base import Model, Reply, Request
from guard.models.event_loop import EVENT_LOOP
from guard.support.bounds import MOST_COUNT, MOST_USD, check
from guard.trace import TraceStore

LEASE_S = 600.0  #: After which a lease counts as spent, unless its request may last longer.
WAITING = 10_000  #: Requests that wait for the actor at the same time.


@dataclass(frozen=True)
class JobLimits:
    """Limits of all workers of a job together: requests a second, and US dollars; None: no limit.

    With `run` and `trace`, the cost of the run's recorded calls counts too, so the limit outlasts a killed driver.
    """

    per_second: float | None = None
    usd: float | None = None
    run: str | None = None
    trace: TraceStore | None = None
    actor: Any = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.per_second is not None:
            check("per_second", self.per_second, 0, MOST_COUNT, is_above=True)
        if self.usd is not None:
            check("usd", self.usd, 0, MOST_USD, is_above=True)
        import ray

        # Where its node dies it begins again, from what the trace says.
        made = ray.remote(max_restarts=-1, max_task_retries=-1, max_concurrency=WAITING, num_cpus=0)(LeaseLedger)
        named = made.options(name=f"guard-limits-{uuid.uuid4().hex}")
        object.__setattr__(self, "actor", named.remote(self.per_second, self.usd, self.run, self.trace))

    def around(self, model: Model) -> LimitedModel:
        """Return a model that asks for a lease before each request."""
        return LimitedModel(model, self)


class LeaseLedger:
    """The actor that hands out leases."""

    def __init__(self, per_second: float | None, usd: float | None, run: str | None, trace: TraceStore | None) -> None:
        self._interval = 0.0 if per_second is None else 1 / per_second
        self._usd = usd
        self._spent = trace.spent(run) if run is not None and trace is not None else 0.0
        self._leases: dict[str, tuple[float, float]] = {}  # dollars, and until when
        self._settled = asyncio.Condition()
        self._turn = 0.0  # when the next request may begin

    async def lease(self, name: str, usd: float, seconds: float, patience: float | None = None) -> float | None:
        """Return how many seconds a request must wait; None where there is no money for it any more.

        One that would wait longer than its patience has no lease and no turn: it would wait for ever.
        """
        until = math.inf if patience is None else time.monotonic() + patience
        try:
            async with asyncio.timeout(patience):
                if self._usd is not None and not await self._afforded(name, usd, seconds):
                    return None
        except TimeoutError:
            return math.inf
        now = time.monotonic()
        begin = max(self._turn, now)
        if begin > until:
            await self.settle(name, 0.0)
            return math.inf
        self._turn = begin + self._interval
        return begin - now

    async def _afforded(self, name: str, usd: float, seconds: float) -> bool:
        assert self._usd is not None
        async with self._settled:
            while True:
                self._expire()
                if self._spent + sum(dollars for dollars, _ in self._leases.values()) + usd <= self._usd:
                    self._leases[name] = (usd, time.monotonic() + seconds)
                    return True
                if self._spent + usd > self._usd:
                    return False
                try:
                    async with asyncio.timeout(1.0):  # leases expire meanwhile
                        await self._settled.wait()
                except TimeoutError:
                    pass

    async def settle(self, name: str, usd: float) -> None:
        """End a lease with what was spent of it."""
        async with self._settled:
            if self._leases.pop(name, None) is not None:
                self._spent += usd
                self._settled.notify_all()

    async def spent(self) -> float:
        """Return what the job has spent, in US dollars."""
        return self._spent

    def _expire(self) -> None:
        now = time.monotonic()
        for name in [name for name, (_, until) in self._leases.items() if until < now]:
            self._spent += self._leases.pop(name)[0]


class LimitedModel:
    """A model that asks for a lease before each request; it does not stream."""

    def __init__(self, model: Model, limits: JobLimits) -> None:
        self._model, self._limits = model, limits

    @property
    def name(self) -> str:
        """How the model is named in replies and traces."""
        return self._model.name

    @property
    def is_masked(self) -> bool:
        """Whether every answer is valid by construction."""
        return bool(getattr(self._model, "is_masked", False))

    @property
    def identity(self) -> str:
        """What tells its weights from others' of the same name."""
        return str(getattr(self._model, "identity", ""))

    def price(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return what an answer would cost; None where it is not known."""
        return adapters.price(self._model, prompt_tokens, completion_tokens)

    def generate(self, request: Request) -> Reply:
        """Answer a request."""
        return EVENT_LOOP.run(self.agenerate(request), request.unread)

    async def agenerate(self, request: Request) -> Reply:
        """Answer a request, once the job's limits let it begin."""
        prompt = chat_messages.most_tokens(request.messages, request.schema_size)
        most = self.price(prompt, request.max_tokens + request.thinking)
        if most is None and self._limits.usd is not None:
            raise ModelError(f"no price of {self.name} is known, so it can't be asked under the job's budget of money")
        name, ledger = uuid.uuid4().hex, self._limits.actor
        until = None if request.seconds is None else time.monotonic() + request.seconds
        wait = await ledger.lease.remote(name, most or 0.0, max(LEASE_S, request.seconds or 0.0), request.seconds)
        if wait is None:
            raise BudgetExceeded(f"what is left of the job's budget of ${self._limits.usd:g} does not pay this request")
        cost = 0.0

        def told(reply: Reply) -> None:
            nonlocal cost
            cost = most or 0.0 if reply.cost is None else reply.cost
            request.cut(reply)

        try:
            self._left(until, wait)
            await asyncio.sleep(wait)
            seconds = self._left(until)
            usd = request.usd if self._limits.usd is None else min(most or 0.0, request.usd or MOST_USD)
            reply = await adapters.agenerate(
                self._model, dataclasses.replace(request, usd=usd, seconds=seconds, told=told)
            )
            cost = most or 0.0 if reply.cost is None else reply.cost
            return reply
        finally:
            if self._limits.usd is not None:
                ledger.settle.remote(name, cost)

    def _left(self, until: float | None, wait: float = 0.0) -> float | None:
        """Return how many seconds are left of a call's budget after a wait; BudgetExceeded where none are."""
        if until is None:
            return None
        left = until - time.monotonic() - wait
        if left <= 0:
            raise BudgetExceeded(
                f"the job's limits let {self.name} be asked only after the seconds that were left; raise the budget of"
                " seconds, or the job's limits"
            )
        return left
