"""Requests with schema work, by Guard's pipeline: masks or native modes, validation, repair, re-asks, escalation.

Each tier is asked in the way that suits it. An upstream gets a schema from guard/models/remote/openai.py; JSON, plain
texts of a language, and tools go to it in the client's own fields (guard/sidecar/native.py). Other models are told in
words, and decode under masks. Every answer is validated here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import AsyncGenerator
from typing import Any

from guard.calls.pipeline import Guard
from guard.calls.policy import Budget, Policy
from guard.calls.steps import Plan
from guard.calls.wholeness import as_it_is
from guard.decoding.confidence import Confidence
from guard.errors import BadReply, BudgetExceeded, ContentFiltered, Refused, SchemaError
from guard.kernels.unicode_text import json_text
from guard.models import adapters, chat_messages
from guard.models.base import Model, Reply, Request, Thought
from guard.models.remote.remote_model import Remote
from guard.output.partial import TextSoFar
from guard.output.target import Target
from guard.sidecar import efforts, large, schema_errors
from guard.sidecar.endpoints import chat, custom_tools, tool_calls
from guard.sidecar.endpoints.chat import Choice
from guard.sidecar.endpoints.chat_request import ChatRequest
from guard.sidecar.errors import bad
from guard.sidecar.native import Native
from guard.sidecar.passthrough import at_once, every
from guard.sidecar.request_context import RequestContext
from guard.sidecar.schema_cache import Targets
from guard.sidecar.served_models import Served, Tier, Wrapper
from guard.trace import TraceStore
from guard.trace.records import Call
from guard.turns import asking_again
from guard.turns import models as turn_models
from guard.turns import value as turn
from guard.turns.pieces import CallPiece, Spoken

#: Fields that the pipeline sends itself; one that the request names must not be given up when a provider refuses it.
_WISHES = ("temperature", "seed", "max_tokens", "max_completion_tokens", "parallel_tool_calls")


class Pipeline:
    """Answers requests with schema work."""

    def __init__(self, store: TraceStore) -> None:
        self._guard = Guard(trace=store)
        self._targets = Targets()

    async def plan(
        self, context: RequestContext, chat_request: ChatRequest, served: Served, *, is_live: bool = False
    ) -> Plan:
        """Decide how a request is carried out. Raises ApiError or SchemaError where it can't be."""
        tiers = served.tiers[:1] if is_live else served.tiers
        first = tiers[0]
        for tier in tiers:
            if tier.upstream is None:
                chat.check_local(chat_request, tier)
        if all(tier.upstream is None for tier in tiers):
            await large.done(context.size, tool_calls.texts, chat_request.chat.messages)
        if chat_request.chat.logprobs and not first.is_masked:
            raise bad("log-probabilities are not told of answers that have a schema", "logprobs", "unsupported_value")
        more: dict[str, Any] = {}
        if chat_request.has_tools:
            has_own = first.upstream is not None or first.has_own_calls
            schema = await large.done(context.size, tool_calls.schema, chat_request, has_own, first.is_masked)
            more["re_ask"] = functools.partial(
                asking_again.re_ask, names=[function.name for function in chat_request.functions]
            )
        else:
            schema = chat_request.schema
        total = served.settings.total_seconds
        has_unmasked = not all(tier.is_masked for tier in tiers)
        target = await self._target(context, chat_request, schema, total, is_checked_only=has_unmasked)
        if (everything := chat_request.with_all_tools) is not None:  # later turns may call the others
            schema = await large.done(context.size, tool_calls.schema, everything, True, False)
            await self._target(context, everything, schema, total, is_checked_only=True)
        for tier in tiers:  # what is translated is a schema by now
            await chat.check_translated(chat_request.body, tier, context.size)
        messages = tuple(dict(custom_tools.in_functions(message)) for message in chat_request.chat.messages)
        policy = _policy(
            retries=0 if is_live else served.settings.retries,
            repair=not is_live,  # pieces that were sent can't be repaired
            max_tokens=chat_request.chat.limit or served.settings.most_tokens,
            temperature=chat_request.chat.temperature or 0.0,
            seed=chat_request.chat.seed or 0,
            precision=served.settings.precision,
        ).within(Budget(seconds=context.begin(total)))
        models = tuple(_tier(tier, chat_request, context.size) for tier in tiers)
        if target.grounding is not None:
            more["sources"] = chat_messages.said_by_user(messages)
        more |= {"told": context.take, "record_for": context.record_for}
        return Plan(target, messages, policy, models, function=context.path, **more)

    async def _target(
        self, context: RequestContext, chat_request: ChatRequest, schema: Any, total: float, *, is_checked_only: bool
    ) -> Target:
        """Return the target of a request's schema, within what is left of so many seconds."""
        try:
            return await self._targets.of(
                schema,
                turn.CALLS if chat_request.has_tools else chat_request.name,
                context.size,
                is_checked_only=is_checked_only,
                is_turn=chat_request.has_tools,
                sender=context.sender,
                seconds=context.begin(total),
            )
        except TimeoutError:
            raise BudgetExceeded(f"the schema was not compiled within {total:g} s") from None
        except SchemaError as error:
            raise schema_errors.refused(error, chat_request) from None

    async def choices(self, context: RequestContext, chat_request: ChatRequest, plan: Plan) -> list[Choice]:
        """Return all choices, validated. Raises a GuardError where one fails."""
        plans = [_nth(plan, number) for number in range(chat_request.chat.n or 1)]
        if len(plans) == 1:
            return [await self._choice(chat_request, plans[0])]
        return await every((self._choice(chat_request, each) for each in plans), at_once(context, len(plans)))

    async def pieces(self, chat_request: ChatRequest, plan: Plan) -> AsyncGenerator[str | Choice, None]:
        """Yield an answer's text and thinking as they come, then the answer, once it is validated.

        With tools, the text is that beside their calls, of the first attempt only.
        """
        live = dataclasses.replace(plan, target=dataclasses.replace(plan.target, partials=_StreamedSoFar))
        told, calls = "", 0
        refusal: Choice | None = None
        stream = self._guard.arun_stream(live, as_it_is)
        try:
            async with stream:
                async for known in stream:
                    if stream.call is not None:
                        yield _rest(_choice(chat_request, known, stream.call), told)
                    elif isinstance(known, CallPiece):
                        if known.name and known.number < calls:
                            raise BadReply("a call that was streamed was not valid")
                        calls = max(calls, known.number + 1)
                        yield known
                    elif isinstance(known, Thought):
                        yield known
                    elif known.startswith(told):
                        yield known[len(told) :]
                        told = known
        except Refused as error:
            refusal = _refused(error)
            if told and refusal.refusal is not None:  # what was said can't be unsaid
                raise
        if refusal is not None:
            yield refusal

    async def _choice(self, chat_request: ChatRequest, plan: Plan) -> Choice:
        try:
            value, call = await self._guard.arun(plan)
        except Refused as error:
            return _refused(error)
        return _choice(chat_request, value, call)


@functools.lru_cache(256, typed=True)
def _policy(*, precision: float | None, **settings: Any) -> Policy:
    """Return a policy without a budget, cached: most requests have one of a few, and to check one takes a while."""
    return Policy(**settings, confidence=Confidence(precision=precision))


class _StreamedSoFar(TextSoFar):
    """Turns pieces of a stream into all of the text so far; thoughts and pieces of calls pass unchanged."""

    def feed(self, piece: str) -> str:
        """Add a piece; return all text so far, or the piece itself where it is no text."""
        return piece if isinstance(piece, Thought | CallPiece) else super().feed(piece)


class Templated(Wrapper):
    """A model that decodes here, and calls tools as its own chat template does."""

    def __init__(self, model: turn_models.TemplatedModel, chat_request: ChatRequest) -> None:
        super().__init__(model)
        self._body, self._drawn = chat_request.body, chat.sampling(chat_request.body)

    async def agenerate(self, request: Request) -> Reply:
        """Answer a request."""
        return await adapters.agenerate(self.model, self._request(request))

    async def astream(self, request: Request) -> AsyncGenerator[str | Reply, None]:
        """Answer a request: text and calls in pieces, then the reply."""
        async with contextlib.aclosing(adapters.apieces(self.model, self._request(request))) as parts:
            async for part in parts:
                yield part

    def _request(self, request: Request) -> Request:
        return efforts.asked(self._body, dataclasses.replace(request, sampling=self._drawn))


class Worded(Wrapper):
    """A model without tools of its own, which is told of them in words."""

    def __init__(self, model: Model, chat_request: ChatRequest) -> None:
        super().__init__(model)
        self._chat_request = chat_request
        self._told = tool_calls.instruction(chat_request) if chat_request.has_tools else ""

    async def agenerate(self, request: Request) -> Reply:
        """Answer a request."""
        return self._reply(request, await adapters.agenerate(self.model, self._request(request)))

    async def astream(self, request: Request) -> AsyncGenerator[str | Reply, None]:
        """Answer a request: the text in pieces, then the reply; with tools, the text that is no call."""
        spoken = Spoken() if self._chat_request.has_tools else None
        is_again = tool_calls.is_asked_again(request.messages, self._chat_request)
        async with contextlib.aclosing(adapters.apieces(self.model, self._request(request))) as parts:
            async for part in parts:
                if isinstance(part, Reply):
                    yield self._reply(request, part)
                elif not is_again:
                    yield part if spoken is None or isinstance(part, Thought) else spoken.feed(part)

    def _request(self, request: Request) -> Request:
        body = self._chat_request.body
        drawn = chat.sampling(body) if self.is_masked else request.sampling
        told = tool_calls.worded(request.messages, self._told)
        return efforts.asked(body, dataclasses.replace(request, messages=told, sampling=drawn))

    def _reply(self, request: Request, reply: Reply) -> Reply:
        if not self._told:
            return reply
        return dataclasses.replace(reply, text=tool_calls.still_calls(reply.text, request.messages, self._chat_request))


def _refused(error: Refused) -> Choice:
    """Return a refusal as a choice: it is an answer in the protocol. Raises it where there was no reply."""
    reply = error.attempts[-1].reply if error.attempts else None
    if reply is None:
        raise error
    words = None if isinstance(error, ContentFiltered) else reply.text or error.message
    return Choice(None, reply, refusal=words)


def _rest(choice: Choice, told: str) -> Choice:
    """Return a choice without the text that was streamed. Beside calls, the first attempt's text stays."""
    if choice.text is None:  # calls
        beside = choice.beside or ""
        return dataclasses.replace(choice, beside=beside[len(told) :] if beside.startswith(told) else "")
    if not choice.text.startswith(told):
        raise BadReply("what was streamed is not how the value ends")
    return dataclasses.replace(choice, text=choice.text[len(told) :])


def _choice(chat_request: ChatRequest, value: Any, call: Call) -> Choice:
    """Return a validated value as a choice."""
    reply = call.answer.reply if call.answer is not None else None
    assert reply is not None
    if not chat_request.has_tools:
        return Choice(call.text, reply)
    content, calls = turn.read(value)
    if calls:
        made = tuple((c["name"], json_text(c["arguments"])) for c in calls)
        return Choice(None, reply, made, beside=content, customs=chat_request.customs)
    if not isinstance(content, str):
        return Choice(json_text(content), reply)
    if chat_request.schema is not None:
        return Choice(content, reply)
    text, is_cut = chat.cut(content, chat_request.chat.stops)
    return Choice(text, dataclasses.replace(reply, finish="stop") if is_cut else reply)


def _tier(served: Served, chat_request: ChatRequest, size: int) -> Tier:
    """Return the model that asks a tier for this request, whose body has so many bytes."""
    model = served.model
    if isinstance(model, Remote):
        extra = served.upstream.own(chat_request.body) if served.upstream is not None else {}
        given = {**chat_request.body, **extra}
        wished = {key for key in (*extra, *_WISHES) if given.get(key) is not None}
        model = model.with_body(extra, wished)
    if served.upstream is None:
        form = turn_models.tool_format(model) if chat_request.has_tools else None
        if form is None:
            return Tier(served, Worded(model, chat_request))
        own = turn_models.TemplatedModel(model, form, tool_calls.wanted(chat_request))
        return Tier(served, Templated(own, chat_request))
    is_constrained = chat_request.kind in ("json", "string") or chat_request.older is not None
    if chat_request.has_tools or (is_constrained and not served.upstream.is_translated):
        return Tier(served, Native(served, chat_request, size))
    return Tier(served, model)


def _nth(plan: Plan, number: int) -> Plan:
    if number == 0:
        return plan
    return dataclasses.replace(plan, policy=dataclasses.replace(plan.policy, seed=plan.policy.seed + number))
