"""Models by their public names: the tiers behind each, with slots, time limits and circuit breakers.

A served model is a chain of tiers: itself, then those it escalates to. Each tier has slots (requests that it answers at
once), a circuit breaker, and two time-outs. Schema work asks a tier as one of Guard's models (`Tier`). Other requests
go to the tier's upstream unchanged, where it has one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType

from guard import models
from guard.errors import BadReply, BudgetExceeded, ModelError, TimedOut, Unavailable
from guard.models import adapters
from guard.models.base import Model, Reply, Request
from guard.models.remote.blocking_http import is_proxied
from guard.models.remote.exchange import Exchange
from guard.models.remote.openai import OpenAIModel
from guard.models.remote.remote_model import Remote
from guard.sidecar.circuit_breaker import Breaker
from guard.sidecar.settings import ModelSettings, ServeSettings
from guard.sidecar.upstream import Upstream
from guard.sidecar.upstream_client import OWN_LOOP, UpstreamClient
from guard.trace.redaction import take_for_secret
from guard.turns import models as turn_models

MOST_WAIT = 5.0  #: Longest Retry-After that is waited for, in seconds; beyond it the next tier is asked.
#: Errors that are the model's fault, not the request's.
UNWELL = (Unavailable, TimedOut, BadReply)


class Served:
    """One model that is served."""

    def __init__(self, name: str, settings: ModelSettings, response_bytes: int) -> None:
        self.name, self.settings = name, settings
        self.breaker = Breaker(name, settings.breaker_failures, settings.breaker_seconds)
        self.slots = asyncio.Semaphore(settings.slots)
        self.tiers: tuple[Served, ...] = (self,)
        self.upstream: Upstream | None = None
        self._model: Model | None = None
        kind, _, rest = settings.model.partition(":")
        if kind not in ("openai", "anthropic") or not rest:
            return
        self.upstream_model, key, url = rest, settings.secret(), settings.base_url
        if settings.key_variable is not None:  # a provider may echo the key, and records hold what it says
            take_for_secret(settings.key_variable)
        retries, timeout = settings.transport_retries, settings.first_token_seconds
        if kind == "openai":
            self.upstream = Upstream(settings.model, url, key, response_bytes)
            model = OpenAIModel(rest, base_url=url, api_key=key, retries=retries, timeout=timeout)
            # The upstream's connections go through no proxy.
            over = model if is_proxied() else model.over(UpstreamClient(self.upstream, timeout), OWN_LOOP)
            self._model = over.thinking_aloud()
        else:
            from guard.models.remote.anthropic import AnthropicModel
            from guard.sidecar.anthropic_upstream import AnthropicUpstream

            self.upstream = AnthropicUpstream(settings.model, url, key, response_bytes, settings.most_tokens)
            given = AnthropicModel(rest, base_url=url, api_key=key, retries=retries, timeout=timeout)
            self._model = given.thinking_aloud()

    @property
    def model(self) -> Model:
        """Guard's model of this tier, for requests that can't go to the upstream unchanged. `load` must have run."""
        if self._model is None:
            raise ModelError(f"{self.name} is not loaded yet")
        return self._model

    @property
    def own_name(self) -> str:
        """The name by which it is told of as the model of an answer that has only begun."""
        return self.model.name if self.upstream is None else self.upstream_model

    def at(self, path: str) -> Upstream | None:
        """Return the upstream if it answers at a path of OpenAI's protocol, else None."""
        return self.upstream if self.upstream is not None and self.upstream.speaks(path) else None

    @property
    def identity(self) -> str:
        """What tells it from other models in all processes of a sidecar: the model, and a digest of its address."""
        return f"{self.settings.model} {hashlib.sha256(str(self.settings.base_url).encode()).hexdigest()[:16]}"

    @property
    def is_masked(self) -> bool:
        """Whether masks make every answer valid by construction."""
        return bool(getattr(self._model, "is_masked", False))

    @property
    def can_think(self) -> bool:
        """Whether it decodes here, and has a place to think in before it answers."""
        return bool(getattr(self._model, "can_think", False))

    @property
    def has_own_calls(self) -> bool:
        """Whether it decodes here, and calls tools as its own chat template does."""
        return self._model is not None and turn_models.tool_format(self._model) is not None

    @property
    def is_loaded(self) -> bool:
        """Whether its weights, if it has any, are loaded."""
        return self._model is not None

    def dearest(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what an answer costs at most, as far as the prices of its tiers are known, in US dollars."""
        known = (adapters.price(tier.model, prompt_tokens, completion_tokens) for tier in self.tiers)
        return max((price for price in known if price is not None), default=0.0)

    @property
    def is_priced(self) -> bool:
        """Whether an answer's price is known. A model that runs here costs nothing."""
        price = getattr(self._model, "price", None)
        return price is None or price(1, 1) is not None

    def load(self) -> None:
        """Load weights, where there are any; blocking. Raises ModelError."""
        if self._model is None:
            model = models.load(self.settings.model)
            self._model = model.thinking_aloud() if isinstance(model, Remote) else model

    def exchange(self, seconds: float | None) -> Exchange:
        """Return the retry loop of one request. It gives up where a provider asks for a longer wait than MOST_WAIT."""
        return Exchange(self.settings.model, seconds, self.settings.transport_retries, most_wait=MOST_WAIT)

    def turn(self, seconds: float | None, *, is_streamed: bool = False) -> Slot:
        """Return a context manager that holds a slot; see Slot."""
        return Slot(self, seconds, is_streamed)


class Slot:
    """A slot of a model, held by one request; the breaker is told the outcome.

    `seconds` limits all of it, the wait for the slot included. Entering raises Unavailable while the breaker is open;
    TimedOut is raised where the time is over. The breaker does not hear of a time-out without a slot, nor of one in a
    stream, whose reader may be what was slow.
    """

    def __init__(self, served: Served, seconds: float | None, is_streamed: bool) -> None:
        self._served, self._seconds, self._is_streamed = served, seconds, is_streamed
        self._limit = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        self._served.breaker.check()
        await self._limit.__aenter__()
        try:
            await self._served.slots.acquire()
        except BaseException as error:
            try:
                await self._limit.__aexit__(type(error), error, error.__traceback__)
            except TimeoutError:
                raise TimedOut(f"{self._served.name} had no slot free within {self._seconds:.3g} s") from None
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        served, breaker = self._served, self._served.breaker
        served.slots.release()
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._overdue() from None
        if error is None:
            breaker.succeeded()
        elif isinstance(error, TimeoutError):
            raise self._overdue() from None
        elif isinstance(error, BudgetExceeded):  # the client of a provider has the same deadline
            if served.upstream is not None:
                raise self._overdue(error.message) from None
        elif isinstance(error, UNWELL):
            breaker.failed()

    def _overdue(self, words: str = "") -> TimedOut:
        if not self._is_streamed:
            self._served.breaker.failed()
        return TimedOut(words or f"{self._served.name} gave no whole answer within {self._seconds:.3g} s")


class Wrapper:
    """A model that wraps another, and has its name and price. Asked on an event loop only."""

    def __init__(self, model: Model) -> None:
        self.model, self.name = model, model.name
        self.is_masked = bool(getattr(model, "is_masked", False))

    def price(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return an answer's price in US dollars, or None where it is unknown."""
        return adapters.price(self.model, prompt_tokens, completion_tokens)

    def generate(self, _request: Request) -> Reply:
        """Unsupported: the sidecar never blocks on a model."""
        raise AssertionError("a sidecar asks on its event loop")


class Tier(Wrapper):
    """A served model as the pipeline asks it: with a slot, and within its time limit."""

    def __init__(self, served: Served, model: Model | None = None) -> None:
        super().__init__(model or served.model)
        self._served = served

    async def agenerate(self, request: Request) -> Reply:
        """Answer a request."""
        async with self._served.turn(request.seconds):
            return await adapters.agenerate(self.model, request)

    async def astream(self, request: Request) -> AsyncGenerator[str | Reply, None]:
        """Answer a request: the text in pieces, then the reply."""
        first = self._served.settings.first_token_seconds
        async with (
            self._served.turn(request.seconds, is_streamed=True),
            contextlib.aclosing(adapters.apieces(self.model, request)) as parts,
        ):
            try:
                async with asyncio.timeout(first):
                    part = await anext(parts)
            except TimeoutError:
                raise TimedOut(f"{self.name} gave nothing within {first:g} s") from None
            yield part
            async for part in parts:
                yield part


class Models:
    """All served models of one reading of the settings. A reload replaces the whole object."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.by_name = {name: Served(name, each, settings.response_bytes) for name, each in settings.models.items()}
        for served in self.by_name.values():
            served.tiers = (served, *(self.by_name[name] for name in served.settings.escalate_to))

    def load(self) -> None:
        """Load all weights; blocking. Raises ModelError."""
        for served in self.by_name.values():
            served.load()

    @property
    def is_loaded(self) -> bool:
        """Whether every model is loaded."""
        return all(served.is_loaded for served in self.by_name.values())

    def opened(self) -> dict[str, float]:
        """Return when circuit breakers last opened, by the identity of the model, in seconds since the epoch."""
        every = sorted((served.breaker.last_opened, served.identity) for served in self.by_name.values())
        return {identity: at for at, identity in every}  # the latest, where two names have one model

    def hear(self, heard: Mapping[str, float]) -> None:
        """Tell circuit breakers that others' opened, and how many seconds ago; an old opening says nothing."""
        for served in self.by_name.values():
            if abs(heard.get(served.identity, math.inf)) < served.settings.breaker_seconds:
                served.breaker.hear()

    async def close(self) -> None:
        """Close the connections."""
        for served in self.by_name.values():
            if served.upstream is not None:
                await served.upstream.close()
