"""Answers in Anthropic's protocol, translated from those of a chat: whole messages, events, and errors.

`MessageConnection` replaces the connection's `send`: a chat's answer goes in, whole or as events, and a message comes
out. Blocks keep the model's order: thinking, text, calls of tools.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from guard.errors import BadReply
from guard.models.remote import sse
from guard.sidecar import large
from guard.sidecar.errors import ApiError
from guard.sidecar.headers import EVENTS, Header
from guard.sidecar.request_context import RequestContext
from guard.support import json_reading
from guard.support.json_pieces import encoded

#: The signature of thinking by models without one, which is recognised when it comes back.
SIGNATURE = "guard"
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "api_error",  # the request was right, but no model gave a valid answer
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}

#: Codes of errors with status 422.
_INVALID = frozenset({"validation_failed", "truncated", "unchecked", "content_filter", "refusal"})


class MessageConnection:
    """The connection to a client that asked for a message, as a chat's answer sees it."""

    def __init__(self, context: RequestContext, send: Any, stops: tuple[str, ...]) -> None:
        self._context, self._send, self._stops = context, send, stops
        self._start: dict[str, Any] = {}
        self._held: list[bytes] = []
        self._events: _Events | None = None
        self._reader = sse.Reader()

    async def __call__(self, message: dict[str, Any]) -> None:
        """Take an ASGI message of a chat's answer, and send its translation."""
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *request_id(self._context)]
            self._start = message
            if EVENTS in message["headers"]:
                self._events = _Events(self._context, self._stops)
                await self._send(message)
            return
        data, has_more = message.get("body", b""), message.get("more_body", False)
        if self._events is None:
            self._held.append(data)
            if not has_more:
                await self._whole()
            return
        body = await large.done(large.walked(data), self._translated, self._events, data)
        if not has_more and data.startswith(b": "):  # figures that were not known when the headers were sent
            body = data[: data.index(b"\n\n") + 2] + body
        self._context.sent += len(body) - len(data)
        if body or not has_more:
            await self._send({"type": "http.response.body", "body": body, "more_body": has_more})

    def _translated(self, events: _Events, data: bytes) -> bytes:
        with _by_the_protocol():
            return b"".join(out for event in self._reader.feed(data) for out in events.take(event))

    async def _whole(self) -> None:
        start, context = self._start, self._context

        def made() -> bytes:
            data = b"".join(self._held)
            try:
                said = json_reading.read(data)
            except ValueError:
                said = json.loads(data)  # halves of surrogate pairs, as `encoded` writes them
            return encoded(message(context, said, self._stops))

        try:
            body = await large.done(sum(map(len, self._held)), made)
        except BadReply:
            context.status, context.is_answered = 0, False  # nothing was sent yet, so the answer is an error
            raise
        headers = [header for header in start["headers"] if header[0] != b"content-length"]
        context.sent = len(body)
        await self._send({**start, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
        await self._send({"type": "http.response.body", "body": body})


def message(context: RequestContext, said: Mapping[str, Any], stops: tuple[str, ...]) -> dict[str, Any]:
    """Return a chat's whole answer as a message. Raises BadReply where it breaks the protocol."""
    with _by_the_protocol():
        return _message(context, said, stops)


def check(said: Mapping[str, Any]) -> None:
    """Raise BadReply where a chat's whole answer can't be translated into a message."""
    with _by_the_protocol():
        _blocks(said["choices"][0]["message"])


def _message(context: RequestContext, said: Mapping[str, Any], stops: tuple[str, ...]) -> dict[str, Any]:
    choice = said["choices"][0]
    given = choice["message"]
    content = _blocks(given)
    reason = "refusal" if given.get("refusal") else STOP_REASONS.get(choice["finish_reason"], "end_turn")
    return {
        **_head(context, said.get("model")),
        "content": content,
        **_stop(reason, choice.get("stop_reason"), stops),
        "usage": _usage(context),
    }


def _blocks(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the content of a chat's message as blocks."""
    content: list[dict[str, Any]] = []
    signed = given.get("thinking_blocks")
    if signed:
        content += [dict(block) for block in _known(signed, list)]
    elif thought := _thought(given):
        content.append({"type": "thinking", "thinking": thought, "signature": SIGNATURE})
    if text := given.get("content") or given.get("refusal"):
        content.append({"type": "text", "text": _known(text, str)})
    for call in given.get("tool_calls") or []:
        function = call["function"]
        use = {"name": _known(function["name"], str), "input": _input(function.get("arguments"))}
        content.append({"type": "tool_use", "id": _known(call["id"], str), **use})
    return content


def error_body(error: ApiError, context: RequestContext) -> bytes:
    """Return the body of an error."""
    return encoded(_error(error.object, error.status, context))


def request_id(context: RequestContext) -> list[Header]:
    """Return the header in which Anthropic's SDKs look for a request's id."""
    return [(b"request-id", context.id.encode())]


class _Events:
    """Writes the events of one streamed message."""

    def __init__(self, context: RequestContext, stops: tuple[str, ...]) -> None:
        self._context, self._stops = context, stops
        self._is_begun = False
        self._at = -1  # the number of the latest block
        self._kind = ""  # of the block that is open; "": none is
        self._signature = SIGNATURE  # of thinking
        self._call = -1  # which call that is
        self._arguments: list[str] = []  # what it has, in pieces
        self._finish, self._stop = "end_turn", None

    def take(self, event: sse.Event) -> Iterator[bytes]:
        """Yield the translation of a chat's event."""
        if event.name == b"error":
            said = json.loads(event.data)["error"]
            status = 422 if said["code"] in _INVALID else 0
            yield _event(**_error(said, status, self._context))
        elif event.data.strip() == b"[DONE]":
            yield from self._end()
        else:
            yield from self._chunk(json.loads(event.data))

    def _chunk(self, said: Mapping[str, Any]) -> Iterator[bytes]:
        yield from self._begin(said.get("model"))
        for choice in said.get("choices") or []:
            if choice.get("index", 0) != 0:  # a message is one choice
                continue
            delta = choice.get("delta") or {}
            if thought := _thought(delta):
                yield from self._piece("thinking", "thinking_delta", "thinking", thought)
            for block in _known(delta.get("thinking_blocks") or [], list):
                yield from self._signed(block)
            if text := delta.get("content") or delta.get("refusal"):
                yield from self._piece("text", "text_delta", "text", _known(text, str))
            if delta.get("refusal"):
                self._finish = "refusal"
            for call in delta.get("tool_calls") or []:
                yield from self._called(call)
            if (finish := choice.get("finish_reason")) and self._finish != "refusal":
                self._finish = STOP_REASONS.get(finish, "end_turn")
            if finish:  # before the answer counts as whole
                yield from self._close()
            self._stop = choice.get("stop_reason") or self._stop

    def _called(self, call: Mapping[str, Any]) -> Iterator[bytes]:
        number, function = _known(call.get("index", 0), int), call.get("function") or {}
        if number < self._call or (number == self._call and self._kind != "tool_use"):
            raise BadReply("the model's server went back to a call of a tool that was over")
        if number != self._call:
            named = {"id": _known(call["id"], str), "name": _known(function["name"], str)}
            use: dict[str, Any] = {"type": "tool_use", **named, "input": {}}
            yield from self._open("tool_use", use)
            self._call = number
        if arguments := function.get("arguments"):
            self._arguments.append(_known(arguments, str))
            yield self._delta({"type": "input_json_delta", "partial_json": arguments})

    def _piece(self, kind: str, delta: str, field: str, text: str) -> Iterator[bytes]:
        if self._kind != kind:
            more = {"signature": ""} if kind == "thinking" else {}
            yield from self._open(kind, {"type": kind, field: "", **more})
        yield self._delta({"type": delta, field: text})

    def _signed(self, block: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the end of a block of thinking: the provider's signature, which it checks when the block comes back."""
        if block["type"] != "thinking":  # a redacted block has its data only
            yield from self._open(block["type"], dict(block))
        elif self._kind != "thinking":
            yield from self._piece("thinking", "thinking_delta", "thinking", _known(block["thinking"], str))
        self._signature = block.get("signature") or SIGNATURE
        yield from self._close()

    def _open(self, kind: str, block: dict[str, Any]) -> Iterator[bytes]:
        yield from self._close()
        self._at, self._kind = self._at + 1, kind
        yield _event("content_block_start", index=self._at, content_block=block)

    def _close(self) -> Iterator[bytes]:
        if self._kind == "thinking":
            yield self._delta({"type": "signature_delta", "signature": self._signature})
            self._signature = SIGNATURE
        if self._kind == "tool_use":
            if self._finish != "max_tokens":  # which may cut them
                _input("".join(self._arguments))  # raises where the client could not read it
            self._arguments.clear()
        if self._kind:
            yield _event("content_block_stop", index=self._at)
        self._kind = ""

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._at, delta=delta)

    def _begin(self, model: Any) -> Iterator[bytes]:
        if not self._is_begun:
            self._is_begun = True
            nothing = {"input_tokens": 0, "output_tokens": 0}  # not known yet; message_delta has the figures
            head = {**_head(self._context, model), "content": [], "stop_reason": None, "stop_sequence": None}
            yield _event("message_start", message={**head, "usage": nothing})

    def _end(self) -> Iterator[bytes]:
        yield from self._begin(None)
        yield from self._close()
        delta = _stop(self._finish, self._stop, self._stops)
        yield _event("message_delta", delta=delta, usage=_usage(self._context))
        yield _event("message_stop")


def _head(context: RequestContext, model: Any) -> dict[str, Any]:
    named = model if isinstance(model, str) else context.served or context.model
    return {"id": f"msg_{context.id}", "type": "message", "role": "assistant", "model": named}


def _stop(reason: str, told: Any, stops: tuple[str, ...]) -> dict[str, Any]:
    """Return why a message ended. Some servers, such as vLLM, name the stop sequence in `stop_reason`."""
    is_stop = reason == "end_turn" and isinstance(told, str) and told in stops
    return {"stop_reason": "stop_sequence" if is_stop else reason, "stop_sequence": told if is_stop else None}


def _usage(context: RequestContext) -> dict[str, Any]:
    """Return the tokens of all attempts of an answer; those of caches count apart, as in Anthropic's protocol."""
    read, kept = context.cached_tokens, context.cache_creation_tokens
    return {
        "input_tokens": max(0, context.prompt_tokens - (read or 0) - (kept or 0)),
        "output_tokens": context.completion_tokens,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": kept,
    }


def _thought(part: Mapping[str, Any]) -> str:
    """Return the thinking in a message, or in a piece of one, under any server's name for it."""
    thought = part.get("reasoning_content") or part.get("reasoning")
    return thought if isinstance(thought, str) else ""


@contextlib.contextmanager
def _by_the_protocol() -> Iterator[None]:
    """Return what breaks the protocol in an answer that passed through unchecked."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError):
        raise BadReply("the model did not answer by the protocol: what it says is no message") from None


def _known(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _input(arguments: Any) -> dict[str, Any]:
    try:
        given = json.loads(arguments or "{}")
    except (RecursionError, TypeError, ValueError):
        given = None
    if not isinstance(given, dict):
        raise BadReply("the model called a tool with what is no JSON object")
    return given


def _error(said: Mapping[str, Any], status: int, context: RequestContext) -> dict[str, Any]:
    """Return an error in Anthropic's form; Guard's own members are in the same object."""
    kind = _TYPES.get(status, said["type"] if status < 500 else "api_error")
    return {"type": "error", "error": {**said, "type": kind}, "request_id": context.id}


def _event(type: str, **fields: Any) -> bytes:  # noqa: A002 (the protocol's)
    return f"event: {type}\ndata: ".encode() + encoded({"type": type, **fields}) + b"\n\n"
