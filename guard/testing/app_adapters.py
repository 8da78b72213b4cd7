"""Adapters: the interfaces by which an application under test may ask a model, and the stage that answers them all.

The stage has a script of replies. Each request gets the next one, and the last one repeats. The stage keeps a copy of
each request. Adapters are a model of Guard's, a server that speaks OpenAI's and Anthropic's protocols, and a plain
function from a prompt to a text.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guard.errors import GuardError, ModelError, RateLimited, TimedOut, Unavailable
from guard.models.base import Reply, Request
from guard.models.scripted import split
from guard.models.thinking_tags import Thoughts
from guard.testing import fake_server
from guard.testing.scripted_replies import TOOL_ERRORS, ScriptedReply, written

MOST_ASKS = 24  #: Requests of one call after which the application is stopped: it asks without end.
APART_S = 0.03  #: Seconds between two replies of a batch.
PAUSE_S = 0.2  #: Seconds until a request after the end of its call gets its error.
MOST_PIECES = 25  #: Most pieces into which a body is cut on the network.
MOST_PIECES_OF_TEXT = 400  #: Most pieces of a streamed text.
CANARY = "sk-guard-canary-5f1c7a9e0b3d"  #: The API key that applications under test are given. It must appear nowhere.


class Enough(BaseException):
    """Raised in an application that asks without end. A BaseException, so that the application does not catch it."""


@dataclass
class ObservedRequest:
    """One request of the application, and how it was answered."""

    number: int  # from 1
    port: str  # "model", "http" or "function"
    model: str  # as asked for
    served: str  # as the answer names it
    messages: list[dict[str, Any]]  # a copy
    schema: Any  # the request's schema; None where it had none
    is_streaming: bool
    reply: ScriptedReply
    temperature: float | None = None
    usage: tuple[int, int] | None = None  # (prompt, completion) tokens, as reported; None where they were not
    was_left: bool = False  # the application left the stream before its end
    was_whole: bool = False  # the application took the stream to its end
    sources: Mapping[str, str] | None = None  # the inputs that grounded values come from; None where unknown
    is_aside: bool = False  # of another step of the application: answered with a valid value of its own schema
    may_call: bool = False  # whether the model chooses which of the offered tools it calls

    @property
    def words(self) -> str:
        """All messages, as one text."""
        return "\n".join(content(message) for message in self.messages)


def content(message: Mapping[str, Any]) -> str:
    """Return a message's text."""
    inner = message.get("content")
    if isinstance(inner, str):
        return inner
    if isinstance(inner, Sequence):
        return "\n".join(str(part.get("text", "")) for part in inner if isinstance(part, Mapping))
    return ""


@dataclass
class Stage:
    """Answers by a script, and keeps the requests. Thread-safe."""

    replies: tuple[ScriptedReply, ...] = ()
    pieces: int = 0  # characters of each piece of a stream; 0: one piece
    wire: int = 0  # bytes of each piece that goes over the network; 0: as it comes
    asks: list[ObservedRequest] = field(default_factory=list)
    refuses_schemas: bool = False  # over HTTP: requests with a schema or tools are answered by HTTP 400
    refused: list[ObservedRequest] = field(default_factory=list)  # those
    is_over: bool = False  # the call has ended: later requests get an error
    is_overasked: bool = False  # there were too many requests
    aside: Callable[[Any], ScriptedReply | None] | None = (
        None  # the reply to a request with this schema of another step
    )
    by_text: tuple[tuple[str, ScriptedReply], ...] = ()  # of a batch: the reply to a request that holds the text
    _meeting: threading.Barrier | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def size(self, text: str) -> int:
        """Return the characters of each piece of a streamed text; 0 for one piece."""
        return max(self.pieces, len(text) // MOST_PIECES_OF_TEXT) if self.pieces else 0

    def set(
        self, replies: Sequence[ScriptedReply], *, pieces: int = 0, wire: int = 0, refuses_schemas: bool = False
    ) -> None:
        """Begin a call."""
        with self._lock:
            self.replies, self.pieces, self.wire = tuple(replies), pieces, wire
            self.asks, self.refused, self.refuses_schemas = [], [], refuses_schemas
            self.is_over = self.is_overasked = False

    def begin_batch(self, by_text: tuple[tuple[str, ScriptedReply], ...], *, are_together: bool) -> None:
        """Answer requests by the texts that they hold, where there are any."""
        self.by_text = by_text
        self._meeting = threading.Barrier(len(by_text)) if by_text and are_together else None

    def wait(self, ask: ObservedRequest) -> None:
        """Wait before a reply of a batch is sent: for the other requests, or until the later ones are answered."""
        place = next((at for at, (_, reply) in enumerate(self.by_text) if reply is ask.reply), None)
        if place is None:
            return
        if self._meeting is None:
            threading.Event().wait(APART_S * (len(self.by_text) - 1 - place))
            return
        with contextlib.suppress(threading.BrokenBarrierError):  # the application asks one after the other
            self._meeting.wait(APART_S)

    def ask(
        self, port: str, model: str, messages: Any, schema: Any, *, streaming: bool, **more: Any
    ) -> ObservedRequest:
        """Record a request and return its reply. Raises Enough where there were too many."""
        kept = [dict(copy.deepcopy(message)) for message in messages]
        if self.is_over:  # slows down an application that catches everything and goes on: nobody waits for it any more
            threading.Event().wait(PAUSE_S)
        with self._lock:
            number = len(self.asks) + 1
            if self.is_over or number > MOST_ASKS:
                self.is_overasked = True
                raise Enough(f"asked {number} times in one call")
            aside = None if self.aside is None or schema is None else self.aside(schema)
            turn = 1 + sum(not ask.is_aside for ask in self.asks)
            reply = self.replies[min(turn, len(self.replies)) - 1] if aside is None else aside
            reply = next((one for text, one in self.by_text if any(text in content(m) for m in kept)), reply)
            more["is_aside"] = aside is not None
            ask = ObservedRequest(
                number, port, model, f"{model}-served", kept, copy.deepcopy(schema), streaming, reply, **more
            )
            self.asks.append(ask)
            return ask


def usage_of(ask: ObservedRequest) -> tuple[int, int]:
    """Return the tokens of a request, chosen such that a sum tells which requests it contains."""
    return 100 + 7 * ask.number, 10 + 3 * ask.number


class ModelAdapter:
    """A model of Guard's that the stage answers for."""

    def __init__(self, stage: Stage, name: str = "staged") -> None:
        self.name = name
        self._stage = stage

    def generate(self, request: Request) -> Reply:
        """Answer as the script says."""
        ask = self._asked(request, streaming=False)
        reply = self._reply(ask)
        ask.was_whole = True
        return reply

    async def agenerate(self, request: Request) -> Reply:
        """Answer as the script says."""
        await asyncio.sleep(0)
        return self.generate(request)

    def stream(self, request: Request) -> Iterator[str | Reply]:
        """Answer as the script says, in pieces."""
        ask = self._asked(request, streaming=True)
        try:
            yield from self._parts(ask)
            ask.was_whole = True
        except GeneratorExit:
            ask.was_left = True
            raise

    async def astream(self, request: Request) -> AsyncIterator[str | Reply]:
        """Answer as the script says, in pieces."""
        ask = self._asked(request, streaming=True)
        try:
            for part in self._parts(ask):
                await asyncio.sleep(0)
                yield part
            ask.was_whole = True
        except (GeneratorExit, asyncio.CancelledError):
            ask.was_left = True
            raise

    def _asked(self, request: Request, *, streaming: bool) -> ObservedRequest:
        compiled = request.compiled
        schema = None if compiled is None else compiled.schema
        more: dict[str, Any] = {"temperature": request.temperature}
        if (sources := getattr(compiled, "sources", None)) is not None:
            more["sources"] = sources.inputs
        return self._stage.ask("model", self.name, request.messages, schema, streaming=streaming, **more)

    def _parts(self, ask: ObservedRequest) -> Iterator[str | Reply]:
        if not ask.reply.finish:
            yield from split(ask.reply.text, self._stage.size(ask.reply.text) or None)
            raise self._error("reset")
        reply = self._reply(ask)
        yield from split(reply.text, self._stage.size(reply.text) or None)
        yield reply

    def _reply(self, ask: ObservedRequest) -> Reply:
        reply = ask.reply
        if reply.error or not reply.finish:
            raise self._error(reply.error or "reset")
        ask.usage = usage_of(ask)
        thoughts = Thoughts(is_value=True)  # a model of Guard's never has thinking in its text
        text = thoughts.feed(reply.text) + thoughts.end()
        return Reply(
            text=text,
            finish=reply.finish,
            model=ask.served,
            prompt_tokens=ask.usage[0],
            completion_tokens=ask.usage[1],
            thinking=reply.thinking or thoughts.thought,
            cost=0.0,
        )

    def _error(self, name: str) -> BaseException:
        words = f"{self.name}: {name} (injected)"
        kinds: dict[str, type[GuardError]] = {
            "unavailable": Unavailable,
            "broken": Unavailable,
            "reset": Unavailable,
            "rate limited": RateLimited,
            "timed out": TimedOut,
        }
        return kinds.get(name, ModelError)(words)


class FunctionAdapter:
    """A plain function from a prompt, or from messages, to a text."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        """Answer as the script says."""
        messages = _prompted([*args, *kwargs.values()])
        schema = next(
            (v for k, v in kwargs.items() if k in ("schema", "response_format") and isinstance(v, dict)), None
        )
        ask = self._stage.ask("function", str(kwargs.get("model", "function")), messages, schema, streaming=False)
        reply = ask.reply
        if reply.error in ("timed out",):
            raise TimeoutError("no answer in time (injected)")
        if reply.error or not reply.is_told:
            raise ConnectionError(f"{reply.error or reply.how} (injected)")
        return reply.text


class AsyncFunctionAdapter(FunctionAdapter):
    """The same as a coroutine function."""

    async def __call__(self, *args: Any, **kwargs: Any) -> str:  # type: ignore[override] # a coroutine of the same
        """Answer as the script says."""
        await asyncio.sleep(0)
        return super().__call__(*args, **kwargs)


def _prompted(given: Sequence[Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for part in given:
        if isinstance(part, str):
            messages.append({"role": "user", "content": part})
        elif isinstance(part, Sequence) and part and all(isinstance(m, Mapping) for m in part):
            messages += [dict(m) for m in part]
    return messages


class HttpAdapter(fake_server.Server):
    """A server that answers for the stage, by OpenAI's protocol or by Anthropic's."""

    def __init__(self, stage: Stage, port: int = 0) -> None:
        super().__init__(keeps_alive=True, port=port)
        self._stage = stage

    def answer(self, request: fake_server.ClientRequest) -> fake_server.Answer:
        """Return the scripted answer."""
        body = request.body
        schema = schema_of(body)
        stage = self._stage
        model = str(body.get("model", ""))
        messages = messages_of(body)
        if messages is None:
            return fake_server.error(400, "messages and input must be lists")
        if stage.refuses_schemas and schema is not None:
            refused = ObservedRequest(
                0, "http", model, model, messages, schema, request.is_streaming, ScriptedReply("schema refused")
            )
            stage.refused.append(refused)
            words = (
                "Invalid schema: 'response_format' of type 'json_schema' and 'tools' are not supported with this model"
            )
            return fake_server.error(400, words)
        try:
            more = {"temperature": body.get("temperature"), "may_call": may_call(body)}
            ask = stage.ask("http", model, messages, schema, streaming=request.is_streaming, **more)
        except Enough as enough:
            time.sleep(0.05)
            return fake_server.error(400, str(enough))
        reply = ask.reply
        stage.wait(ask)
        if reply.error in TOOL_ERRORS:
            reply = dataclasses.replace(reply, error="", calls=_wrong_calls(reply, request))
        elif reply.error:
            return _failure(reply.error, request)
        return self._answered(ask, reply, request)

    def _answered(
        self, ask: ObservedRequest, reply: ScriptedReply, request: fake_server.ClientRequest
    ) -> fake_server.Answer:
        ask.usage = usage_of(ask)
        wants = (request.body.get("stream_options") or {}).get("include_usage")
        finish = {"filter": "content_filter", "refusal": "stop", "": "stop"}.get(reply.finish, reply.finish)
        is_broken, wire = not reply.finish, self._stage.wire

        def change(body: bytes) -> list[Any]:
            sent = body
            if is_broken:
                sent = sent.rpartition(b'"finish_reason": "stop"')[0] if request.is_streaming else sent[:-9]
                if request.is_streaming:
                    sent = sent.rpartition(b"data: ")[0]
            pieces: list[Any] = [sent[at : at + wire] for at in range(0, len(sent), wire)] if wire else [sent]
            if wire and len(pieces) > 1:
                size = max(wire, len(sent) // MOST_PIECES)
                pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
                pieces = [part for piece in pieces for part in (piece, 0.0005)][:-1]
            return [*pieces, fake_server.RESET] if is_broken and not request.is_streaming else pieces

        if is_broken or (request.is_streaming and not wants and not request.is_anthropic):
            ask.usage = None
        return fake_server.Answer(
            text=reply.text,
            refusal=reply.text if reply.finish == "refusal" else None,
            finish=finish,
            thinking=reply.thinking,
            usage=usage_of(ask),
            model=ask.served,
            piece=self._stage.size(reply.text) or max(1, len(reply.text)),
            change=change if is_broken or wire else None,
            left=lambda: setattr(ask, "was_left", True),
            calls=reply.calls or None,
        )


def _wrong_calls(reply: ScriptedReply, request: fake_server.ClientRequest) -> tuple[tuple[str, str], ...]:
    """Return the calls of a model that calls tools as it should not."""
    name = request.first_tool if request.is_tool else "value"
    if reply.error == "unknown tool":
        return ((f"no_such_{name}", reply.text),)
    whole = json.loads(reply.text)
    parts = [dict(list(whole.items())[start::2]) for start in (0, 1)] if isinstance(whole, dict) else [{}, {}]
    return tuple((name, written(part)) for part in parts)


def may_call(body: Mapping[str, Any]) -> bool:
    """Whether a request offers tools and leaves it to the model which of them it calls, and how often."""
    choice = body.get("tool_choice")
    return bool(body.get("tools")) and (not isinstance(choice, Mapping) or choice.get("type") in ("auto", "any"))


_STATUS = {"unavailable": 503, "broken": 500, "rate limited": 429, "timed out": 504}


def _failure(name: str, request: fake_server.ClientRequest) -> fake_server.Answer:
    if name in _STATUS:
        # A client that honours Retry-After loses no time.
        return fake_server.error(_STATUS[name], f"{name} (injected)", {"Retry-After": "0.01", "retry-after-ms": "10"})
    if name == "unauthorized":
        sent = request.headers.get("authorization", request.headers.get("x-api-key", ""))
        return fake_server.error(
            401, f"Incorrect API key provided: {sent.removeprefix('Bearer ')}", code="invalid_api_key"
        )
    if name == "no JSON":
        return fake_server.Answer(
            raw=b"<html><body>502 Bad Gateway</body></html>", headers={"Content-Type": "text/html"}
        )
    if name == "no choices":
        return fake_server.Answer(
            raw=b'{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}'
        )
    assert name == "reset", name
    return fake_server.Answer(raw=b"", change=lambda _: [fake_server.RESET])


def messages_of(body: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the messages of a request, in any of the protocols; None where they are none."""
    given = body.get("messages") or body.get("input") or []
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not all(isinstance(message, dict) for message in given):
        return None
    system = body.get("instructions") or body.get("system")
    return [{"role": "system", "content": system}, *given] if isinstance(system, str) else given


def schema_of(body: Mapping[str, Any]) -> Any:
    """Return the schema in a request of either protocol, or None."""
    form = body.get("response_format")
    if isinstance(form, Mapping):
        inner = form.get("json_schema") or form.get("schema")
        if isinstance(inner, Mapping):
            return inner.get("schema", inner if "properties" in inner or "type" in inner else None)
    for tool in body.get("tools") or ():
        if isinstance(tool, Mapping):
            function = tool.get("function")
            inner = function if isinstance(function, Mapping) else tool
            found = inner.get("parameters", inner.get("input_schema"))
            if found is not None:
                return found
    output = body.get("output_config") or body.get("output_format") or body.get("text")
    if isinstance(output, Mapping):
        inner = output.get("format", output)
        return inner.get("schema") if isinstance(inner, Mapping) else None
    for name in ("guided_json", "json_schema"):
        if name in body:
            return body[name] if not isinstance(body[name], str) else json.loads(body[name])
    return None


#: A function in place of a model, of either kind.
Function = Callable[..., str]
