"""Any server that speaks OpenAI's chat completions: `openai:NAME` honours OPENAI_BASE_URL and OPENAI_API_KEY.

The environment's key is sent only to the address that the environment names, never to a given `base_url`. Bodies are
parsed strictly and within bounds. Modes and retries are in remote_model.py.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import sys
from collections.abc import AsyncGenerator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from guard.errors import ModelError
from guard.kernels.cached import cached_property
from guard.models.base import Request
from guard.models.remote import usage
from guard.models.remote.address import UNUSED_KEY, address, check_key
from guard.models.remote.api_client import ApiClient, openai_headers
from guard.models.remote.errors import ExchangeError, making, mapped, of_stream
from guard.models.remote.http import Body, http_options, parsed
from guard.models.remote.known_servers import url_of
from guard.models.remote.remote_model import ProviderRequest, Remote, ReplyReader, shape
from guard.models.remote.runners import Runner, done
from guard.output import provider_schema

if TYPE_CHECKING:
    import httpx2
    import openai

BASE_URL, API_KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"  #: Variables of the environment.
URL = "https://api.openai.com/v1"  #: OpenAI's own address.
#: Reply.finish by the provider's finish_reason.
_FINISH = {
    **dict.fromkeys(("stop", "tool_calls", "function_call", "tool_use", "end_turn", "stop_sequence", "eos"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "model_length"), "length"),
    **dict.fromkeys(("content_filter", "safety"), "filter"),
    "refusal": "refusal",
}
#: Parameters that a server may not know; each is given up separately.
_OPTIONAL = ("stream_options", "seed", "temperature", "parallel_tool_calls", "reasoning_effort")
_REASONS = re.compile(r"(o\d|gpt-5)")  #: OpenAI's models that think by default.
_EFFORTS = ("none", "minimal", "low")  #: Their lowest efforts, which differ between them.
_UNKNOWN = re.compile(r"support|recogni|unknown|extra|unexpected|permitted|allowed|invalid|unavailable", re.IGNORECASE)
_FORMAT = re.compile(r"response_format|json_object|json mode|json_mode", re.IGNORECASE)
_NAME = re.compile(r"[^A-Za-z0-9_-]")


class OpenAIModel(Remote):
    """A model of OpenAI's, or of any server that speaks its protocol. Thread-safe.

    `mode` is native, tool or prompt; None takes the strongest that can carry a schema. `retries` are the transport's.
    `timeout` is the longest silence in seconds; a request's own deadline holds as well. `extra` is added to every
    request's body: {"reasoning_effort": "low"}. `provider` names the provider for prices, where the address does not
    tell. A `client` of OpenAI's SDK is used on Guard's event loop from then on, and only in the process that made it.
    `title` is the model's name in replies and traces, by default `openai:NAME`. Raises ModelError for an unknown mode,
    numbers out of bounds, or a missing key.
    """

    dialect = provider_schema.OPENAI

    def __init__(
        self,
        name: str,
        *,
        client: openai.AsyncOpenAI | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        mode: str | None = None,
        retries: int = 2,
        timeout: float = 600.0,
        provider: str | None = None,
        extra: Mapping[str, Any] = MappingProxyType({}),
        title: str | None = None,
    ) -> None:
        title = title or f"openai:{name}"
        where = address(base_url, BASE_URL, URL)
        # OpenAI requires a key; another server may not.
        key = where.key(api_key, API_KEY) or (None if where.is_default else UNUSED_KEY)

        def make(runner: Runner) -> Any:
            if key is None:
                raise ModelError(f"{title} can't be asked: set OPENAI_API_KEY, or give api_key")
            with making(title, (key, *where.secrets)):
                check_key(key)
                headers = openai_headers(key, where.is_environments)
                return ApiClient(runner, where.url, headers, http_options(runner, title, where, key))

        self._where = where
        self._sdk: Any = client and sys.modules["openai"]
        self._key = key if client is None else client.api_key
        given = client and client.with_options(max_retries=0)
        super().__init__(
            name,
            title=title,
            client=given,
            make=make,
            mode=mode,
            retries=retries,
            timeout=timeout,
            provider=provider,
            extra=extra,
        )

    @property
    def _secrets(self) -> tuple[str, ...]:
        """What must not be told of a provider's errors: the key, and what the address holds."""
        has_key = isinstance(self._key, str) and self._key != UNUSED_KEY
        return (*((self._key,) if has_key else ()), *self._where.secrets)

    @classmethod
    def at_server(cls, server: str, name: str, **more: Any) -> OpenAIModel:
        """Return a model of a local server of known_servers.py: `at_server("ollama", "qwen3")`."""
        return cls(name, base_url=url_of(server), title=f"{server}:{name}", **more)

    @cached_property
    def _is_openai(self) -> bool:
        return str(self._client.base_url.host).endswith("openai.com")

    @property
    def _budget(self) -> str:
        """Return the name of the token limit: the caller's, else OpenAI's new one, or the older one of others."""
        named = next((name for name in ("max_completion_tokens", "max_tokens") if name in self._wished), None)
        is_new = self._is_openai if named is None else named == "max_completion_tokens"
        is_new = is_new != ("max_tokens" in self._conceded)  # refused before: the other one
        return "max_completion_tokens" if is_new else "max_tokens"

    def _body(self, request: Request, mode: str, sent: provider_schema.Sent | None) -> dict[str, Any]:
        conceded = self._conceded
        fields: dict[str, Any] = {
            "temperature": request.temperature,
            "seed": request.seed % 2**31,
        }
        if request.thinking == 0 and self._is_openai and _REASONS.match(self.model):
            effort = next((effort for effort in _EFFORTS if f"reasoning_effort={effort}" not in conceded), None)
            fields |= {"reasoning_effort": effort} if effort else {}
        name = _NAME.sub("_", request.name)[:64] or "value"
        if sent is not None and mode == "native":
            schema = {"name": name, "strict": True, "schema": sent.schema}
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif sent is not None:
            function = {"name": name, "description": "Takes the answer.", "parameters": sent.schema}
            fields["tools"] = [{"type": "function", "function": function}]
            fields["tool_choice"] = {"type": "function", "function": {"name": name}}
            fields["parallel_tool_calls"] = False
        elif request.compiled is not None and "response_format" not in conceded:
            schema = request.compiled.contents
            if isinstance(schema, Mapping) and schema.get("type") == "object":
                fields["response_format"] = {"type": "json_object"}
        return self._sent_body(fields)

    async def _receive(self, provider_request: ProviderRequest, reading: ReplyReader) -> None:
        secrets = self._secrets
        with mapped(self._sdk, self.name, secrets):
            async with self._sent_to(provider_request, {"stream": False}) as response:
                body = Body.of(response, self.name, provider_request.runner, secrets)
                await body.check_status()
                await self._read_whole(provider_request, reading, body, secrets)

    async def _receive_pieces(
        self, provider_request: ProviderRequest, reading: ReplyReader
    ) -> AsyncGenerator[str, None]:
        name, secrets = self.name, self._secrets
        fields: dict[str, Any] = {"stream": True}
        if "stream_options" not in self._conceded:
            fields["stream_options"] = {"include_usage": True}
        with mapped(self._sdk, name, secrets):
            async with self._sent_to(provider_request, fields) as response:
                body = Body.of(response, name, provider_request.runner, secrets)
                await body.check_status()
                if body.has_events:
                    is_begun = False
                    async with contextlib.aclosing(body.events()) as events:
                        async for event in events:
                            if event.strip() == "[DONE]":
                                shape(is_begun, name, "it ended its stream before it began an answer")
                                shape(reading.finish is not None, name, "no finish_reason")
                                break
                            chunk = await done(
                                provider_request.runner, len(event), functools.partial(parsed, event, name)
                            )
                            is_begun = is_begun or bool(chunk.get("choices"))
                            for piece in reading.pieces(_read(reading, chunk, "delta", name, secrets)):
                                yield piece
                else:
                    for piece in reading.pieces(await self._read_whole(provider_request, reading, body, secrets)):
                        yield piece

    def _sent_to(
        self, provider_request: ProviderRequest, fields: Mapping[str, Any]
    ) -> contextlib.AbstractAsyncContextManager[httpx2.Response]:
        """Send a request, with more parameters; yield the response, and close it at the end."""
        body = {
            "model": self.model,
            "messages": provider_request.messages,
            **fields,
            self._budget: provider_request.max_tokens,
            **provider_request.body,
        }
        client = self._clients.of(provider_request.runner)
        return provider_request.opened(client, "/chat/completions", body, self._sdk and self._sdk.Stream)

    async def _read_whole(
        self, provider_request: ProviderRequest, reading: ReplyReader, body: Body, secrets: tuple[str, ...]
    ) -> str:
        """Read an answer that comes whole; return the text in it."""
        said, name = await body.text(), self.name
        text = await done(
            provider_request.runner, len(said), lambda: _read(reading, parsed(said, name), "message", name, secrets)
        )
        shape(reading.finish is not None, name, "no finish_reason")
        return text

    def _concede(self, provider_request: ProviderRequest, failure: ExchangeError) -> bool:
        conceded, words, lowered = self._conceded, failure.words, failure.words.lower()
        names_budget = "max_completion_tokens" in lowered or (
            self._budget == "max_tokens" and "'max_tokens'" in lowered
        )
        if names_budget and "max_tokens" not in conceded and _UNKNOWN.search(words):
            conceded.add("max_tokens")
            return True
        for field in _OPTIONAL:
            if self._may_concede(field, failure) and _UNKNOWN.search(words):
                effort = provider_request.body.get("reasoning_effort") if field == "reasoning_effort" else None
                given_up = f"{field}={effort}" if effort else field
                if given_up not in conceded:
                    conceded.add(given_up)
                    return True
        if provider_request.mode == "prompt" and "response_format" in provider_request.body and _FORMAT.search(words):
            conceded.add("response_format")
            return True
        return False


def _read(reading: ReplyReader, message: Mapping[str, Any], key: str, name: str, secrets: tuple[str, ...]) -> str:
    """Read a whole answer, with a `message`, or a chunk of a stream, with a `delta`; return the text in it."""
    if message.get("error"):
        raise of_stream(message["error"], name, secrets)
    if isinstance(model := message.get("model"), str) and model:
        reading.model = model
    reading.used(**usage.told(message.get("usage")))
    choices: Any = message.get("choices")
    if key == "delta" and not choices:
        return ""
    shape(isinstance(choices, list) and len(choices) > 0 and isinstance(choices[0], Mapping), name, "no choices")
    choice: Mapping[str, Any] = choices[0]
    if (finish := choice.get("finish_reason")) is not None:
        shape(isinstance(finish, str) and finish.lower() in _FINISH, name, f"finish_reason {str(finish)[:60]!r}")
        reading.stopped(_FINISH[finish.lower()])
    part: Any = choice.get(key)
    if part is None and key == "delta":
        return ""
    shape(isinstance(part, Mapping), name, f"no {key}")
    for field in ("reasoning_content", "reasoning"):
        if isinstance(thought := part.get(field), str) and thought:
            reading.think(thought)
            break
    if isinstance(refusal := part.get("refusal"), str):
        reading.refusal += refusal
    out = reading.text(_text(part.get("content"), name))
    calls = part.get("tool_calls") or ()
    shape(isinstance(calls, list | tuple), name, "tool_calls")
    for index, call in enumerate(calls):
        function: Any = call.get("function") if isinstance(call, Mapping) else None
        shape(isinstance(function, Mapping), name, "tool_calls")
        arguments = function.get("arguments") or ""
        if isinstance(arguments, Mapping):  # some servers send an object instead of a text
            arguments = json.dumps(arguments, ensure_ascii=False)
        shape(isinstance(arguments, str), name, "a tool's arguments")
        number = call.get("index")
        out += reading.call(index if number is None else number, arguments)
    return out


def _text(content: Any, name: str) -> str:
    """Return a message's text, from a text or from a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    shape(isinstance(content, list) and all(isinstance(part, Mapping) for part in content), name, "content")
    texts = [part.get("text", "") for part in content if part.get("type") == "text"]
    shape(all(isinstance(text, str) for text in texts), name, "content")
    return "".join(texts)
