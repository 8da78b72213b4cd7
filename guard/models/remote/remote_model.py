"""The base of models behind a provider's API: modes, concessions, and the four ways to be asked.

A schema is sent in the strongest of three modes that can carry it: `native`, the provider's own structured output, in
its dialect; `tool`, as the parameters of one tool that must be called; `prompt`, in words. Where a provider refuses a
request with HTTP 400, Guard makes concessions, and remembers them for a while: it gives up an unknown parameter that it
has added itself, or, where the error is about the schema, that schema's mode. The schema itself is never given up: the
pipeline validates every answer against it. Nor are parameters that the caller asked for (`wished`): their refusal is
the request's failure.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import httpx2

from guard.errors import BadReply, BudgetExceeded, CallError, ModelError
from guard.models import adapters, chat_messages
from guard.models.base import Reply, Request, Thought
from guard.models.chat_messages import BYTES_A_TOKEN, estimated_tokens
from guard.models.event_loop import EVENT_LOOP
from guard.models.remote import prices
from guard.models.remote.blocking_http import is_proxied, was_sent
from guard.models.remote.errors import ExchangeError, broken_off
from guard.models.remote.exchange import Exchange
from guard.models.remote.http import HEADERS, count
from guard.models.remote.runners import LARGE, LOOP, THREAD, Runner, Waiter, done, nested
from guard.models.thinking_tags import Thoughts
from guard.output import provider_schema
from guard.support.bounds import MOST_COUNT, MOST_SECONDS, check

MODES = ("native", "tool", "prompt")  #: The modes, from the strongest to the weakest.
CACHED = 256  #: Most refusals that a model remembers.
UNDONE = 8  #: How many times as long as reading an answer it takes to undo a provider's form of it.
AGAIN_S = 600.0  #: Seconds for which it remembers them, since servers change.
#: Words of an error that is about a schema, or about its mode.
_SCHEMA = re.compile(
    r"response_?format|schema|structured|strict|output_?(config|format)|grammar|guided|\btools?\b|tool_choice|function",
    re.IGNORECASE,
)

_log = logging.getLogger("guard.models")


@dataclass(frozen=True)
class ProviderRequest:
    """A request in the form in which it is sent."""

    request: Request
    mode: str
    sent: provider_schema.Sent | None  # None: no schema, or one in words
    messages: chat_messages.Messages
    runner: Waiter
    timeout: httpx2.Timeout
    max_tokens: int  # limit of thinking and answer together
    body: Mapping[str, Any]  # parameters beside model and messages

    def opened(
        self, client: Any, path: str, body: Mapping[str, Any], events: Any, headers: Mapping[str, str] = HEADERS
    ) -> contextlib.AbstractAsyncContextManager[httpx2.Response]:
        """Send a body over a client; yield the response, its body unread, and close it at the end.

        Of an SDK's client only the generic `post` is used: the rest of its methods takes half as long as the request.
        """
        return self.runner.opened(
            functools.partial(
                client.post,
                path,
                body=body,
                options={"headers": headers, "timeout": self.timeout, "follow_redirects": False},
                cast_to=httpx2.Response,
                stream=True,
                stream_cls=events,
            )
        )

    @property
    def prompt_size(self) -> int:
        """Return an estimate of the tokens that are sent."""
        texts = [str(message.get("content", "")) for message in self.messages]
        return sum(map(estimated_tokens, texts)) + (_tokens(self.sent) if self.sent else 0)


class Clients:
    """The clients of a model, of an SDK or of api_client.py: one for each runner and process, made at first use.

    A forked child has its own clients, since connections belong to the parent. So has a call in a signal handler that
    interrupted another call, which may hold a lock of its client's. A client that the caller gave is used for all.
    """

    def __init__(self, make: Callable[[Runner], Any], given: Any) -> None:
        self.make, self._given = make, given
        self._made: dict[tuple[int, Runner, int], Any] = {}

    def of(self, runner: Any) -> Any:
        """Return the client for a runner."""
        if self._given is not None:
            return self._given
        key = os.getpid(), runner, nested()
        client = self._made.get(key)
        if client is None:
            client = self._made[key] = self.make(runner)
            weakref.finalize(self, _close, client, *key[:2]).atexit = False
        return client


def _close(client: Any, pid: int, runner: Runner) -> None:
    if runner is LOOP:
        EVENT_LOOP.call_later(client.close)
    elif pid == os.getpid():  # in a forked child another thread may have held the locks
        client.close()


class RefusedFeatures:
    """The refusals of a provider, remembered for AGAIN_S. Thread-safe."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def add(self, what: str) -> None:
        """Remember a refusal."""
        self._since[what] = time.monotonic()
        for oldest in list(self._since)[:-CACHED]:
            self._since.pop(oldest, None)

    def __contains__(self, what: str) -> bool:
        since = self._since.get(what)
        return since is not None and time.monotonic() - since < AGAIN_S


class Remote(ABC):
    """A model behind a provider's API. Subclasses write its requests and read its answers. Thread-safe."""

    #: The dialect of the provider's structured output.
    dialect: provider_schema.ProviderDialect

    def __init__(
        self,
        model: str,
        *,
        title: str,
        client: Any,
        make: Callable[[Runner], Any],
        mode: str | None,
        retries: int,
        timeout: float,
        provider: str | None,
        extra: Mapping[str, Any],
    ) -> None:
        if mode not in (None, *MODES):
            raise ModelError(f"mode={mode!r} must be one of {', '.join(MODES)}, or None")
        try:
            check("retries", retries, 0, MOST_COUNT, is_whole=True)
            check("timeout", timeout, 0, MOST_SECONDS, is_above=True)
        except ValueError as error:
            raise ModelError(str(error)) from None
        self.model = model  # as the provider names it
        self._name, self._mode, self._retries, self._timeout = title, mode, retries, timeout
        self._provider, self._extra = provider, dict(extra)
        self._thinks_aloud = False
        self._waiter: Waiter | None = None  # None: asked on Guard's event loop
        # A caller's client is asynchronous, and the blocking transport does not support proxies.
        self._blocking = LOOP if client is not None or is_proxied() else THREAD
        self._clients = Clients(make, client)
        self._clients.of(self._blocking)  # errors of making it are raised now
        self._wished = frozenset(extra)  # parameters that the caller asked for
        self._refused = RefusedFeatures()  # refused modes, each with the hash of a schema
        self._conceded = RefusedFeatures()  # parameters
        #: How a schema is sent, by mode; kept as long as the schema.
        self._sent: weakref.WeakKeyDictionary[Any, dict[str, provider_schema.Sent | str | None]] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def name(self) -> str:
        """How the model is named in replies and traces."""
        return self._name

    @property
    def identity(self) -> str:
        """What answers depend on beyond the name: the address, the mode and parameters. Part of a recording's key."""
        return f"{self._client.base_url} {self._mode or 'any mode'} {json.dumps(self._extra, sort_keys=True)}"

    def price(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return the price of an answer in US dollars, or None where it is unknown."""
        return self._cost(self.model, prompt_tokens, completion_tokens)

    def generate(self, request: Request) -> Reply:
        """Answer a request."""
        return self._blocking.run(self._whole(request, self._blocking), request.unread)

    async def agenerate(self, request: Request) -> Reply:
        """Answer a request."""
        if self._waiter is not None:
            return await self._whole(request, self._waiter)
        return await EVENT_LOOP.arun(self._whole(request, LOOP), request.unread)

    def stream(self, request: Request) -> Iterator[str | Reply]:
        """Answer a request: the text in pieces, then the reply."""
        return self._blocking.iterate(self._pieces(request, self._blocking), request.unread)

    def astream(self, request: Request) -> AsyncIterator[str | Reply]:
        """Answer a request: the text in pieces, then the reply."""
        if self._waiter is not None:
            return self._pieces(request, self._waiter)
        return EVENT_LOOP.aiterate(self._pieces(request, LOOP), request.unread)

    def with_body(self, extra: Mapping[str, Any], wished: Iterable[str] = ()) -> Self:
        """Return the same model, over the same connections, with more parameters in every request's body.

        `wished` are names of parameters that the caller asked for, Guard's own among them.
        """
        if not extra and self._wished.issuperset(wished):
            return self
        same = copy(self)
        same._extra = {**self._extra, **extra}
        same._wished = self._wished | frozenset(extra) | frozenset(wished)
        return same

    def thinking_aloud(self) -> Self:
        """Return the same model, over the same connections, that streams `Thought`s too, as they come."""
        same = copy(self)
        same._thinks_aloud = True
        return same

    def over(self, client: Any, waiter: Waiter) -> Self:
        """Return the same model over a client of the caller's own event loop, where alone it is asked.

        `client.post` is what `waiter.opened` understands.
        """
        same = copy(self)
        same._clients, same._waiter = Clients(self._clients.make, client), waiter
        return same

    # -- What a provider's module says ---------------------------------------------------------------------------------

    @abstractmethod
    def _body(self, request: Request, mode: str, sent: provider_schema.Sent | None) -> dict[str, Any]:
        """Return the parameters of a request."""

    @abstractmethod
    async def _receive(self, provider_request: ProviderRequest, reading: ReplyReader) -> None:
        """Send a request once and read the answer, which comes whole. Raises ExchangeError."""

    @abstractmethod
    def _receive_pieces(self, provider_request: ProviderRequest, reading: ReplyReader) -> AsyncGenerator[str, None]:
        """Send a request once and read the answer. Yields pieces to pass on at once. Raises ExchangeError."""

    @abstractmethod
    def _concede(self, provider_request: ProviderRequest, failure: ExchangeError) -> bool:
        """Give up a parameter that a provider refused. Returns whether there was one."""

    # -- What they have in common --------------------------------------------------------------------------------------

    @property
    def _client(self) -> Any:
        """A client, whose settings can be inspected."""
        return self._clients.of(self._blocking)

    def _cost(
        self, model: str, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0, written_tokens: int = 0
    ) -> float | None:
        return prices.cost(
            model,
            prompt_tokens,
            completion_tokens,
            cached_tokens=cached_tokens,
            written_tokens=written_tokens,
            provider=self._provider,
            url=str(self._client.base_url),
        )

    async def _whole(self, request: Request, runner: Waiter) -> Reply:
        """Ask, make concessions, and ask again, all within the deadline. The answer comes whole."""
        exchange = Exchange(self._name, request.seconds, self._retries, runner)
        sent: list[ProviderRequest] = []
        ask = functools.partial(self._once, request, exchange, sent)
        with _Charged(request, exchange):
            async with exchange.deadline():
                while True:
                    try:
                        return await exchange.whole(ask)
                    except ExchangeError as failure:
                        self._give_in(sent, failure)

    async def _pieces(self, request: Request, runner: Waiter) -> AsyncGenerator[str | Reply, None]:
        """Do the same for an answer that comes in pieces; yield them, then the reply."""
        exchange = Exchange(self._name, request.seconds, self._retries, runner)
        sent: list[ProviderRequest] = []
        send = functools.partial(self._once_in_pieces, request, exchange, sent)
        with _Charged(request, exchange):
            async with exchange.deadline():
                while True:
                    try:
                        async with contextlib.aclosing(exchange.send(send)) as items:
                            async for item in items:
                                yield item
                        return
                    except ExchangeError as failure:
                        self._give_in(sent, failure)

    async def _once(self, request: Request, exchange: Exchange, sent: list[ProviderRequest]) -> Reply:
        """Ask once."""
        with await self._begun(request, exchange, sent) as one_try:
            await self._receive(sent[-1], one_try.reading)
            await one_try.end()
        return one_try.reply()

    async def _once_in_pieces(
        self, request: Request, exchange: Exchange, sent: list[ProviderRequest]
    ) -> AsyncGenerator[str | Reply, None]:
        with await self._begun(request, exchange, sent) as one_try:
            async with contextlib.aclosing(self._receive_pieces(sent[-1], one_try.reading)) as pieces:
                async for piece in pieces:
                    yield piece
            if piece := await one_try.end():
                yield piece
        yield one_try.reply()

    async def _begun(self, request: Request, exchange: Exchange, sent: list[ProviderRequest]) -> _Try:
        """Begin a try: add the request to those `sent`."""
        compiled = request.compiled  # a schema that is new is translated
        is_large = compiled is not None and (compiled.is_large or compiled not in self._sent)
        provider_request = await done(
            exchange.runner,
            LARGE if is_large else chat_messages.size(request.messages, LARGE),
            lambda: self._provider_request(request, exchange),
        )
        sent.append(provider_request)
        return _Try(ReplyReader(self, provider_request), exchange)

    def _provider_request(self, request: Request, exchange: Exchange) -> ProviderRequest:
        mode, sent = "prompt", None
        messages = chat_messages.copied(request.messages)
        if request.compiled is not None:
            mode, sent = self._carried(request.compiled)
            if mode == "prompt":
                told = chat_messages.with_format if request.compiled.is_format else chat_messages.with_schema
                messages = told(messages, request.compiled.contents)
        max_tokens = request.max_tokens + request.thinking
        prompt = chat_messages.most_tokens(messages, sent.size if sent else 0)
        if request.total_tokens is not None:
            left = request.total_tokens - sum(lost.prompt_tokens + lost.completion_tokens for lost in exchange.lost)
            if left <= prompt:
                raise BudgetExceeded(
                    f"{self._name} would be sent about {prompt} tokens of the {max(left, 0)} that are left"
                )
            max_tokens = min(max_tokens, left - prompt)
        if request.usd is not None:
            max_tokens = self._affordable(prompt, max_tokens, request.usd, exchange)
        return ProviderRequest(
            request=request,
            mode=mode,
            sent=sent,
            messages=messages,
            runner=exchange.runner,
            timeout=exchange.timeout(self._timeout),
            max_tokens=max_tokens,
            body=self._body(request, mode, sent),
        )

    def _affordable(self, prompt: int, most: int, usd: float, exchange: Exchange) -> int:
        """Return how many tokens of thinking and answer are paid for after earlier tries; BudgetExceeded for none."""
        costs = [lost.cost for lost in exchange.lost]
        left = usd - sum(cost for cost in costs if cost is not None)
        pays_for = None if None in costs else adapters.affordable(self, prompt, most, left)
        if pays_for is None:
            raise BudgetExceeded(f"no price of {self._name} is known, so it can't be asked under a budget of money")
        if pays_for < 1:
            raise BudgetExceeded(
                f"about {prompt} tokens sent to {self._name} may cost more than the {left:.6f} usd left"
            )
        return pays_for

    def _carried(self, compiled: Any) -> tuple[str, provider_schema.Sent | None]:
        """Return the strongest mode that can carry a schema, and the schema in that mode's form."""
        left = (mode for mode in MODES if f"{compiled.hash} {mode}" not in self._refused)
        first = self._mode or next(left, MODES[-1])
        for mode in MODES[MODES.index(first) :]:
            known = self._sent.setdefault(compiled, {})
            if mode not in known:
                known[mode] = self._send_as(compiled, mode)
            sent = known[mode]
            if not isinstance(sent, str):
                return mode, sent
            if self._mode is not None:
                raise ModelError(f"mode={mode!r} can't carry the schema to {self._name}: {sent}; leave the mode out")
        raise AssertionError("words carry every schema")

    def _send_as(self, compiled: Any, mode: str) -> provider_schema.Sent | str | None:
        """Return a schema in a mode's form, or the reason why the mode can't carry it."""
        if compiled.is_format and mode != "prompt":
            return "its answers are no JSON"
        try:
            if mode == "native":
                enforced = compiled.options.formats
                return provider_schema.strict(compiled.contents, self.dialect, formats=enforced, draft=compiled.dialect)
            return provider_schema.loose(compiled.contents) if mode == "tool" else None
        except provider_schema.DialectError as reason:
            return str(reason)

    def _sent_body(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a request without those given up."""
        whole = {**fields, **self._extra}
        return {key: value for key, value in whole.items() if key in self._wished or key not in self._conceded}

    def _may_concede(self, field: str, failure: ExchangeError) -> bool:
        """Whether a refusal is about a parameter that Guard has added by itself."""
        if failure.param:
            return failure.param == field and field not in self._wished
        return field in failure.words.lower() and field not in self._wished

    def _give_in(self, sent: list[ProviderRequest], failure: ExchangeError) -> None:
        """Make a concession to the refusal of the request sent last; where there is none, raise the failure."""
        if not (failure.is_refused_request and self._gives_in(sent[-1], failure)):
            raise failure.told() from failure

    def _gives_in(self, provider_request: ProviderRequest, failure: ExchangeError) -> bool:
        """Concede a refusal: give up the named parameter, else the mode. Returns False where nothing is left."""
        if self._concede(provider_request, failure):
            return True
        compiled = provider_request.request.compiled
        if compiled is None or self._mode is not None or provider_request.mode == MODES[-1]:
            return False
        if not _SCHEMA.search(failure.words) or self._is_callers(failure):
            return False
        self._refused.add(f"{compiled.hash} {provider_request.mode}")
        _log.info("%s refuses a schema in mode %s: %s", self._name, provider_request.mode, failure.words)
        return True

    def _is_callers(self, failure: ExchangeError) -> bool:
        """Whether a refusal is about a parameter that the caller asked for, rather than the schema."""
        if failure.param:
            return re.split(r"[.\[]", failure.param)[0] in self._wished
        return any(_names(failure.words, name) for name in self._wished)


class _Charged:
    """Tells a request what its failed tries used, where it ends without an answer: by an error, or closed."""

    def __init__(self, request: Request, exchange: Exchange) -> None:
        self._request, self._exchange = request, exchange

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        lost = self._exchange.lost
        if kind is not None and lost:
            self._request.cut(self._exchange.settled(lost.pop()))


class _Try:
    """One try of a request. Where it fails, the part of the answer that came is kept: it was paid for."""

    def __init__(self, reading: ReplyReader, exchange: Exchange) -> None:
        self.reading, self._exchange = reading, exchange
        self._started = time.perf_counter()

    async def end(self) -> str:
        """Note that the answer has ended; return the rest of the text to pass on. Raises ExchangeError."""
        if self.reading.finish is None:
            raise broken_off(self._exchange.name)
        return await done(self._exchange.runner, self.reading.size, self.reading.end)

    def reply(self) -> Reply:
        """Return the reply, plus the use of earlier tries. `end` must have been called."""
        return self._exchange.settled(self.reading.reply(self._exchange, time.perf_counter() - self._started))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None and _is_counted(error):
            seconds = time.perf_counter() - self._started
            self._exchange.lost.append(self.reading.reply(self._exchange, seconds, is_cut=True))


def _is_counted(error: BaseException) -> bool:
    """Whether a try that ended by this error may have been charged: whether its request was sent, and not refused."""
    if isinstance(error, CallError):  # of the request itself; one about an answer comes in an ExchangeError
        return False
    return error.is_counted if isinstance(error, ExchangeError) else was_sent(error)


def _tokens(sent: provider_schema.Sent) -> int:
    """Return an estimate of a schema's tokens."""
    return -(-sent.size // BYTES_A_TOKEN)


def _is_read(text: str) -> bool:
    """Whether a text is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_json(request: Request) -> bool:
    return request.compiled is not None and not request.compiled.is_format


def _names(words: str, field: str) -> bool:
    """Whether an error names a field. An ordinary word, such as `user`, must be in quotes or before a colon."""
    name = re.escape(field)
    return re.search(rf"\b{name}\b" if "_" in field else rf"(['\"`]){name}\1|\b{name}:", words) is not None


class ReplyReader:
    """Collects an answer: the pieces to pass on at once, and the reply at the end."""

    def __init__(self, model: Remote, provider_request: ProviderRequest) -> None:
        self.model = ""  # as the provider names it
        self.finish: str | None = None
        self.refusal = ""
        self.thought = ""
        self._untold = ""  # of the thought
        self.usage: dict[str, int] = {}  # "prompt", "completion", "thinking", "cached", "cache_creation"
        self._provider_request, self._model = provider_request, model
        self._thinking = Thoughts(is_value=_is_json(provider_request.request))
        self._parts: list[str] = []  # of the answer
        self._beside: list[str] = []  # text beside a call of a tool
        self._calls: dict[object, None] = {}
        # An answer in another form than the caller's schema is passed on at the end, unless it is only wrapped.
        sent = provider_request.sent
        self._unwrapping = provider_schema.Unwrapping() if sent is not None and sent.is_wrapper else None
        self._is_held = sent is not None and not sent.is_identity and not sent.is_wrapper

    @property
    def size(self) -> int:
        """How much work the end is, in characters that are only read: what was held takes several times as long."""
        is_read = self._unwrapping is not None and self._unwrapping.is_open
        return sum(map(len, self._parts)) * (UNDONE if self._is_held else is_read)

    def think(self, piece: str) -> None:
        """Add a piece of thinking."""
        self.thought += piece
        self._untold += piece

    def pieces(self, text: str) -> Iterator[str]:
        """Add a part of an answer; yield the pieces to pass on."""
        thought, self._untold = self._untold, ""
        if thought and self._model._thinks_aloud:
            yield Thought(thought)
        if text:
            yield text

    def stopped(self, finish: str) -> None:
        """Note why the answer ended. The first reason other than "stop" stays: no later one makes the answer whole."""
        if self.finish in (None, "stop"):
            self.finish = finish

    def text(self, piece: str) -> str:
        """Add a piece of text; return the text to pass on."""
        known = len(self._thinking.thought)
        answer = self._thinking.feed(piece)
        self._untold += self._thinking.thought[known:]
        if self._provider_request.mode == "tool":
            self._beside.append(answer)
            return ""
        return self._add(answer)

    def call(self, index: object, piece: str) -> str:
        """Add a piece of a call's arguments; return the text to pass on."""
        shape(index is None or isinstance(index, int | str), self._model.name, "a call's index")
        if self._provider_request.mode != "tool":
            return ""
        if index not in self._calls and self._calls:
            piece = "\n" + piece  # two calls are two values, which validation will refuse
        self._calls[index] = None
        return self._add(piece)

    def end(self) -> str:
        """Return the rest of the text to pass on."""
        rest = self._thinking.end()
        if self._provider_request.mode == "tool":
            rest = "" if self._calls else "".join(self._beside) + rest
        rest = self._add(rest)
        if self._unwrapping is not None:
            self._parts.append(self._unwrapping.end())
            if self._unwrapping.is_open and self.finish == "stop" and _is_read("".join(self._parts)):
                self.finish = "length"  # a number without its last digits is one, too
            return rest + self._parts[-1]
        return self._whole() if self._is_held else rest

    def reply(self, exchange: Exchange, seconds: float, *, is_cut: bool = False) -> Reply:
        """Return the reply. `end` must be called first, unless the answer is cut off."""
        assert is_cut or self.finish is not None, "an answer without an end is no answer"
        provider_request, text = self._provider_request, "".join(self._parts)
        thought = "\n".join(part for part in (self.thought, self._thinking.thought) if part)
        finish = "refusal" if self.refusal and self.finish != "filter" else self.finish
        text = self.refusal if finish == "refusal" and not text else text
        if (prompt := self.usage.get("prompt", -1)) < 0:
            prompt = provider_request.prompt_size
        written = estimated_tokens(text + thought)
        completion = self.usage.get("completion", written)
        is_counted = self.usage.keys() >= {"prompt", "completion"}
        if self.finish is None:  # some providers report counts during the answer, without its last part
            completion, is_counted = max(completion, written), False
        model = self.model or self._model.model
        cost = self._cost(model, prompt, completion)
        if cost is None and model != self._model.model:  # a name of the server's own: the asked one may have a price
            cost = self._cost(self._model.model, prompt, completion)
            is_counted = is_counted and cost is None
        return Reply(
            text=text,
            finish="cut" if is_cut or finish is None else finish,
            model=model,
            prompt_tokens=prompt,
            completion_tokens=completion,
            seconds=seconds,
            thinking_tokens=min(completion, self.usage.get("thinking", estimated_tokens(thought))),
            thinking=thought,
            cached_tokens=self.usage.get("cached"),
            cache_creation_tokens=self.usage.get("cache_creation"),
            retries=exchange.retries,
            mode=provider_request.mode,
            cost=cost,
            is_estimate=not is_counted,
        )

    def used(self, **figures: Any) -> None:
        """Add the provider's report of use."""
        for key, value in figures.items():
            if (number := count(value, -1)) >= 0:
                self.usage[key] = number

    def _cost(self, model: str, prompt: int, completion: int) -> float | None:
        used = self.usage
        return self._model._cost(model, prompt, completion, used.get("cached", 0), used.get("cache_creation", 0))

    def _add(self, piece: str) -> str:
        piece = self._unwrapping.feed(piece) if self._unwrapping else piece
        self._parts.append(piece)
        return "" if self._is_held else piece

    def _whole(self) -> str:
        if not self._is_held or self._provider_request.sent is None:
            return ""
        self._parts = [self._provider_request.sent.text("".join(self._parts))]
        return self._parts[0]


def shape(is_right: bool, name: str, what: str) -> None:
    """Raise BadReply, inside of the block, where a message does not have the protocol's structure."""
    if not is_right:
        raise BadReply(f"{name} did not answer by the protocol: {what}")
