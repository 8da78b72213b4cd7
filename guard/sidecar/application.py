"""The sidecar as an ASGI application: its state, its middleware in order, its routes, and its lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from starlette.exceptions import HTTPException
from starlette.routing import Route, Router

from guard.models.base import Thought
from guard.models.remote import prices
from guard.sidecar import bodies, cors, keys, large, metrics, params
from guard.sidecar.access_log import AccessLog
from guard.sidecar.admission import Room
from guard.sidecar.bodies import Gone
from guard.sidecar.breaker_hints import BreakerHints
from guard.sidecar.circuit_breaker import SENDER
from guard.sidecar.constraints import check_tools
from guard.sidecar.endpoints import completions, messages, operator, responses, shadow_runs, ui, versions
from guard.sidecar.endpoints.chat import Chat, check_translated
from guard.sidecar.endpoints.chat_request import ChatRequest, checked
from guard.sidecar.endpoints.completions import CompletionBody, Completions, Embedding, Embeddings
from guard.sidecar.endpoints.message_answers import MessageConnection
from guard.sidecar.endpoints.openapi import document
from guard.sidecar.endpoints.responses import Response, Responses
from guard.sidecar.errors import ApiError, bad
from guard.sidecar.event_stream import EventSender, in_time
from guard.sidecar.headers import JSON
from guard.sidecar.key_requirement import Door
from guard.sidecar.keys import Key, Keyring
from guard.sidecar.middleware import Gate, Watched
from guard.sidecar.passthrough import Passage, Relay
from guard.sidecar.rate_limits import Ledger
from guard.sidecar.request_context import RequestContext, answer
from guard.sidecar.response_state import Turns
from guard.sidecar.served_models import Models, Served
from guard.sidecar.settings import ServeSettings
from guard.sidecar.structured import Pipeline
from guard.support import memory
from guard.support.json_pieces import encoded
from guard.trace import TraceError, TraceStore
from guard.trace.record_queue import MOST, CommitQueue
from guard.trace.waits import WAIT_S
from guard.turns.pieces import CallPiece

T = TypeVar("T")

BOOKKEEPERS = 8  #: Threads that read and write the budgets of keys.
READERS = 4  #: Threads that read the trace for operators.
READING_S = 10.0  #: Longest wait for a read of the trace.
FAULTY_S = 0.5  #: The same while the trace is known not to answer.
COLLECTED_S = 600.0  #: Seconds between two collections of all garbage, each of which takes tenths of a second.
LATEST_S = 30.0  #: Longest wait of a collection for a moment without requests.
TIDIED_S = 5.0  #: Seconds after which memory that large work has freed goes back to the system.
EXPIRED_S = 60.0  #: Seconds between two deletions of stored responses that are too old.
YOUNGEST = 10_000  #: Allocations after which Python collects its youngest generation.
NEVER = 2**31 - 1  #: A threshold that is never reached: `_collect` alone collects older generations.
MISSES = 16  #: Requests with an unknown key that may wait for the keys to be read again.
MISSES_EVERY_S = 0.1  #: Seconds between two such readings.
PROBE_S = 2.0  #: Longest wait for the trace before it is said that it can't be written.
PROBE_EVERY_S = 0.1  #: Between two looks at the trace, however often it fails.
GUARANTEES = ("live", "buffered")  #: How a stream may come; x-guard-stream chooses.

_log = logging.getLogger("guard.sidecar")


class Sidecar:
    """All that the requests of one process share. Belongs to one event loop."""

    def __init__(self, settings: ServeSettings, store: TraceStore, door: Door) -> None:
        self.settings, self.store = settings, store
        self.models = Models(settings)
        self.keys = Keyring(store)
        self.ledger = Ledger(store)
        self._charges = CommitQueue(self._charge, "guard-charges", MOST)
        self._hints = BreakerHints(store)
        self.access = AccessLog(settings.access_log)
        self.contexts: dict[int, RequestContext] = {}  # under way
        self.room = Room()
        self.is_draining = False
        self._door = door
        self._books = ThreadPoolExecutor(BOOKKEEPERS, thread_name_prefix="guard-books")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="guard-readers")
        self._fault = "the trace was not looked at yet"  # why nothing can be recorded; "" where it can
        self._is_faulty, self._is_doubted = asyncio.Event(), asyncio.Event()  # whether so, and whether to look at once
        self._is_settled = asyncio.Event()  # whether nothing failed since the last look
        self._is_settled.set()
        self._misses: list[asyncio.Future[None]] = []  # requests that wait for the keys to be read again
        self._is_missed = asyncio.Event()
        self.journal = store.journal
        self.relay = Relay(self.journal, self.settle)
        self.pipeline = Pipeline(store)
        self.turns = Turns(store, self.book, settings.responses_kept, settings.responses_days)
        self._ended: list[Models] = []  # replaced by a reload, and perhaps still at work
        self._shadow_runs = shadow_runs.ShadowRuns(store)
        self.app = self._stack()

    @property
    def needs_key(self) -> bool:
        """Whether a request needs a key."""
        return self._door.needs_key

    @property
    def faults(self) -> list[str]:
        """The reasons why no requests should be sent here; empty where the process is ready."""
        faults = ["draining"] if self.is_draining else [] if self.models.is_loaded else ["loading models"]
        return [*faults, self._fault] if self._fault else faults

    @property
    def least_seconds(self) -> float:
        """The seconds that a request has until its model is known."""
        return min(WAIT_S, *(model.total_seconds for model in self.settings.models.values()))

    async def book(self, work: Callable[..., T], *arguments: Any, seconds: float) -> T:
        """Run work on the trace in a thread. Raises TraceError where it takes longer than so many seconds.

        The threads do nothing else, so a trace that does not answer holds nothing else up.
        """
        job = asyncio.get_running_loop().run_in_executor(
            self._books, functools.partial(work, *arguments, seconds=seconds)
        )
        done, _ = await asyncio.wait([job], timeout=seconds)
        if not done:
            job.cancel()  # only a job that has not begun can be cancelled; another one ends by itself
            raise TraceError(f"the trace did not answer within {seconds:.3g} s")
        return job.result()

    async def read(self, work: Callable[..., T], *arguments: Any) -> T:
        """Read the trace in a thread. Raises TraceError where it does not answer soon.

        A trace that can't be written may still be readable, so a read waits a moment even then. However many wait, they
        take few threads.
        """
        job = asyncio.get_running_loop().run_in_executor(self._readers, work, *arguments)
        faulty = asyncio.ensure_future(self._is_faulty.wait())
        waiting: list[asyncio.Future[Any]] = [job, faulty]
        try:
            await asyncio.wait(waiting, timeout=READING_S, return_when=asyncio.FIRST_COMPLETED)
            if not job.done() and faulty.done():
                await asyncio.wait([job], timeout=FAULTY_S)
        finally:
            faulty.cancel()
            if not job.done():
                job.cancel()
        if job.cancelled() or not job.done():
            raise TraceError(self._fault or f"the trace did not answer within {READING_S:g} s")
        return job.result()

    async def reread_keys(self) -> None:
        """Read the keys again, for a key that is unknown: another process may have made it a moment ago.

        Strangers can't make this costly: few requests wait, for one reading, and all others are told what is known.
        Raises TraceError where the keys can't be read.
        """
        if len(self._misses) >= MISSES:
            return
        read: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._misses.append(read)
        self._is_missed.set()
        done, _ = await asyncio.wait([read], timeout=PROBE_S)
        if not done:
            raise TraceError(f"the keys were not read within {PROBE_S:g} s")
        read.result()

    def doubt(self) -> None:
        """Look at once whether the trace can be written: something could not be."""
        self._is_doubted.set()
        self._is_settled.clear()

    def served(self, name: str) -> Served:
        """Return a model by its public name. Raises ApiError where no such model is served."""
        served = self.models.by_name.get(name)
        if served is None:
            known = ", ".join(self.models.by_name)
            raise ApiError(
                404, f"no model {name[:100]!r} is served; known are {known}", code="model_not_found", param="model"
            )
        return served

    async def settle(self, context: RequestContext) -> None:
        """Charge a request's tokens and dollars to its key. A second call does nothing."""
        key = context.key
        if key is None or context.is_settled or not key.has_budget:
            return
        tokens = context.prompt_tokens + context.completion_tokens
        if not tokens and not context.owed:  # it was refused, or failed before a model was asked
            return
        context.is_settled = True
        self.ledger.owe(key, tokens, context.owed)
        await asyncio.shield(self._charges.begin(key, context.patience))

    def _charge(self, waiting: Sequence[tuple[Key, float]]) -> list[None]:
        self.ledger.charge(max(seconds for _, seconds in waiting))
        return [None] * len(waiting)

    def replace(self, settings: ServeSettings) -> None:
        """Serve by other settings from now on. Blocks; raises ModelError before anything is changed.

        Requests that run keep the models that they have.
        """
        models = Models(settings)
        models.load()
        self._ended.append(self.models)
        self.settings, self.models = settings, models
        self.turns = Turns(self.store, self.book, settings.responses_kept, settings.responses_days)

    def _stack(self) -> Any:
        """Put the middleware in order, the outermost last."""
        app: Any = Router(self._routes(), redirect_slashes=False, default=_nowhere)
        app = Gate(app, self)
        app = Watched(app, self)
        return cors.shared(app, self.settings.origins) if self.settings.origins else app

    def _routes(self) -> list[Route]:
        post, get = ["POST"], ["GET"]
        return [
            Route("/v1/chat/completions", _Endpoint(self, self._chat), methods=post),
            Route("/v1/completions", _Endpoint(self, self._completions), methods=post),
            Route("/v1/embeddings", _Endpoint(self, self._embeddings), methods=post),
            Route("/v1/responses", _Endpoint(self, self._responses), methods=post),
            Route("/v1/responses/{name}", _Page(self._response), methods=["GET", "DELETE"]),
            Route(messages.PATH, _Endpoint(self, self._messages), methods=post),
            Route(messages.COUNT_PATH, _Endpoint(self, self._count_tokens), methods=post),
            Route("/v1/models", _Page(self._models), methods=get),
            Route("/v1/models/{name:path}", _Page(self._model), methods=get),
            Route("/health/live", _Page(_live), methods=get),
            Route("/health/ready", _Page(self._ready), methods=get),
            Route("/metrics", _Page(_metrics), methods=get),
            Route("/openapi.json", _Page(_openapi), methods=get),
            *(Route(path, _Page(ui.file), methods=get) for path in ui.FILES),
            *(
                Route(path, _Page(functools.partial(page, self)), methods=get)
                for path, page in (*operator.PAGES.items(), *versions.PAGES.items())
            ),
            *(Route(path, _Endpoint(self, decide), methods=post) for path, decide in versions.DECISIONS.items()),
            Route(
                "/guard/models/shadow",
                _ByMethod(_Page(self._shadow_runs.state), _Endpoint(self, self._shadow_runs.start)),
                methods=["GET", "POST"],
            ),
            Route("/guard/models/shadow/cancel", _Endpoint(self, self._shadow_runs.cancel), methods=post),
            Route("/guard/feedback", _Endpoint(self, functools.partial(operator.feedback, sidecar=self)), methods=post),
            Route(
                "/guard/playground", _Endpoint(self, functools.partial(operator.playground, sidecar=self)), methods=post
            ),
        ]

    @contextlib.asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Run the lifespan: load models and read keys at the start; commit and close connections at the end."""
        await asyncio.to_thread(self._read_keys)
        await self._probe()
        await asyncio.to_thread(self.models.load)
        await asyncio.to_thread(prices.cost, "none", 1, 1)  # reads the prices once, not at the first request
        # What is there by now stays: no collection looks through it again, which took tenths of a second. For what
        # clients send it takes as long, so that it comes when it is time (_collect), not as often as they send.
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNGEST, NEVER, NEVER)
        tasks = (self._refresh, self._share_hints, self._watch, self._collect, self._tidy, self._expire)
        watching = [asyncio.create_task(task()) for task in tasks]
        try:
            yield
        finally:
            for task in watching:
                task.cancel()
            self._shadow_runs.close()
            await self.journal.close()
            await self._charges.close()
            for models in (self.models, *self._ended):
                await models.close()
            for threads in (self._books, self._readers):
                threads.shutdown(wait=False, cancel_futures=True)
            self.access.flush()

    async def _refresh(self) -> None:
        """Notice keys that were made or revoked, and close models that a reload has replaced."""
        said = ""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_missed.wait(), keys.FRESH - MISSES_EVERY_S)
            self._is_missed.clear()
            waiting, self._misses = self._misses, []
            failure: TraceError | None = None
            try:
                await self.read(self._read_keys)
                said = ""
            except TraceError as error:
                if said != str(error):  # once, not each second
                    _log.error("the keys can't be read, those known before are kept: %s", error)
                failure, said = error, str(error)
            for each in waiting:
                if not each.done():
                    each.set_result(None) if failure is None else each.set_exception(TraceError(failure.outline))
                    each.exception()  # retrieved, even if the client has gone and nobody waits
            await asyncio.sleep(MISSES_EVERY_S)
            if not self.contexts:
                while self._ended:
                    await self._ended.pop().close()

    async def _share_hints(self) -> None:
        """Tell other processes which models fail here, and hear which fail there."""
        while True:
            await asyncio.sleep(keys.FRESH)
            with contextlib.suppress(TraceError):  # without hints, each process finds out for itself
                self.models.hear(await self.read(self._hints.exchange, self.models.opened()))

    async def _watch(self) -> None:
        """Look now and then whether the trace can be written, so that /health/ready, which anyone may ask, is cheap."""
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_doubted.wait(), keys.FRESH - PROBE_EVERY_S)
            self._is_doubted.clear()
            await self._probe()
            if not self._is_doubted.is_set():
                self._is_settled.set()

    async def _collect(self) -> None:
        """Collect all garbage on a timer, but seldom: it takes longer the more is in use, and finds little.

        A request leaves no garbage, however it ends (tests/guard/sidecar/test_garbage.py); the event loop and libraries
        leave some for each connection.
        """
        while True:
            await asyncio.sleep(COLLECTED_S)
            until = time.monotonic() + LATEST_S
            while self.contexts and time.monotonic() < until:  # noqa: ASYNC110 (as seldom as it is)
                await asyncio.sleep(0.02)
            gc.collect()

    async def _tidy(self) -> None:
        """Give memory that large work has freed back to the system."""
        before = 0
        while True:
            await asyncio.sleep(TIDIED_S)
            if before != (before := large.done_so_far()):
                await asyncio.to_thread(memory.give_back)

    async def _expire(self) -> None:
        """Delete stored responses that are too old. They can't be read any more, but must not stay."""
        while True:
            await asyncio.sleep(EXPIRED_S)
            with contextlib.suppress(TraceError):  # the watch says so
                await self.turns.expire()

    async def _probe(self) -> None:
        try:
            await self.book(self.store.probe, seconds=PROBE_S)
        except TraceError as error:
            if not self._fault:
                _log.error("nothing can be recorded, and so nothing is answered: %s", error)
            self._fault = error.outline
            self._is_faulty.set()
        else:
            self._fault = ""
            self._is_faulty.clear()

    def _read_keys(self) -> None:
        self.keys.refresh()
        self._door.look(has_keys=self.keys.is_used)

    # -- Ways to ask ---------------------------------------------------------------------------------------------------

    async def _chat(
        self,
        context: RequestContext,
        fields: Any,
        body: dict[str, Any],
        raw: bytes,
        send: Any,
        endpoint: Chat | None = None,
    ) -> None:
        with params.named(params.FUNCTIONS if body.get("functions") else (), body):
            await self._asked_chat(context, fields, body, raw, send, endpoint or Chat())

    async def _asked_chat(
        self, context: RequestContext, fields: Any, body: dict[str, Any], raw: bytes, send: Any, endpoint: Chat
    ) -> None:
        chat_request = await large.done(context.size, ChatRequest.of, body)
        served = self.visited(context, chat_request.chat.model)
        asked = Passage(context, endpoint, served, body, raw, send)
        is_native = all(tier.upstream for tier in served.tiers)
        if is_native and served.settings.validate_tools:
            check_tools(body.get("tools"))
        is_plain = chat_request.kind == "text" and not (served.settings.validate_tools and chat_request.has_functions)
        if is_plain and (is_native or not chat_request.has_tools):
            await self._relayed(asked)
        else:
            await self._worked(asked, fields, chat_request)

    async def _completions(
        self, context: RequestContext, fields: Any, body: dict[str, Any], raw: bytes, send: Any
    ) -> None:
        served = self.visited(context, (await large.done(context.size, checked, CompletionBody, body)).model)
        asked = Passage(context, Completions(), served, body, raw, send)
        if completions.is_constrained(body):
            chat_request = await large.done(context.size, completions.as_chat, body)
            await self._worked(asked, fields, chat_request)
        else:
            await self._relayed(asked)

    async def _embeddings(self, context: RequestContext, _: Any, body: dict[str, Any], raw: bytes, send: Any) -> None:
        served = self.visited(context, (await large.done(context.size, checked, Embedding, body)).model)
        await self.relay.whole(Passage(context, Embeddings(), served, body, raw, send))

    async def _responses(
        self, context: RequestContext, fields: Any, body: dict[str, Any], raw: bytes, send: Any
    ) -> None:
        served = self.visited(context, (await large.done(context.size, checked, Response, body)).model)
        responses.refuse_background(body)
        if all(tier.upstream for tier in served.tiers) and served.settings.validate_tools:
            check_tools(body.get("tools"))
        has_upstreams = all(tier.at(Responses.path) for tier in served.tiers)
        with params.named(params.RESPONSES, body):
            is_text = responses.is_text(body, checks_calls=served.settings.validate_tools)
        is_plain = is_text and (has_upstreams or not body.get("tools"))
        # A provider can't tell the keys apart: what it knows may be another's, or deleted.
        is_known_upstream = is_plain and has_upstreams and context.key is None
        if context.key is not None:
            responses.refuse_conversation(body)
        whole = await self.turns.whole(context, body, self.settings.body_bytes, is_known_upstream=is_known_upstream)
        keep = functools.partial(self.turns.keep, context, body, whole)
        asked = Passage(context, Responses(body), served, whole, raw if whole is body else None, send, keep)
        with params.named(params.RESPONSES, body):
            if is_plain:
                for tier in served.tiers:
                    if tier.upstream is not None and tier.upstream.is_translated:  # it is asked as a chat
                        chat = await large.done(context.size, responses.as_chat, whole)
                        await check_translated(chat, tier, context.size)
                await self._relayed(asked)
            else:
                chat_request = await large.done(context.size, responses.chat_of, whole)
                await self._worked(asked, fields, chat_request)

    async def _messages(self, context: RequestContext, fields: Any, body: dict[str, Any], _: bytes, send: Any) -> None:
        message = await large.done(context.size, messages.read, body, False)
        served = self.visited(context, message.model)
        chat = await large.done(context.size, messages.as_chat, message, served)
        reply = MessageConnection(context, send, tuple(message.stop_sequences or ()))
        raw = await large.done(context.size, encoded, chat)
        with params.named(params.MESSAGES, body):
            await self._chat(context, fields, chat, raw, reply, messages.MessageChat())

    async def _count_tokens(
        self, context: RequestContext, _fields: Any, body: dict[str, Any], _: bytes, send: Any
    ) -> None:
        message = await large.done(context.size, messages.read, body, True)
        served = self.visited(context, message.model)
        seconds, number = context.begin(served.settings.total_seconds), None
        async with served.turn(seconds):
            if served.upstream is not None and served.upstream.is_translated:
                chat = await large.done(context.size, messages.as_chat, message, served)
                with params.named(params.MESSAGES, body):
                    await check_translated(chat, served, context.size)
                raw = await large.done(context.size, encoded, {**chat, "model": served.upstream_model})
                number = await served.upstream.count_tokens(raw, seconds, served.settings.transport_retries)
            if number is None:
                counted = await asyncio.to_thread(messages.count, message, served)
            else:
                counted = {"input_tokens": number}
        await answer(send, context, 200, encoded(counted))

    async def _relayed(self, asked: Passage) -> None:
        body = asked.body
        for tier in asked.served.tiers:
            if (upstream := tier.at(asked.endpoint.path)) is not None and upstream.is_translated:
                await check_translated(body, tier, asked.context.size)
                if body.get("stream") and (body.get("n") or 1) > 1:
                    raise bad(f"{tier.name} streams one choice; leave n out", "n", "unsupported_value")
        work = self.relay.stream if body.get("stream") else self.relay.whole
        await work(asked)

    async def _worked(self, asked: Passage, fields: Any, chat_request: ChatRequest) -> None:
        """Answer a request that needs schema work."""
        context, body, endpoint = asked.context, asked.body, cast("Any", asked.endpoint)
        is_live = bool(chat_request.chat.stream) and _guarantee(context, fields, chat_request, asked.served) == "live"
        has_tools = chat_request.has_tools
        plan = await self.pipeline.plan(context, chat_request, asked.served, is_live=is_live and not has_tools)
        if is_live:
            await self._live(asked, endpoint.events(context, body), chat_request, plan)
            return
        choices = await self.pipeline.choices(context, chat_request, plan)
        await self.settle(context)
        if chat_request.chat.stream:
            line, events = EventSender(context, asked.send), endpoint.events(context, body)
            last = list(events.choices(choices))
            if asked.keep is not None:
                await asked.keep(events.whole)
            for event in last:
                await line.send(event)
            await line.end()
        else:
            whole = endpoint.answered(context, chat_request, body, choices)
            if asked.keep is not None:
                await asked.keep(whole)
            await answer(asked.send, context, 200, await large.aencoded(whole))

    async def _live(self, asked: Passage, events: Any, chat_request: ChatRequest, plan: Any) -> None:
        line = EventSender(asked.context, asked.send)
        asked.context.first = asked.served.own_name
        async with line.ending():
            with in_time(asked.served.name):
                async with contextlib.aclosing(self.pipeline.pieces(chat_request, plan)) as parts:
                    async for part in parts:
                        if isinstance(part, Thought):
                            last = list(events.thought(part))
                        elif isinstance(part, CallPiece):
                            last = list(events.call(part))
                        else:
                            last = list(events.text(part) if isinstance(part, str) else events.end(part))
                        if asked.keep is not None and not isinstance(part, str):
                            await asked.keep(events.whole)
                        for event in last:
                            await line.send(event)
            await self.settle(asked.context)

    def visited(self, context: RequestContext, name: str) -> Served:
        """Return the model that a request asks for. Raises ApiError where it is not served, or not open to the key."""
        served = self.served(name)
        context.model = name
        if context.key is not None and context.key.usd_per_day is not None:
            for tier in served.tiers:
                if not tier.is_priced:
                    words = f"no price of {tier.name} is known, so that a key with a budget of money can't ask it"
                    raise ApiError(403, words, code="no_price", param="model")
            context.price = served.dearest  # of an answer under a name that has none
        return served

    # -- Pages ---------------------------------------------------------------------------------------------------------

    async def _models(self, scope: Any) -> tuple[int, bytes]:
        listed = [_listed(served, scope) for served in self.models.by_name.values()]
        ends = {"has_more": False, "first_id": listed[0]["id"], "last_id": listed[-1]["id"]}
        return 200, json.dumps({"object": "list", "data": listed, **(ends if _is_anthropic(scope) else {})}).encode()

    async def _model(self, scope: Any) -> tuple[int, bytes]:
        return 200, json.dumps(_listed(self.served(scope["path_params"]["name"]), scope)).encode()

    async def _response(self, scope: Any) -> tuple[int, bytes]:
        """Return a response that is kept, or forget it."""
        context, name = scope["context"], scope["path_params"]["name"]
        with self.room.share(scope, self.settings) as context.share:
            if scope["method"] == "DELETE":
                await self.turns.forget(context, name)
                return 200, encoded({"id": name, "object": "response.deleted", "deleted": True})
            return 200, await large.aencoded(await self.turns.read(context, name))  # HEAD, too, is a GET

    async def _ready(self, _scope: Any) -> tuple[int, bytes]:
        with contextlib.suppress(TimeoutError):  # what could not be written a moment ago is looked at now
            await asyncio.wait_for(self._is_settled.wait(), PROBE_S + PROBE_EVERY_S)
        reasons = self.faults
        models = {name: served.breaker.state for name, served in self.models.by_name.items()}
        body = {"status": "not ready" if reasons else "ready", "reasons": reasons, "breakers": models}
        return 503 if reasons else 200, json.dumps(body).encode()


class _Endpoint:
    """An endpoint that reads a body, and answers as long as the client is connected."""

    def __init__(self, sidecar: Sidecar, handle: Callable[..., Awaitable[None]]) -> None:
        self._sidecar, self._handle = sidecar, handle

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        settings, room, context = self._sidecar.settings, self._sidecar.room, scope["context"]
        with room.share(scope, settings) as share:
            SENDER.set(share.who)
            raw = await bodies.read(scope, receive, share, settings.body_bytes, settings.body_seconds)
            context.size, context.share, context.came = len(raw), share, time.perf_counter()
            with room.under_way(settings):
                body = await bodies.aparsed(raw)
                if settings.log_prompts:
                    context.prompt = body
                await _until_gone(context, receive, self._handle(context, scope["fields"], body, raw, send))


class _Page:
    """An endpoint that reads no body."""

    def __init__(self, handle: Callable[[Any], Awaitable[Any]]) -> None:
        self._handle = handle

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 (ASGI's)
        status, body, *kind = await self._handle(scope)
        await answer(send, scope["context"], status, body, kind or [JSON])


class _ByMethod:
    """An endpoint that is one for POST, and another one else. A path has one route, which knows all its methods."""

    def __init__(self, page: _Page, endpoint: _Endpoint) -> None:
        self._page, self._endpoint = page, endpoint

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self._endpoint if scope["method"] == "POST" else self._page)(scope, receive, send)


async def _until_gone(context: RequestContext, receive: Any, work: Any) -> None:
    """Await an answer. Where the client disconnects first, the work is cancelled and Gone is raised."""
    task = asyncio.current_task()
    assert task is not None
    is_gone = is_over = False

    def stop(_: Any) -> None:
        nonlocal is_gone
        if not (context.is_answered or is_over):
            is_gone = True
            task.cancel()

    # A task of its own: under a middleware, `receive` may have entered what only the task that did may leave.
    leaving = asyncio.ensure_future(receive())
    leaving.add_done_callback(stop)
    try:
        await work
    except asyncio.CancelledError:
        if not is_gone:
            raise
        task.uncancel()
        raise Gone from None
    finally:
        is_over = True
        leaving.cancel()


def _guarantee(context: RequestContext, fields: Any, chat_request: ChatRequest, served: Served) -> str:
    """Return the guarantee of a stream: the request's header decides, then the model's settings, then its abilities."""
    has_own_calls = len(served.tiers) == 1 and served.has_own_calls
    is_talk = (chat_request.choice == "auto" or has_own_calls) and chat_request.schema is None  # beside its calls
    has_text = (
        is_talk
        if chat_request.has_tools
        else served.is_masked or (chat_request.kind != "string" and chat_request.older is None)
    )
    is_one = (chat_request.chat.n or 1) == 1 and not chat_request.chat.logprobs
    can_be_live = has_text and is_one and served.settings.precision is None
    given = fields.get(b"x-guard-stream", b"").decode("latin-1").strip().lower()
    if given:
        if given not in GUARANTEES:
            raise bad(f"x-guard-stream: {given[:40]!r} must be live or buffered", "x-guard-stream")
        if given == "live" and not can_be_live:
            raise bad(
                "calls that must be made, several choices, logprobs, a provider's texts of a language and answers of a"
                " model with a precision are streamed once they are whole",
                "x-guard-stream",
            )
        context.guarantee = given
    else:
        wanted = served.settings.stream or ("live" if served.is_masked or chat_request.has_tools else "buffered")
        context.guarantee = wanted if can_be_live else "buffered"
    return context.guarantee


def _listed(served: Served, scope: Any) -> dict[str, Any]:
    owner = served.settings.model.partition(":")[0]
    listed = {"id": served.name, "object": "model", "created": 0, "owned_by": owner}
    if _is_anthropic(scope):
        listed |= {"type": "model", "display_name": served.name, "created_at": "1970-01-01T00:00:00Z"}
    return listed


def _is_anthropic(scope: Any) -> bool:
    """Whether a request comes from an SDK of Anthropic's."""
    return b"anthropic-version" in scope["fields"]


async def _nowhere(scope: Any, _receive: Any, _send: Any) -> None:
    if scope["type"] == "http":
        raise HTTPException(404, "there is nothing here")


async def _live(_scope: Any) -> tuple[int, bytes]:
    return 200, b'{"status": "live"}'


async def _metrics(_scope: Any) -> tuple[int, bytes, Any]:
    return 200, await asyncio.to_thread(metrics.text), (b"content-type", metrics.CONTENT_TYPE)


async def _openapi(_scope: Any) -> tuple[int, bytes]:
    return 200, await asyncio.to_thread(document)
