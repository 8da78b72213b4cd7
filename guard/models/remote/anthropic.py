"""Anthropic's models: `anthropic:NAME` honours ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL.

The modes are native structured output, a forced tool, or words (remote_model.py). Thinking has its own budget, of at
least 1,024 tokens by the API. A model that thinks can't be forced to call a tool, so it is only offered one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Mapping
from types import MappingProxyType
from typing import Any

from guard.errors import BudgetExceeded, ModelError, Unsupported
from guard.models.base import Request
from guard.models.remote import anthropic_chat
from guard.models.remote.address import UNUSED_KEY, address, check_key
from guard.models.remote.errors import ExchangeError, making, mapped, of_stream
from guard.models.remote.http import HEADERS, Body, count, http_options, parsed
from guard.models.remote.remote_model import ProviderRequest, Remote, ReplyReader, shape
from guard.models.remote.runners import LOOP, THREAD, Runner
from guard.output import provider_schema

try:
    import anthropic
    import httpx2
except ImportError as error:
    raise ModelError(f"Anthropic's models need {error.name}: pip install 'guard-slm[anthropic]'") from error

#: The SDK's client, and its HTTP client, over each runner.
_CLIENTS: Mapping[Runner, Any] = {
    THREAD: (anthropic.Anthropic, anthropic.DefaultHttpxClient),
    LOOP: (anthropic.AsyncAnthropic, anthropic.DefaultAsyncHttpxClient),
}
BASE_URL, API_KEY = "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"  #: Variables of the environment.
URL = "https://api.anthropic.com"  #: Anthropic's own address.
LEAST_THINKING = 1024  #: Least budget of thinking, in tokens, by the API.

_FINISH = {
    **dict.fromkeys(("end_turn", "stop_sequence", "tool_use"), "stop"),
    **dict.fromkeys(("max_tokens", "model_context_window_exceeded"), "length"),
    "refusal": "refusal",
}
_OPTIONAL = ("temperature", "thinking")
_NAME = re.compile(r"[^A-Za-z0-9_-]")


class AnthropicModel(Remote):
    """A model of Anthropic's. The options are those of OpenAIModel."""

    dialect = provider_schema.ANTHROPIC

    def __init__(
        self,
        name: str,
        *,
        client: anthropic.AsyncAnthropic | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        mode: str | None = None,
        retries: int = 2,
        timeout: float = 600.0,
        provider: str | None = "anthropic",
        extra: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        title = f"anthropic:{name}"
        where = address(base_url, BASE_URL, URL)
        # Without a key, the SDK takes credentials from the environment, which another address must not get.
        key = api_key or (None if where.is_environments else UNUSED_KEY)

        def make(runner: Runner) -> Any:
            sdk, http = _CLIENTS[runner]
            with making(title, (key or "", *where.secrets), anthropic.AnthropicError):
                check_key(key or "")
                made = sdk(
                    api_key=key,
                    base_url=None if where.is_default else where.url,
                    max_retries=0,
                    http_client=http(**http_options(runner, title, where, key)),
                )
                # Without any, the SDK raises a TypeError at the first request.
                if not (made.api_key or made.auth_token or getattr(made, "credentials", None)):
                    raise ModelError(f"{title} can't be asked: set ANTHROPIC_API_KEY, or give api_key")
                return made

        self._where = where
        super().__init__(
            name,
            title=title,
            client=client and client.with_options(max_retries=0),
            make=make,
            mode=mode,
            retries=retries,
            timeout=timeout,
            provider=provider,
            extra=extra,
        )

    def _body(self, request: Request, mode: str, sent: provider_schema.Sent | None) -> dict[str, Any]:
        if 0 < request.thinking < LEAST_THINKING:
            raise Unsupported(
                f"{self._name} thinks with at least {LEAST_THINKING:,} tokens, or not at all; raise"
                f" thinking={request.thinking}, or leave it out"
            )
        fields: dict[str, Any] = {"thinking": {"type": "disabled"}, "temperature": min(request.temperature, 1.0)}
        if request.thinking:
            fields["thinking"] = {"type": "enabled", "budget_tokens": request.thinking}
        thinks = anthropic_chat.thinks({**fields, **self._extra})
        if thinks and "temperature" not in self._wished:  # it has one of its own for that
            del fields["temperature"]
        name = _NAME.sub("_", request.name)[:64] or "value"
        if sent is not None and mode == "native":
            fields["output_config"] = {"format": {"type": "json_schema", "schema": sent.schema}}
        elif sent is not None:
            fields["tools"] = [{"name": name, "description": "Takes the answer.", "input_schema": sent.schema}]
            fields["tool_choice"] = {"type": "auto"} if thinks else {"type": "tool", "name": name}
            fields["tool_choice"]["disable_parallel_tool_use"] = True
        body = self._sent_body(fields)
        if "output_config" in fields:
            body["output_config"] = {**body["output_config"], **fields["output_config"]}
        return body

    async def _receive(self, provider_request: ProviderRequest, reading: ReplyReader) -> None:
        secrets = self._secrets(provider_request)
        fields = self._fields(provider_request, is_streaming=False)
        with mapped(anthropic, self.name, secrets):
            async with self._sent_to(provider_request, fields) as response:
                body = Body(response, self.name, provider_request.runner, secrets)
                await self._read_whole(reading, body, secrets)

    async def _receive_pieces(
        self, provider_request: ProviderRequest, reading: ReplyReader
    ) -> AsyncGenerator[str, None]:
        name, secrets = self.name, self._secrets(provider_request)
        fields = self._fields(provider_request, is_streaming=True)
        with mapped(anthropic, name, secrets):
            async with self._sent_to(provider_request, fields) as response:
                body = Body(response, name, provider_request.runner, secrets)
                if body.has_events:
                    async with contextlib.aclosing(body.events()) as events:
                        async for text in events:
                            event = parsed(text, name)
                            if event.get("type") == "message_stop":
                                break
                            for piece in reading.pieces(_event(reading, event, name, secrets)):
                                yield piece
                else:
                    for piece in reading.pieces(await self._read_whole(reading, body, secrets)):
                        yield piece

    def _secrets(self, provider_request: ProviderRequest) -> tuple[str, ...]:
        client = self._clients.of(provider_request.runner)
        known = (client.api_key, client.auth_token)
        return (*(secret for secret in known if isinstance(secret, str) and secret), *self._where.secrets)

    def _fields(self, provider_request: ProviderRequest, *, is_streaming: bool) -> dict[str, Any]:
        """Return the body of a request."""
        try:
            system, said = anthropic_chat.messages(provider_request.messages)
        except anthropic_chat.UnsayableError as error:
            raise Unsupported(f"{self.name} can't be asked so: {error}") from None
        most, thinking = provider_request.max_tokens, provider_request.request.thinking
        if 0 < most <= thinking:  # the API refuses it
            raise BudgetExceeded(f"the budget pays for {most} tokens more, and thinking={thinking}; lower it")
        fields = {
            "model": self.model,
            "messages": said,
            "stream": is_streaming,
            "max_tokens": provider_request.max_tokens,
            **provider_request.body,
        }
        return {**fields, "system": system} if system else fields

    def _sent_to(
        self, provider_request: ProviderRequest, fields: Mapping[str, Any]
    ) -> contextlib.AbstractAsyncContextManager[httpx2.Response]:
        """Send a request; yield the response, and close it at the end."""
        headers = {**HEADERS, "anthropic-version": anthropic_chat.version(fields)}
        client = self._clients.of(provider_request.runner)
        return provider_request.opened(client, "/v1/messages", fields, anthropic.Stream, headers)

    async def _read_whole(self, reading: ReplyReader, body: Body, secrets: tuple[str, ...]) -> str:
        """Read an answer that comes whole; return the text in it."""
        text = await body.text()
        return _message(reading, parsed(text, self.name), text, self.name, secrets)

    def _concede(self, provider_request: ProviderRequest, failure: ExchangeError) -> bool:
        for field in _OPTIONAL:
            if field == "thinking" and provider_request.request.thinking:  # which the caller asked for
                continue
            if field in provider_request.body and self._may_concede(field, failure):
                self._conceded.add(field)
                return True
        return False


def _message(reading: ReplyReader, message: Mapping[str, Any], text: str, name: str, secrets: tuple[str, ...]) -> str:
    """Read a whole answer; return the text in it."""
    if message.get("type") == "error" or message.get("error"):
        raise of_stream(message.get("error"), name, secrets)
    _head(reading, message)
    _finish(reading, message.get("stop_reason"), name)
    shape(reading.finish is not None, name, "no stop_reason")
    content: Any = message.get("content")
    shape(isinstance(content, list) and all(isinstance(block, Mapping) for block in content), name, "content")
    exact = provider_schema.exact(text)["content"]  # numbers as they are written
    out = ""
    for index, block in enumerate(content):
        kind = block.get("type")
        if kind == "text":
            shape(isinstance(block.get("text"), str), name, "text")
            out += reading.text(block["text"])
        elif kind == "thinking" and isinstance(block.get("thinking"), str):
            reading.think(block["thinking"])
        elif kind == "tool_use":
            out += reading.call(index, provider_schema.written(exact[index].get("input")))
    return out


def _event(reading: ReplyReader, event: Mapping[str, Any], name: str, secrets: tuple[str, ...]) -> str:
    """Read one event of a streamed answer; return the text in it."""
    kind, index = event.get("type"), event.get("index")
    if kind == "error":
        raise of_stream(event.get("error"), name, secrets)
    if kind == "message_start":
        message: Any = event.get("message")
        shape(isinstance(message, Mapping), name, "message_start")
        _head(reading, message)
    elif kind == "content_block_start":
        block: Any = event.get("content_block")
        shape(isinstance(block, Mapping), name, "content_block_start")
        if block.get("type") == "tool_use":
            return reading.call(index, "")
        if block.get("type") == "text" and isinstance(block.get("text"), str):
            return reading.text(block["text"])
    elif kind == "content_block_delta":
        delta: Any = event.get("delta")
        shape(isinstance(delta, Mapping), name, "content_block_delta")
        if isinstance(text := delta.get("text"), str):
            return reading.text(text)
        if isinstance(arguments := delta.get("partial_json"), str):
            return reading.call(index, arguments)
        if isinstance(thought := delta.get("thinking"), str):
            reading.think(thought)
    elif kind == "message_delta":
        stop: Any = event.get("delta")
        shape(isinstance(stop, Mapping), name, "message_delta")
        _finish(reading, stop.get("stop_reason"), name)
        _head(reading, event)
    return ""


def _head(reading: ReplyReader, message: Mapping[str, Any]) -> None:
    if isinstance(model := message.get("model"), str) and model:
        reading.model = model
    usage = message.get("usage")
    if not isinstance(usage, Mapping):
        return
    reading.used(completion=usage.get("output_tokens"))
    reading.used(cached=usage.get("cache_read_input_tokens"), cache_creation=usage.get("cache_creation_input_tokens"))
    if (prompt := count(usage.get("input_tokens"), -1)) >= 0:  # without what was read from the cache, or put there
        reading.used(prompt=prompt + reading.usage.get("cached", 0) + reading.usage.get("cache_creation", 0))


def _finish(reading: ReplyReader, stop: Any, name: str) -> None:
    if stop is not None:
        shape(isinstance(stop, str) and stop in _FINISH, name, f"stop_reason {str(stop)[:60]!r}")
        reading.stopped(_FINISH[stop])
