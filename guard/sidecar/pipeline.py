"""What needs schema work, through Guard's pipeline: masks or native modes, validation, repair, re-asks, escalation.

Each tier is asked in the way that suits it: a schema as guard/models/openai.py sends it, JSON and tools as the client
sent them (`Native`), and everything else in words and under masks. Whichever answers, the value is checked here.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from guard.errors import BadReply, BudgetExceeded, ContentFiltered, Refused
from guard.models import asking
from guard.models.base import Model, Reply, Request
from guard.models.openai import OpenAIModel
from guard.models.transport import Exchange, ExchangeError, count, estimated_tokens
from guard.pipeline import Guard
from guard.policy import Budget, Policy
from guard.prices import cost
from guard.sidecar import bodies, chat, tools
from guard.sidecar.asked import Asked
from guard.sidecar.chat import Choice
from guard.sidecar.compiling import Targets
from guard.sidecar.errors import bad
from guard.sidecar.relay import every
from guard.sidecar.serving import Served, Tier, Wrapper
from guard.sidecar.visit import Visit, encoded, written
from guard.steps import Plan
from guard.trace import TraceStore

#: Fields of a request that the pipeline decides; all others go to the model's server with every attempt.
_OURS = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "n", "response_format", "tools", "tool_choice"),
        *("parallel_tool_calls", "max_tokens", "max_completion_tokens", "temperature", "seed", "logprobs"),
        *("top_logprobs", "input", "instructions", "text", "max_output_tokens"),
    }
)


class Pipeline:
    """Answers what needs schema work."""

    def __init__(self, store: TraceStore) -> None:
        self._guard = Guard(trace=store)
        self._targets = Targets()

    async def plan(self, visit: Visit, asked: Asked, served: Served, *, is_live: bool = False) -> Plan:
        """Decide how a request is carried out; ApiError or SchemaError where it can't be."""
        tiers = served.tiers[:1] if is_live else served.tiers
        first = tiers[0]
        for tier in tiers:
            if tier.upstream is None:
                chat.check_local(asked, tier)
        if asked.chat.logprobs and not first.is_masked:
            raise bad("log-probabilities are not told of answers that have a schema", "logprobs", "unsupported_value")
        if asked.chat.stops and not all(tier.upstream for tier in tiers):
            raise bad("stop would break the answer's JSON; leave it out", "stop", "unsupported_value")
        if asked.kind == "calls" or asked.has_tools:
            schema, name = tools.schema(asked, is_native=first.upstream is not None), "calls"
        else:
            schema, name = asked.schema, asked.name
        has_unmasked = not all(tier.is_masked for tier in tiers)
        total = served.settings.total_seconds
        try:
            async with asyncio.timeout(visit.begin(total)):
                is_large = visit.size >= bodies.LARGE
                target = await self._targets.of(schema, name, is_checked_only=has_unmasked, is_large=is_large)
        except TimeoutError:
            raise BudgetExceeded(f"the schema was not compiled within {total:g} s") from None
        messages = tuple(asked.chat.messages)
        policy = Policy(
            retries=0 if is_live else served.settings.retries,
            repair=not is_live,  # what is out can't be mended
            max_tokens=asked.chat.limit or served.settings.most_tokens,
            temperature=asked.chat.temperature or 0.0,
            seed=asked.chat.seed or 0,
            budget=Budget(seconds=visit.begin(total)),
        )
        models = tuple(_tier(tier, asked) for tier in tiers)
        return Plan(target, messages, policy, models, function=visit.path, told=visit.take)

    async def choices(self, asked: Asked, plan: Plan) -> list[Choice]:
        """Return the answers, all checked; raises a GuardError where one can't be had."""
        plans = [_nth(plan, number) for number in range(asked.chat.n or 1)]
        if len(plans) == 1:
            return [await self._choice(asked, plans[0])]
        return await every(self._choice(asked, each) for each in plans)

    async def pieces(self, plan: Plan) -> AsyncGenerator[str | Reply, None]:
        """Yield the text of one attempt as it comes, and its reply once it was checked."""
        live = dataclasses.replace(plan, target=dataclasses.replace(plan.target, partial=_text))
        told = ""
        stream = self._guard.arun_stream(live)
        async with stream:
            async for known in stream:
                if stream.call is not None:
                    assert stream.call.answer is not None
                    reply = stream.call.answer.reply
                    assert reply is not None
                    if not stream.call.text.startswith(told):
                        raise BadReply("what was streamed is not how the value ends")
                    if rest := stream.call.text[len(told) :]:
                        yield rest
                    yield reply
                    return
                yield known[len(told) :]
                told = known

    async def _choice(self, asked: Asked, plan: Plan) -> Choice:
        try:
            value, call = await self._guard.arun(plan)
        except Refused as error:  # in the protocol no error, but an answer of its own
            reply = error.attempts[-1].reply if error.attempts else None
            if reply is None:
                raise
            words = None if isinstance(error, ContentFiltered) else reply.text or error.message
            return Choice(None, reply, refusal=words)
        reply = call.answer.reply if call.answer is not None else None
        assert reply is not None
        if plan.target.name != "calls" or not asked.has_tools:
            return Choice(call.text, reply)
        if isinstance(value, list):
            calls = tuple((c["name"], written(c["arguments"])) for c in value)
            return Choice(None, reply, calls)
        content = value["content"]
        return Choice(content if isinstance(content, str) else written(content), reply)


class Native(Wrapper):
    """An upstream asked with the fields that the client sent, its answer written down as one JSON text."""

    def __init__(self, served: Served, asked: Asked) -> None:
        assert served.upstream is not None
        super().__init__(served.model)
        self._served, self._asked, self._upstream = served, asked, served.upstream

    async def agenerate(self, request: Request) -> Reply:
        """Answer a request."""
        body = {
            **{key: value for key, value in self._asked.body.items() if key not in ("stream", "stream_options", "n")},
            "model": self._served.upstream_model,
            "messages": list(request.messages),
        }
        if self._asked.chat.seed is not None:  # each choice and each attempt is another draw
            body["seed"] = request.seed
        payload = encoded(body)
        exchange, start = (
            Exchange(self.name, request.seconds, self._served.settings.transport_retries),
            time.perf_counter(),
        )

        async def once() -> AsyncGenerator[Any, None]:
            yield await self._upstream.post("/chat/completions", payload)

        try:
            async with exchange.deadline(), contextlib.aclosing(exchange.send(once)) as answers:
                async for _, said in answers:
                    return self._reply(said, exchange, time.perf_counter() - start)
        except ExchangeError as failure:
            raise failure.error from failure
        raise AssertionError("an exchange ends with an answer or an error")

    def _reply(self, said: Mapping[str, Any], exchange: Exchange, seconds: float) -> Reply:
        _, finish = chat.Chat().answer(said)
        message = said["choices"][0]["message"]
        refusal = message.get("refusal")
        asked = self._asked
        if asked.has_tools:
            text = tools.value_of(message, has_schema=asked.schema is not None)
        else:
            text = message.get("content")
            if not isinstance(text, str):
                text = ""
        told = said.get("usage")
        usage: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
        prompt, given = (count(usage.get(name), -1) for name in ("prompt_tokens", "completion_tokens"))
        is_estimate = prompt < 0 or given < 0
        prompt = prompt if prompt >= 0 else estimated_tokens(json.dumps(asked.chat.messages))
        given = given if given >= 0 else estimated_tokens(text)
        model = said["model"] if isinstance(said.get("model"), str) else self._served.upstream_model
        ends = {"length": "length", "content_filter": "filter"}
        return Reply(
            text=refusal if refusal else text,
            finish="refusal" if refusal else ends.get(str(finish), "stop"),
            model=model,
            prompt_tokens=prompt,
            completion_tokens=given,
            seconds=seconds,
            retries=exchange.retries,
            mode="native",
            cost=cost(model, prompt, given, url=self._upstream.url),
            is_estimate=is_estimate,
        )


class Worded(Wrapper):
    """A model that knows nothing but text, told of tools in words."""

    def __init__(self, model: Model, told: str) -> None:
        super().__init__(model)
        self._told = told

    async def agenerate(self, request: Request) -> Reply:
        """Answer a request."""
        return await asking.agenerate(self.model, self._request(request))

    async def astream(self, request: Request) -> AsyncGenerator[str | Reply, None]:
        """Answer a request: the text in pieces, then the reply."""
        async with contextlib.aclosing(asking.apieces(self.model, self._request(request))) as parts:
            async for part in parts:
                yield part

    def _request(self, request: Request) -> Request:
        return dataclasses.replace(request, messages=tools.worded(request.messages, self._told))


def _tier(served: Served, asked: Asked) -> Tier:
    """Return a tier as this request asks it."""
    model = served.model
    if served.upstream is None:
        return Tier(served, Worded(model, tools.instruction(asked) if asked.has_tools else ""))
    if asked.has_tools or asked.kind == "json":
        return Tier(served, Native(served, asked))
    extra = {key: value for key, value in asked.body.items() if key not in _OURS}
    return Tier(served, model.with_body(extra) if isinstance(model, OpenAIModel) and extra else model)


def _nth(plan: Plan, number: int) -> Plan:
    return dataclasses.replace(plan, policy=dataclasses.replace(plan.policy, seed=plan.policy.seed + number))


def _text(text: str) -> str:
    return text
