"""Anthropic as an upstream: chat completions are translated into its protocol, and its answers back.

The rest of the sidecar sees chats only, so no other file knows of Anthropic's protocol. `check` refuses, by name and
before anything is sent, each field that the protocol cannot express.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Container, Iterator, Mapping
from typing import Any

from guard.errors import BadReply
from guard.models.remote import anthropic_chat
from guard.models.remote.anthropic import API_KEY, BASE_URL, URL
from guard.models.remote.anthropic_chat import Chunks, UnsayableError, completion, request, settings, thinks, version
from guard.models.remote.errors import ExchangeError, broken_off, of_event
from guard.models.remote.exchange import Exchange
from guard.models.remote.http import count
from guard.sidecar import large
from guard.sidecar.bodies import aparsed
from guard.sidecar.errors import bad
from guard.sidecar.event_stream import DONE
from guard.sidecar.upstream import Upstream
from guard.support import json_reading
from guard.support.json_pieces import encoded

TOKEN = "ANTHROPIC_AUTH_TOKEN"
#: Fields of a message that a count of its tokens is asked with.
COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control")
NO_COUNT = frozenset({404, 405, 501})  #: Statuses of a server that speaks the protocol, but does not count tokens.
PATH = "/chat/completions"  #: The one path of OpenAI's protocol that it answers.


class AnthropicUpstream(Upstream):
    """Anthropic, or a server that speaks its protocol. Belongs to one event loop."""

    is_translated = True

    def __init__(
        self, name: str, base_url: str | None, api_key: str | None, response_bytes: int, most_tokens: int
    ) -> None:
        """Make one. `most_tokens` is the limit of an answer whose request names none: the protocol demands a number."""
        super().__init__(name, base_url, api_key, response_bytes, names=(BASE_URL, API_KEY, URL))
        self._most_tokens = most_tokens
        self.url += "/v1"
        if "Authorization" not in self._headers and self.is_environments and (token := os.environ.get(TOKEN)):
            self._headers["Authorization"] = f"Bearer {token}"
            self.secrets = (*self.secrets, token)

    def speaks(self, path: str) -> bool:
        """Whether it answers at a path of OpenAI's protocol."""
        return path == PATH

    def check(self, body: Mapping[str, Any]) -> None:
        """Raise ApiError for a chat that the protocol cannot express."""
        if (body.get("temperature") or 0) > 1:
            raise bad(f"temperature: {self.name} takes 0 to 1", "temperature", "unsupported_value")
        try:
            anthropic_chat.check(body)
        except UnsayableError as error:
            raise bad(str(error), error.field, "unsupported_value") from None

    def own(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a chat says beside its messages and schema, in the provider's words."""
        return settings(body)

    def can_force(self, body: Mapping[str, Any]) -> bool:
        """Whether a call of a tool can be forced. It can't while the model thinks."""
        return not thinks(settings(body))

    async def count_tokens(self, body: bytes, seconds: float, retries: int) -> int | None:
        """Return how many tokens a chat's prompt is, as the provider counts them; None where it does not."""
        payload, exchange = await self._payload(body, COUNTED), Exchange(self.name, seconds, retries)

        async def once() -> int:
            async with self.asked("/messages/count_tokens", *payload) as response:
                said = self._object(await self.whole(response))
            if (number := count(said.get("input_tokens"), -1)) < 0:
                raise ExchangeError(BadReply(f"{self.name} did not answer by the protocol: no input_tokens"))
            return number

        try:
            async with exchange.deadline():
                return await exchange.whole(once)
        except ExchangeError as failure:
            if failure.status in NO_COUNT and "model" not in failure.words.lower():
                return None
            raise failure.told() from failure

    async def post(self, path: str, body: bytes) -> tuple[bytes, dict[str, Any]]:
        """Return the bytes of an answer and what they say; raises ExchangeError where there is no good one."""
        assert self.speaks(path)
        async with self.asked("/messages", *await self._payload(body)) as response:
            data = await self.whole(response)

        def made() -> tuple[bytes, dict[str, Any]]:
            message = self._object(data)
            with self._by_the_protocol():
                said = completion(message, data.decode())
            return encoded(said), said

        return await large.done(json_reading.weight(data), made)

    async def events(self, path: str, body: bytes) -> AsyncGenerator[tuple[bytes, dict[str, Any] | None], None]:
        """Yield the events of a chat completion as they come, and what each says; None for the [DONE] at the end."""
        assert self.speaks(path)
        options = (await aparsed(body)).get("stream_options")
        chunks = Chunks(tells_usage=isinstance(options, Mapping) and bool(options.get("include_usage")))
        async with self.asked("/messages", *await self._payload(body)) as response:
            if response.content_type != "text/event-stream":
                raise ExchangeError(BadReply(f"{self.name} did not stream: {response.content_type[:60]}"))
            async for event in self._split(response):
                if event.name == b"error":
                    raise of_event(event.data, self.name, self.secrets)
                for made in await large.done(json_reading.weight(event.data), self._chunks, event.data, chunks):
                    yield made
                if chunks.is_over:
                    yield DONE, None
                    return
        raise broken_off(self.name)

    def _chunks(self, data: bytes, chunks: Chunks) -> list[tuple[bytes, dict[str, Any]]]:
        """Return the chunks of an event, each as it is sent and what it says."""
        said = self._object(data)
        with self._by_the_protocol():
            made = list(chunks.take(said))
        return [(b"data: " + encoded(chunk) + b"\n\n", chunk) for chunk in made]

    async def _payload(self, body: bytes, fields: Container[str] | None = None) -> tuple[bytes, dict[str, str]]:
        """Return what is sent for a chat, or some fields of it, and the header that says by which version."""

        chat = await aparsed(body)

        def made() -> tuple[bytes, dict[str, str]]:
            asked = request(chat, self._most_tokens)
            if fields is not None:
                asked = {name: value for name, value in asked.items() if name in fields}
            return encoded(asked), {"anthropic-version": version(asked)}

        has_schema = chat.get("tools") or chat.get("response_format")  # which is translated part by part
        return await large.done(len(body) * (large.STEPWISE if has_schema else 1), made)

    @contextlib.contextmanager
    def _by_the_protocol(self) -> Iterator[None]:
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            words = f"{self.name} did not answer by the protocol: what it says is no message"
            raise ExchangeError(BadReply(words)) from None
