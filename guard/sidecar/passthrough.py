"""Pass-through: requests without schema work go to the tier's upstream unchanged, and its answers back, checked.

A request goes through byte for byte, except for the model's name. An answer is parsed before it is passed on: a body
that is not JSON, or breaks off, is a failure. A failure is retried, and then goes to the next tier, as long as no byte
of the answer is out. Every call is on record before the end of its answer is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, Self, TypeVar

from guard.errors import CallError, ContentFiltered
from guard.models.base import Reply, Request, Thought
from guard.models.chat_messages import BYTES_A_TOKEN, estimated_tokens
from guard.models.remote import prices, usage
from guard.models.remote.errors import ExchangeError
from guard.models.remote.exchange import Exchange
from guard.sidecar import large
from guard.sidecar.endpoints.chat import Choice
from guard.sidecar.endpoints.responses import ended
from guard.sidecar.event_stream import EventSender, in_time
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

CHOICES_BYTES = 16_000_000  #: Bytes of bodies that the choices of one request hold together.


class Endpoint(Protocol):
    """The interface of an endpoint to pass-through: it reads answers, and asks models without an upstream."""

    path: str  # below the upstream's address
    takes_n: bool  # whether a request may want several answers, by a number `n` that was checked

    def messages(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """Return the messages of the request, for the record."""
        ...

    def answer(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the text of a whole answer, and how it ended. Raises BadReply where it is malformed."""
        ...

    def piece(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the text of an event, and how the answer ended. Raises BadReply where it is malformed."""
        ...

    def written(self, said: Mapping[str, Any]) -> int:
        """Return the bytes of everything that a whole answer or an event says, however malformed it is."""
        ...

    def request(self, body: Mapping[str, Any], served: Served, seconds: float) -> Request:
        """Return the request to a model without an upstream. Raises ApiError where such a model can't be asked."""
        ...

    def whole(self, context: RequestContext, body: Mapping[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the answer of such a model."""
        ...

    def events(self, context: RequestContext, body: Mapping[str, Any]) -> Any:
        """Return the writer of such an answer's events, for guard/sidecar/event_stream.py."""
        ...


@dataclasses.dataclass(slots=True)
class Passage:
    """One request: its model, its body, and where the answer goes."""

    context: RequestContext
    endpoint: Endpoint
    served: Served
    body: dict[str, Any]
    raw: bytes | None  # the request's bytes; None where it was changed
    send: Any
    keep: Keep | None = None  # is given the whole answer before its end is sent


class Relay:
    """Passes requests on to upstreams, and their answers back."""

    def __init__(self, journal: Journal, settle: Callable[[RequestContext], Awaitable[None]]) -> None:
        self._journal, self._settle = journal, settle

    async def whole(self, asked: Passage) -> None:
        """Answer with one body."""
        context, endpoint, served, body = asked.context, asked.endpoint, asked.served, asked.body
        number = (body.get("n") or 1) if endpoint.takes_n else 1
        upstreams = [tier.at(endpoint.path) for tier in served.tiers]
        if number > 1 and any(upstream is None or upstream.is_translated for upstream in upstreams):
            for tier, upstream in zip(served.tiers, upstreams, strict=True):
                if upstream is None:  # refuses what it can't do, before it is divided
                    endpoint.request(body, tier, tier.settings.total_seconds)
            first = body.get("seed") or 0
            # Each tier is asked for one choice at a time: else every failed tier would be paid for all of them.
            bodies = [{**body, "n": 1, "seed": first + choice} for choice in range(number)]
            each = [dataclasses.replace(asked, body=one, raw=None) for one in bodies]
            runs = [_PassthroughRun(one, self._journal) for one in each]
            await every((self._answered(run) for run in runs), at_once(context, number))
            data = b""
        else:
            runs = [_PassthroughRun(asked, self._journal)]
            await self._answered(runs[0])
            data = runs[0].data
        await self._settle(context)
        replies = [run.reply for run in runs if run.reply is not None]
        whole = None if data else endpoint.whole(context, body, replies)
        if asked.keep is not None:
            await asked.keep(whole or runs[0].said)
        await answer(asked.send, context, 200, data or await large.aencoded(whole))

    async def _answered(self, run: _PassthroughRun) -> None:
        """Get one answer, and put it on record."""
        endpoint, body = run.endpoint, run.body
        async with run:
            for tier in run.tiers():
                if tier.at(endpoint.path) is None:
                    with run.attempt():
                        request = dataclasses.replace(endpoint.request(body, tier, run.left()), told=run.cut.append)
                        run.reply = await Tier(tier).agenerate(request)
                else:
                    with run.attempt():
                        async with tier.turn(run.left()):
                            run.data, run.said = await run.post(tier, await _payload(run, tier))
        await run.commit()

    async def stream(self, asked: Passage) -> None:
        """Answer with events, each as it comes."""
        asked.context.guarantee = "live"
        run = _PassthroughRun(asked, self._journal)
        line = EventSender(asked.context, asked.send)
        async with line.ending():
            async with run:
                for tier in run.tiers():
                    with run.attempt():
                        if tier.at(asked.endpoint.path) is None:
                            await self._model_stream(run, line, tier)
                        else:
                            await self._upstream_stream(run, line, tier)
            await run.commit()
            await self._settle(asked.context)
            last, whole = run.last, run.whole
            if run.events is not None and run.reply is not None:  # what it used is known now
                last = list(run.events.end(Choice("", run.reply)))
                whole = run.events.whole if asked.keep is not None else None
            if asked.keep is not None and whole is not None:
                await asked.keep(whole)
            for event in last:
                await line.send(event)

    async def _upstream_stream(self, run: _PassthroughRun, line: EventSender, tier: Served) -> None:
        assert tier.upstream is not None
        first = tier.settings.first_token_seconds
        asks = bool((run.body.get("stream_options") or {}).get("include_usage"))
        more = {} if asks or run.endpoint.path == "/responses" or not tier.upstream.tells_usage else _USAGE
        refused = False
        while True:
            payload = await _payload(run, tier, more)
            exchange = run.begin(tier)
            receive = functools.partial(
                run.received, events_of, tier.upstream, tier.name, run.endpoint.path, payload, first
            )
            try:
                async with tier.turn(run.left(), is_streamed=True):
                    try:
                        async with contextlib.aclosing(exchange.send(receive)) as events:
                            async for event, said in events:
                                if said is None:
                                    continue  # [DONE] is sent once the record is committed
                                await large.done(large.walked(event), run.take, said, run.endpoint.piece)
                                run.whole = ended(said) or run.whole
                                if run.whole is not None:  # so is the event that completes a response
                                    run.last.append(event)
                                elif not (more and said.get("choices") == []):  # usage that nobody asked for
                                    await line.send(event)
                    except ExchangeError as failure:
                        raise failure.told() from failure
                if refused:  # and that was why: else one client's faulty request would end it for all
                    tier.upstream.tells_usage = False
                return
            except CallError as error:
                cause = error.__cause__
                is_refused = isinstance(cause, ExchangeError) and cause.is_refused_request
                if not (more and is_refused and "stream_options" in str(cause) and not line.is_open):
                    raise
                more, refused = {}, True

    async def _model_stream(self, run: _PassthroughRun, line: EventSender, tier: Served) -> None:
        run.context.first = tier.own_name
        events = run.endpoint.events(run.context, run.body)
        request = dataclasses.replace(run.endpoint.request(run.body, tier, run.left()), told=run.cut.append)
        with in_time(tier.name):
            async with contextlib.aclosing(Tier(tier).astream(request)) as parts:
                async for part in parts:
                    if isinstance(part, Reply):
                        run.reply = part
                    elif part:
                        for event in events.thought(part) if isinstance(part, Thought) else events.text(part):
                            await line.send(event)
        assert run.reply is not None
        run.events = events


def at_once(context: RequestContext, number: int) -> int:
    """Return how many choices of a request may be under way together: each holds a body of its own, which is counted.

    Raises ApiError where its client, or all clients, would hold too many bytes.
    """
    most = min(number, max(1, CHOICES_BYTES // max(1, context.size)))
    if context.share is not None:
        context.share.take((most - 1) * context.size)
    return most


async def every(work: Iterable[Coroutine[Any, Any, T]], most: int) -> list[T]:
    """Return the results of all, of which so many are under way together.

    Raises the first failure; what is under way then is awaited, since it is paid for. One begins in each turn of the
    loop, and none after a failure: a request may want 128, and holds up no other.
    """
    found, failed = dict[int, T](), dict[int, BaseException]()
    places = asyncio.Semaphore(most)

    async def run(number: int, one: Coroutine[Any, Any, T]) -> None:
        try:
            found[number] = await one
        except BaseException as error:
            failed[number] = error
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            places.release()

    async with asyncio.TaskGroup() as under_way:
        for number, one in enumerate(work):
            try:
                await places.acquire()
            except asyncio.CancelledError:
                one.close()
                raise
            if failed:
                one.close()
                break
            under_way.create_task(run(number, one))
            await asyncio.sleep(0)
            if failed:
                break
    if failed:
        raise failed[min(failed)]
    return [found[number] for number in sorted(found)]


class _PassthroughRun:
    """One request on its way through the tiers. `commit` records a success; as a context manager it records a failure.

    Plain generators are preferred to asynchronous ones, each of which costs some percent of a plain request's time.
    """

    def __init__(self, asked: Passage, journal: Journal) -> None:
        self.asked, self.context, self.endpoint, self.body = asked, asked.context, asked.endpoint, asked.body
        self.data = b""
        self.said: dict[str, Any] = {}  # by that
        self.reply: Reply | None = None
        self.cut: list[Reply] = []  # what there was of answers that ended midway
        self.events: Any = None  # what writes the last ones, once the record is committed
        self.whole: Mapping[str, Any] | None = None  # the response that the last ones complete
        self.last: list[bytes] = []  # those that an upstream has sent
        self._served, self._journal = asked.served, journal
        self._attempts: list[Attempt] = []
        self._tier = 0
        self._exchange: Exchange | None = None  # with this tier, once it is asked
        self._texts: list[str] = []  # of this try, as are the next
        self._written = 0  # bytes
        self._finish: str | None = None
        self._usage: Mapping[str, Any] = {}
        self._model = ""
        self._end = time.perf_counter() + self.context.begin(self._served.settings.total_seconds)

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
        """Yield tier after tier until one has answered."""
        for number, tier in enumerate(self._served.tiers):
            self._tier = number
            yield tier
            if not self._attempts[-1].error:
                return

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Record one tier's answer or failure as an attempt. A failure is swallowed where the next tier may help."""
        tier = self._served.tiers[self._tier]
        started, clock = time.time(), time.perf_counter()
        self._exchange, self.cut[:] = None, []
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
            reply, exchange = self.reply, self._exchange
            if reply is None and exchange is not None and exchange.lost:
                reply = exchange.settled(exchange.lost.pop())  # the tries that were paid for, the last one among them
            elif reply is None and self.cut:
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
        """Return an upstream's answer, with retries where they may help."""
        upstream = tier.upstream
        assert upstream is not None

        async def once() -> tuple[bytes, dict[str, Any]]:
            with self._try():
                data, said = await upstream.post(self.endpoint.path, payload)
                await large.done(large.walked(data), self.take, said, self.endpoint.answer)
            return data, said

        try:
            return await self.begin(tier).whole(once)
        except ExchangeError as failure:
            raise failure.told() from failure

    def begin(self, tier: Served) -> Exchange:
        """Begin to ask a tier's upstream; return the loop of its tries."""
        exchange = tier.exchange(self.left())
        if self._exchange is not None:  # asked again without what it refused
            exchange.lost = self._exchange.lost
        self._exchange = exchange
        return exchange

    async def received(self, receive: Callable[..., AsyncGenerator[T, None]], *asked: Any) -> AsyncGenerator[T, None]:
        """Yield the events of one try."""
        with self._try():
            async with contextlib.aclosing(receive(*asked)) as events:
                async for event in events:
                    yield event

    @contextlib.contextmanager
    def _try(self) -> Iterator[None]:
        """Keep what one try used as `reply`, or among the lost ones where it fails: it was paid for once it was sent.

        A try that is given up counts too, be it before a byte came: nobody knows how far the provider was.
        """
        exchange, tier = self._exchange, self._served.tiers[self._tier]
        assert exchange is not None
        self._texts, self._written, self._finish, self._usage, self._model = [], 0, None, {}, ""
        self.whole, self.last = None, []
        clock = time.perf_counter()
        try:
            yield
        except BaseException as error:
            if not isinstance(error, ExchangeError) or error.is_counted:
                exchange.lost.append(self._read(tier, time.perf_counter() - clock, is_cut=True))
            raise
        self.reply = exchange.settled(self._read(tier, time.perf_counter() - clock, is_cut=False))

    def take(self, said: Mapping[str, Any], read: Callable[[Mapping[str, Any]], tuple[str, str | None]]) -> None:
        """Collect an answer or an event: first what it used, which is paid for even where the rest is malformed."""
        self._written += self.endpoint.written(said)
        whole = ended(said)
        if whole is not None:  # its texts came in pieces, as a rule
            self._written = max(self._written, self.endpoint.written(whole))
        told = said if whole is None else whole
        if isinstance(used := told.get("usage"), Mapping):
            self._usage = used
        if isinstance(model := told.get("model"), str):
            self._model = model
        text, finish = read(said)
        if text:
            self._texts.append(text)
        self._finish = finish or self._finish

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
            record_for=self.context.record_for,
        )

    def _read(self, tier: Served, seconds: float, *, is_cut: bool) -> Reply:
        """Return the reply of one try of an upstream. What it does not tell is estimated."""
        assert tier.upstream is not None
        assert self._exchange is not None
        used, model = usage.told(self._usage), self._model or tier.upstream_model
        is_estimate = not used.keys() >= {"prompt", "completion"}
        if "prompt" not in used:
            used["prompt"] = self._prompt_size()
        written = -(-self._written // BYTES_A_TOKEN)
        if "completion" not in used:
            used["completion"] = written
        elif is_cut or self._finish is None:  # some servers report use as they write, without the rest
            used["completion"], is_estimate = max(used["completion"], written), True
        asked, given = used["prompt"], used["completion"]
        price = functools.partial(
            prices.cost,
            prompt_tokens=asked,
            completion_tokens=given,
            cached_tokens=used.get("cached", 0),
            written_tokens=used.get("cache_creation", 0),
            url=tier.upstream.url,
        )
        costs = map(price, dict.fromkeys((model, tier.upstream_model)))  # it may answer under a name without a price
        return Reply(
            text="".join(self._texts),
            finish=self._finish or ("cut" if is_cut else "length"),
            model=model,
            prompt_tokens=asked,
            completion_tokens=given,
            seconds=seconds,
            cached_tokens=used.get("cached"),
            cache_creation_tokens=used.get("cache_creation"),
            retries=self._exchange.retries,
            cost=next((cost for cost in costs if cost is not None), None),
            is_estimate=is_estimate,
        )

    def _prompt_size(self) -> int:
        """Return an estimate of the tokens of everything that was asked: calls and tools beside the texts."""
        messages = self.endpoint.messages(self.body)
        parts = [part for message in messages for name, part in message.items() if part and name not in _LABELS]
        parts += [part for name in _BESIDE if (part := self.body.get(name))]
        return sum(estimated_tokens(str(part)) for part in parts)


_LABELS = frozenset({"role", "type", "id", "status"})  #: Fields of a message that are no part of what it says.
_BESIDE = ("instructions", "tools", "functions", "suffix")  #: Fields of a request that are asked beside its messages.
_USAGE = {"stream_options": {"include_usage": True}}


async def _payload(run: _PassthroughRun, tier: Served, more: Mapping[str, Any] = MappingProxyType({})) -> bytes:
    raw = run.asked.raw
    if raw is not None and not more and run.body.get("model") == tier.upstream_model:
        return raw
    changed = {**run.body, "model": tier.upstream_model, **more}
    return await large.done(run.context.size, encoded, changed)


def _may_escalate(error: CallError) -> bool:
    """Whether another model might do what this one failed at."""
    cause = error.__cause__
    is_refused = isinstance(cause, ExchangeError) and cause.is_refused_request
    return not is_refused and not isinstance(error, ContentFiltered)
