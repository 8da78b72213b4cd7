"""A model asked in each of the four ways: blocking, as a coroutine, and as a stream of either kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import guard
from guard.errors import (
    BadReply,
    BudgetExceeded,
    RateLimited,
    Unavailable,
)
from guard.models.base import Reply, Request
from guard.models.remote.anthropic import AnthropicModel
from guard.models.remote.openai import OpenAIModel
from guard.testing.fake_server import Answer, Server

CLOSED = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "total": {"type": "integer"}},
    "required": ["reason", "total"],
    "additionalProperties": False,
}
OPTIONAL = {**CLOSED, "required": ["reason"]}
OPEN = {"type": "object", "properties": {"total": {"type": "integer"}}}
TEXT = '{"reason": "two and two", "total": 4}'
GOOD = Answer(TEXT)
SECONDS = 1.0  #: The deadline of what would take for ever; nothing may take longer, by more than a machine's hiccup.
WAITS = ("time-out", "slow drip")  #: The faults that end only with the deadline.


def request(schema: Any = CLOSED, **changes: Any) -> Request:
    compiled = None if schema is None else guard.compile(schema, inexact="residual")
    messages = ({"role": "system", "content": "Be exact."}, {"role": "user", "content": "What is 2 + 2?"})
    return Request(**{"messages": messages, "compiled": compiled, "seconds": 60.0, **changes})


def model(server: Server | str, **options: Any) -> OpenAIModel:
    url = server if isinstance(server, str) else server.url
    return OpenAIModel("m", base_url=url, api_key="sk-local-0123456789", **options)


def blocking(asked: Any, request: Request) -> Reply:
    return asked.generate(request)


def coroutine(asked: Any, request: Request) -> Reply:
    return asyncio.run(asked.agenerate(request))


def streaming(asked: Any, request: Request) -> Reply:
    *pieces, reply = asked.stream(request)
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert "".join(pieces) == ("" if reply.finish == "refusal" else reply.text)
    return reply


def async_streaming(asked: Any, request: Request) -> Reply:
    async def whole() -> Reply:
        *pieces, reply = [item async for item in asked.astream(request)]
        assert "".join(pieces) == ("" if reply.finish == "refusal" else reply.text)
        return reply

    return asyncio.run(whole())


WAYS = [blocking, coroutine, streaming, async_streaming]
every_way = pytest.mark.parametrize("ask", WAYS, ids=lambda way: way.__name__)
Way = Callable[[Any, Request], Reply]


def claude(server: Server, **options: Any) -> AnthropicModel:
    # Its SDK adds the version of the API to the address itself.
    url = server.url.removesuffix("/v1")
    return AnthropicModel("c", base_url=url, api_key="sk-ant-local-0123456789", **options)


#: What each fault leads to: a reply's end, or the type of an error. Where a stream shows it otherwise, both.
CELLS: dict[str, tuple[Any, Any]] = {
    "reset mid-body": (Unavailable, Unavailable),
    "time-out": (BudgetExceeded, BudgetExceeded),
    "429": (RateLimited, RateLimited),
    "500": (Unavailable, Unavailable),
    "503": (Unavailable, Unavailable),
    "truncated JSON": (BadReply, Unavailable),
    "length stop": ("length", "length"),
    "refusal": ("refusal", "refusal"),
    "content filter": ("filter", "filter"),
    "wrong type": ("stop", "stop"),
    "extra key": ("stop", "stop"),
    "prose around": ("stop", "stop"),
    "invalid UTF-8": (BadReply, BadReply),
    "empty body": (BadReply, Unavailable),
    "empty answer": ("stop", "stop"),
    "huge body": (BadReply, BadReply),
    "slow drip": (BudgetExceeded, BudgetExceeded),
    "duplicate keys": (BadReply, BadReply),
}
