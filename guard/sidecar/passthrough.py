"""What needs no schema work: sent to the tier's upstream as it came, and back as it came once it was checked.

A request goes through byte for byte, but for the model's name. An answer is read before it is handed on: a body that is
not JSON, or breaks off, is a failure, and failures are asked again and then of the next tier, until the first byte of
the answer is out. Every call is on record before the end of its answer is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, Self, TypeVar

from guard.errors import CallError, ContentFiltered
from guard.models.base import Reply, Request
from guard.models.chat_messages import estimated_tokens
from guard.models.remote import prices, usage
from guard.models.remote.errors import ExchangeError
from guard.sidecar import large
from guard.sidecar.endpoints.chat import Choice
from guard.sidecar.event_stream import EventSender
from guard.sidecar.request_context import RequestContext, answer
from guard.sidecar.served_models import Served, Tier
from guard.sidecar.upstream import events_of
from guard.support.frames import let_go
from guard.support.json_pieces import encoded
from guard.trace.record_queue import Journal
from guard.trace.records import VALID, Attempt, Call
from guard.trace.waits import WAIT_S

T = TypeVar("T")
Keep = Callable[[Mapping[str, Any]], Awaitable[None]]  #: Keeps a whole answer for later requests.

_ENDED = ("response.completed", "response.incomplete")  #: Events that hold a whole answer.


class Endpoint(Protocol):
    """One of the protocol's ways to ask for text, as far as it goes through."""

    path: str  # below the upstream's address

    def messages(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """Return what is asked, as the record has it."""
        ...

    def answer(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the text in a whole answer, and how it ended; raises BadReply where it is none."""
        ...

    def piece(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the text in an event, and how the answer ended; raises BadReply where it is none."""
        ...

    def request(self, body: Mapping[str, Any], served: Served, seconds: float) -> Request:
        """Return the request to a model that has no upstream; ApiError where it can't be asked so."""
        ...

    def whole(self, context: RequestContext, body: Mapping[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the answer of such a model."""
        ...

    def events(self, context: RequestContext, body: Mapping[str, Any]) -> Any:
        """Return what writes the events of such an answer: guard/sidecar/event_stream.py."""
        ...


class Relay:
    """Hands requests to upstreams and answers back."""

    def __init__(self, journal: Journal, settle: Callable[[RequestContext], Awaitable[None]]) -> None:
        self._journal, self._settle = journal, settle

    async def whole(
        self,
        context: RequestContext,
        endpoint: Endpoint,
        served: Served,
        body: dict[str, Any],
        raw: bytes | None,
        send: Any,
        keep: Keep | None = None,
    ) -> None:
        """Answer with one body; `raw` is the request as it came, None where it was changed.

        `keep` is handed the answer before it is sent.
        """
        number = body.get("n") or 1
        upstreams = [tier.at(endpoint.path) for tier in served.tiers]
        if number > 1 and any(upstream is None or upstream.is_translated for upstream in upstreams):
            for tier, upstream in zip(served.tiers, upstreams, strict=True):
                if upstream is None:  # refuses what it can't do, before it is divided
                    endpoint.request(body, tier, tier.settings.total_seconds)
            first = body.get("seed") or 0
            # One choice each, whichever tier answers: an upstream would be paid for all of them by each.
            bodies = [{**body, "n": 1, "seed": first + choice} for choice in range(number)]
            runs = [_PassthroughRun(context, endpoint, served, one, self._journal) for one in bodies]
            await every(self._answered(run, None) for run in runs)
            data = b""
        else:
            runs = [_PassthroughRun(context, endpoint, served, body, self._journal)]
            await self._answered(runs[0], raw)
            data = runs[0].data
        await self._settle(context)
        replies = [run.reply for run in runs if run.reply is not None]
        whole = None if data else endpoint.whole(context, body, replies)
        if keep is not None:
            await keep(whole or runs[0].said)
        await answer(send, context, 200, data or encoded(whole))

    async def _answered(self, run: _PassthroughRun, raw: bytes | None) -> None:
        """Have one answer, and put it on record; `raw` is the body as it came, where it is sent on as it is."""
        endpoint, body = run.endpoint, run.body
        async with run:
            for tier in run.tiers():
                if tier.at(endpoint.path) is None:
                    request = dataclasses.replace(endpoint.request(body, tier, run.left()), told=run.cut.append)
                    with run.attempt():
                        run.reply = await Tier(tier).agenerate(request)
                else:
                    with run.attempt():
                        async with tier.turn(run.left()):
                            run.data, run.said = await run.post(tier, await _payload(run, tier, raw))
                            run.take(run.said, endpoint.answer(run.said))
        await run.commit()

    async def stream(
        self,
        context: RequestContext,
        endpoint: Endpoint,
        served: Served,
        body: dict[str, Any],
        raw: bytes | None,
        send: Any,
        keep: Keep | None = None,
    ) -> None:
        """Answer with events, each as it comes; the arguments are those of `whole`."""
        context.guarantee = "live"
        run = _PassthroughRun(context, endpoint, served, body, self._journal)
        line = EventSender(context, send)
        async with line.ending():
            async with run:
                for tier in run.tiers():
                    with run.attempt():
                        if tier.at(endpoint.path) is None:
                            await self._model_stream(run, line, tier)
                        else:
                            await self._upstream_stream(run, line, tier, raw, keep)
            await run.commit()
            await self._settle(context)
            if run.events is not None and run.reply is not None:  # what it used is known now
                last = list(run.events.end(Choice("", run.reply)))
                if keep is not None:
                    await keep(run.events.whole)
                for event in last:
                    await line.send(event)

    async def _upstream_stream(
        self, run: _PassthroughRun, line: EventSender, tier: Served, raw: bytes | None, keep: Keep | None
    ) -> None:
        assert tier.upstream is not None
        first = tier.settings.first_token_seconds
        asks = bool((run.body.get("stream_options") or {}).get("include_usage"))
        while True:
            more = {} if asks or run.endpoint.path == "/responses" or not tier.upstream.tells_usage else _USAGE
            payload = await _payload(run, tier, raw, more)
            exchange = tier.exchange(run.left())
            receive = functools.partial(events_of, tier.upstream, tier.name, run.endpoint.path, payload, first)
            try:
                async with tier.turn(run.left(), is_streamed=True):
                    try:
                        async with contextlib.aclosing(exchange.send(receive)) as events:
                            async for event, said in events:
                                if said is None:
                                    continue  # [DONE] is sent once the record is committed
                                run.take(said, run.endpoint.piece(said), exchange.retries)
                                if keep is not None and said.get("type") in _ENDED:
                                    await keep(said.get("response") or {})
                                if not (more and said.get("choices") == []):  # usage that the client did not ask for
                                    await line.send(event)
                    except ExchangeError as failure:
                        raise failure.told() from failure
                return
            except CallError as error:
                cause = error.__cause__
                is_refused = isinstance(cause, ExchangeError) and cause.is_refused_request
                if not (more and is_refused and "stream_options" in str(cause) and not line.is_open):
                    raise
                tier.upstream.tells_usage = False

    async def _model_stream(self, run: _PassthroughRun, line: EventSender, tier: Served) -> None:
        events = run.endpoint.events(run.context, run.body)
        request = dataclasses.replace(run.endpoint.request(run.body, tier, run.left()), told=run.cut.append)
        async with contextlib.aclosing(Tier(tier).astream(request)) as parts:
            async for part in parts:
                if isinstance(part, Reply):
                    run.reply = part
                elif part:
                    for event in events.text(part):
                        await line.send(event)
        assert run.reply is not None
        run.events = events


async def every(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all, to the end of the last, and return what came of each; raises the first failure there was."""
    found: list[T] = []
    for each in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(each, BaseException):
            raise each
        found.append(each)
    return found


class _PassthroughRun:
    """One request on its way through the tiers; entered, it puts a call that fails on record. `commit` does the rest.

    No generator of asyncio's is used where a plain one will do: each costs a plain request some hundredths of its time.
    """

    def __init__(
        self, context: RequestContext, endpoint: Endpoint, served: Served, body: dict[str, Any], journal: Journal
    ) -> None:
        self.context, self.endpoint, self.body = context, endpoint, body
        self.data = b""
        self.said: dict[str, Any] = {}  # by that
        self.reply: Reply | None = None
        self.cut: list[Reply] = []  # what there was of answers that ended midway
        self.events: Any = None  # what writes the last ones, once the record is committed
        self._served, self._journal = served, journal
        self._attempts: list[Attempt] = []
        self._tier = 0
        self._texts: list[str] = []
        self._finish: str | None = None
        self._usage: Mapping[str, Any] = {}
        self._model = ""
        self._retries = 0
        self._end = time.perf_counter() + context.begin(served.settings.total_seconds)

    def left(self) -> float:
        """Seconds that are left."""
        return max(0.001, self._end - time.perf_counter())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, CallError):
            number = await self._write(type(error).__name__, error.message)
            raise error.recorded((), self._attempts, number) from error.__cause__
        if error is not None:
            call = self._call(type(error).__name__, "")
            self.context.take(call)
            self._journal.begin(call, None, WAIT_S)  # the client is gone: nobody waits

    def tiers(self) -> Iterator[Served]:
        """Yield the tiers until one has answered, or none is left."""
        for number, tier in enumerate(self._served.tiers):
            self._tier = number
            yield tier
            if not self._attempts[-1].error:
                return

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Keep one tier's answer, or failure, as an attempt; a failure goes to the next tier, where that may help."""
        tier = self._served.tiers[self._tier]
        started, clock = time.time(), time.perf_counter()
        self._texts, self._finish, self._usage, self._retries, self.cut[:] = [], None, {}, 0, []
        words = reason = ""
        try:
            yield
        except CallError as failed:
            words, reason = failed.message, "error"
            if self._tier == len(self._served.tiers) - 1 or self.context.sent or not _may_escalate(failed):
                raise
            let_go(failed)
        except BaseException as failed:
            words, reason = getattr(failed, "message", type(failed).__name__), "interrupted"
            raise
        finally:
            reply = self.reply
            if reply is None and (not reason or self._texts):  # of a stream that broke off, what there was
                reply = self._read(tier, time.perf_counter() - clock)
            if reason and reply is None and self.cut:
                reply = self.cut[-1]
            self.reply = None if reason else reply
            self._attempts.append(
                Attempt(
                    len(self._attempts) + 1, self.endpoint.messages(self.body), reply, error=words, tier=self._tier,
                    model=tier.settings.model, reason=reason, started=started, seconds=time.perf_counter() - clock,
                )
            )  # fmt: skip

    async def commit(self) -> None:
        """Put the call on record."""
        await self._write(VALID, "")

    async def post(self, tier: Served, payload: bytes) -> tuple[bytes, dict[str, Any]]:
        """Return an upstream's answer, asked for again where that may help."""
        upstream = tier.upstream
        assert upstream is not None
        exchange = tier.exchange(self.left())
        try:
            return await exchange.whole(lambda: upstream.post(self.endpoint.path, payload))
        except ExchangeError as failure:
            raise failure.told() from failure
        finally:
            self._retries = exchange.retries

    def take(self, said: Mapping[str, Any], read: tuple[str, str | None], retries: int | None = None) -> None:
        """Take what an answer or an event says, and what the way of asking reads in it."""
        text, finish = read
        if text:
            self._texts.append(text)
        self._finish = finish or self._finish
        if isinstance(used := said.get("usage"), Mapping):
            self._usage = used
        if isinstance(model := said.get("model"), str):
            self._model = model
        self._retries = self._retries if retries is None else retries

    async def _write(self, outcome: str, error: str) -> int:
        call = self._call(outcome, error)
        self.context.take(call)
        self.context.call = await self._journal.written(call, None, self.context.patience)
        return self.context.call

    def _call(self, outcome: str, error: str) -> Call:
        names = [tier.settings.model for tier in self._served.tiers]
        return Call(
            function=self.context.path,
            target="text",
            schema_hash="",
            template="",
            model=names[0],
            options={"tiers": names, "mode": "live", "request": self.context.id},
            started=self.context.began,
            seconds=self.context.seconds,
            outcome=outcome,
            error=error,
            attempts=tuple(self._attempts),
        )

    def _read(self, tier: Served, seconds: float) -> Reply:
        """Return what came from an upstream as the record has it."""
        text, used, model = "".join(self._texts), usage.told(self._usage), self._model or tier.settings.model
        is_estimate = not used.keys() >= {"prompt", "completion"}
        if "prompt" not in used:
            used["prompt"] = sum(estimated_tokens(str(m.get("content", ""))) for m in self.endpoint.messages(self.body))
        asked, given = used["prompt"], used.get("completion", estimated_tokens(text))
        url = tier.upstream.url if tier.upstream else None
        return Reply(
            text=text,
            finish=self._finish or "length",
            model=model,
            prompt_tokens=asked,
            completion_tokens=given,
            seconds=seconds,
            cached_tokens=used.get("cached"),
            cache_creation_tokens=used.get("cache_creation"),
            retries=self._retries,
            cost=prices.cost(model, asked, given, cached_tokens=used.get("cached", 0), url=url),
            is_estimate=is_estimate,
        )


_USAGE = {"stream_options": {"include_usage": True}}


async def _payload(
    run: _PassthroughRun, tier: Served, raw: bytes | None, more: Mapping[str, Any] = MappingProxyType({})
) -> bytes:
    if raw is not None and not more and run.body.get("model") == tier.upstream_model:
        return raw
    changed = {**run.body, "model": tier.upstream_model, **more}
    return await large.done(run.context.size, encoded, changed)


def _may_escalate(error: CallError) -> bool:
    """Whether another model might do what this one failed at."""
    cause = error.__cause__
    is_refused = isinstance(cause, ExchangeError) and cause.is_refused_request
    return not is_refused and not isinstance(error, ContentFiltered)
