"""Fake providers: local servers that speak OpenAI's two protocols and Anthropic's and answer from a script.

An answer is a text, an `Answer`, or a function of the request. A text becomes a whole answer of the request's protocol:
streamed if that is asked for, and a call of a tool if one is forced. `FAULTS` are the ways in which providers fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

from guard.testing import fake_responses

RESET = object()  #: As a chunk of an answer: the connection is reset there.
HANG = object()  #: As a chunk: nothing more comes, and the connection stays open.


@dataclass(frozen=True)
class ClientRequest:
    """A request of a client."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def is_anthropic(self) -> bool:
        """Whether it is in Anthropic's protocol."""
        return self.path.endswith("/messages")

    @property
    def is_response(self) -> bool:
        """Whether it is in OpenAI's newer protocol, Responses."""
        return self.path.endswith("/responses")

    @property
    def first_tool(self) -> str:
        """The name of the first tool that is offered, in any of the protocols."""
        tool = self.body["tools"][0]
        return str(tool["function"]["name"] if "function" in tool else tool.get("name", ""))

    @property
    def is_streaming(self) -> bool:
        """Whether events are asked for."""
        return bool(self.body.get("stream"))

    @property
    def is_tool(self) -> bool:
        """Whether it forces a call of a tool."""
        return bool(self.body.get("tools"))


@dataclass(frozen=True)
class Answer:
    """The answer to one request. Its chunks are bytes, seconds to wait, RESET or HANG."""

    text: str = ""
    finish: str = "stop"
    refusal: str | None = None
    thinking: str | None = None
    usage: tuple[int, int] | None = (11, 7)  # (prompt, completion) tokens
    cached: int | None = None  # cached tokens of the prompt; None where not reported
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None  # the whole body, in place of one made from the text
    change: Callable[[bytes], list[Any]] | None = None  # the body → chunks
    piece: int = 3  # characters of each event
    model: str = "served-1"
    left: Callable[[], object] | None = None  # called when the client disconnects before the end
    beyond: tuple[Any, ...] = ()  # chunks after the answer, not counted by Content-Length
    calls: tuple[tuple[str, str], ...] | None = None  # (name, arguments); None: the first tool's, where tools are given

    def chunks(self, request: ClientRequest) -> list[Any]:
        """Return the chunks of the body."""
        if self.raw is not None:
            body = self.raw
        elif request.is_streaming:
            body = b"".join(self.events(request))
        else:
            body = _json(self._whole(request))
        return self.change(body) if self.change else [body]

    def _whole(self, request: ClientRequest) -> dict[str, Any]:
        if request.is_response:
            return fake_responses.whole(self._output(request), self.finish, self.model, self._response_usage())
        return self.anthropic(request) if request.is_anthropic else self.openai(request)

    def _calls(self, request: ClientRequest) -> tuple[tuple[str, str], ...]:
        if self.calls is not None:
            return self.calls
        return ((request.first_tool, self.text),) if request.is_tool else ()

    def _anthropic_calls(self, request: ClientRequest) -> tuple[tuple[str, str], ...]:
        """Return the calls; none where the arguments of one are no object, which Anthropic's protocol can't say."""
        calls = self._calls(request)
        is_cut = self.finish != "stop"
        return () if any(_tool_input(arguments, is_cut=is_cut) is None for _, arguments in calls) else calls

    def _output(self, request: ClientRequest) -> list[dict[str, Any]]:
        return fake_responses.output(self.text, self.refusal, self.thinking, self._calls(request), self.finish)

    def _response_usage(self) -> dict[str, Any] | None:
        return fake_responses.usage(*self.usage) if self.usage else None

    def openai(self, request: ClientRequest) -> dict[str, Any]:
        """Return a whole answer in OpenAI's protocol."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.thinking is not None:
            message["reasoning_content"] = self.thinking
        if self.refusal is not None:
            message |= {"content": None, "refusal": self.refusal}
        elif calls := self._calls(request):
            called = [
                {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
                for number, (name, arguments) in enumerate(calls, 1)
            ]
            message |= {"content": None, "tool_calls": called}
        whole = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish}],
        }
        return whole | ({"usage": self._usage("prompt_tokens", "completion_tokens")} if self.usage else {})

    def anthropic(self, request: ClientRequest) -> dict[str, Any]:
        """Return a whole answer in Anthropic's protocol."""
        content: list[dict[str, Any]] = []
        if self.thinking is not None:
            content.append({"type": "thinking", "thinking": self.thinking, "signature": "s"})
        calls = self._anthropic_calls(request)
        for number, (name, arguments) in enumerate(calls, 1):
            given = _tool_input(arguments, is_cut=self.finish != "stop")
            content.append({"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": given})
        if not calls:
            content.append({"type": "text", "text": self.text})
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": self._stop_reason(is_tool=bool(calls)),
            "stop_sequence": None,
            "usage": self._usage("input_tokens", "output_tokens"),
        }

    def events(self, request: ClientRequest) -> Iterator[bytes]:
        """Yield the events of a streamed answer."""
        if request.is_response:
            output, usage = self._output(request), self._response_usage()
            for kind, data in fake_responses.events(output, self.finish, self.model, usage, self.piece):
                yield f"event: {kind}\n".encode() + _event(data)
            return
        yield from self._anthropic_events(request) if request.is_anthropic else self._openai_events(request)

    def _openai_events(self, request: ClientRequest) -> Iterator[bytes]:
        def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
            return _event({"id": "chatcmpl-1", "model": self.model, "choices": choices})

        yield event({"role": "assistant"})
        for piece in _pieces(self.thinking or "", self.piece):
            yield event({"reasoning_content": piece})
        if self.refusal is not None:
            for piece in _pieces(self.refusal, self.piece):
                yield event({"refusal": piece})
        else:
            calls = self._calls(request)
            for index, (name, arguments) in enumerate(calls):
                function = {"name": name, "arguments": ""}
                yield event(
                    {
                        "tool_calls": [
                            {"index": index, "id": f"call_{index + 1}", "type": "function", "function": function}
                        ]
                    }
                )
                for piece in _pieces(arguments, self.piece):
                    yield event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            for piece in () if calls else _pieces(self.text, self.piece):
                yield event({"content": piece})
        yield event({}, self.finish)
        if self.usage and (request.body.get("stream_options") or {}).get("include_usage"):
            yield _event(
                {"model": self.model, "choices": [], "usage": self._usage("prompt_tokens", "completion_tokens")}
            )
        yield b"data: [DONE]\n\n"

    def _anthropic_events(self, request: ClientRequest) -> Iterator[bytes]:
        def event(kind: str, **fields: Any) -> bytes:
            return f"event: {kind}\n".encode() + _event({"type": kind, **fields})

        usage = self._usage("input_tokens", "output_tokens")
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": self.model, "content": []}
        yield event("message_start", message=message | {"usage": usage | {"output_tokens": 1}})
        index = 0
        if self.thinking is not None:
            yield event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""})
            for piece in _pieces(self.thinking, self.piece):
                yield event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": piece})
            yield event("content_block_stop", index=0)
            index = 1
        calls = self._anthropic_calls(request)
        for number, (name, text) in enumerate(calls or (("", self.text),), 1):
            block = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}
            block = block if calls else {"type": "text", "text": ""}
            yield event("content_block_start", index=index, content_block=block)
            yield event("ping")
            for piece in _pieces(text, self.piece):
                delta = {"type": "input_json_delta", "partial_json": piece}
                delta = delta if calls else {"type": "text_delta", "text": piece}
                yield event("content_block_delta", index=index, delta=delta)
            yield event("content_block_stop", index=index)
            index += 1
        stop = {"stop_reason": self._stop_reason(is_tool=bool(calls)), "stop_sequence": None}
        yield event("message_delta", delta=stop, usage={"output_tokens": usage["output_tokens"]})
        yield event("message_stop")

    def _stop_reason(self, *, is_tool: bool) -> str:
        if self.refusal is not None:
            return "refusal"
        stop = "tool_use" if is_tool else "end_turn"
        return {"stop": stop, "length": "max_tokens"}.get(self.finish, self.finish)

    def _usage(self, prompt: str, completion: str) -> dict[str, Any]:
        asked, answered = self.usage or (0, 0)
        more: dict[str, Any] = {"total_tokens": asked + answered} if prompt == "prompt_tokens" else {}
        if self.cached is not None and prompt == "prompt_tokens":
            more["prompt_tokens_details"] = {"cached_tokens": self.cached}
        elif self.cached is not None:
            asked -= self.cached
            more["cache_read_input_tokens"] = self.cached
        return {prompt: asked, completion: answered, **more}


def error(status: int, message: str, headers: dict[str, str] | None = None, **details: Any) -> Answer:
    """Return an answer that is an error of the protocol."""
    raw = json.dumps({"error": {"message": message, "type": "error", **details}}).encode()
    return Answer(status=status, headers=headers or {}, raw=raw)


def halved(*end: Any) -> Callable[[bytes], list[Any]]:
    """Return a `change` that sends half of a body, then something else or nothing."""
    return lambda body: [body[: len(body) // 2], *end]


#: Faults by name, as functions of a good answer. For a refused connection use `refused_url`.
FAULTS: dict[str, Callable[[Answer], Answer]] = {
    "reset mid-body": lambda good: replace(good, change=halved(RESET)),
    "time-out": lambda _: Answer(raw=b"", change=lambda _: [HANG]),
    "429": lambda _: error(429, "slow down", {"Retry-After": "0.05"}),
    "500": lambda _: error(500, "it broke"),
    "503": lambda _: error(503, "overloaded"),
    "truncated JSON": lambda good: replace(good, change=halved()),
    "length stop": lambda good: replace(good, text=good.text[: len(good.text) // 2], finish="length"),
    "refusal": lambda good: replace(good, refusal="I can't help with that."),
    "content filter": lambda good: replace(good, text=good.text[:5], finish="content_filter"),
    "wrong type": lambda good: replace(good, text='["not", "what", "was", "asked"]'),
    "extra key": lambda good: replace(good, text=json.dumps({**json.loads(good.text), "extra key": 1})),
    "prose around": lambda good: replace(good, text=f"Sure! Here it is:\n```json\n{good.text}\n```\nAnything else?"),
    "invalid UTF-8": lambda good: replace(good, change=lambda body: [_spoiled(body)]),
    "empty body": lambda _: Answer(raw=b""),
    "empty answer": lambda good: replace(good, text=""),
    "huge body": lambda good: replace(good, change=lambda body: [body[:-2], *[b" " * 1_000_000] * 14, body[-2:]]),
    "slow drip": lambda good: replace(good, change=lambda body: [p for b in body for p in (bytes([b]), 0.2)]),
    "duplicate keys": lambda good: replace(
        good, change=lambda b: [b.replace(b'"model":', b'"model": "other", "model":')]
    ),
}


class Server(socketserver.ThreadingTCPServer):
    """A provider that gives its answers in turn; the last one repeats. `requests` are those that it received."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, *answers: Any, keeps_alive: bool = False, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answers = list(answers)
        self.keeps_alive = keeps_alive  # one connection may bring several requests
        self.connections = 0
        self.requests: list[ClientRequest] = []
        self.left = threading.Event()  # set when a client disconnects before the end of its answer
        self.closing = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address to give to a client."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer(self, request: ClientRequest) -> Answer:
        """Return the answer to a request."""
        with self._lock:
            answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
            self.requests.append(request)
        if callable(answer):
            answer = answer(request)
        return Answer(answer) if isinstance(answer, str) else answer

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Print nothing: the tests disconnect clients on purpose."""


class _Handler(socketserver.StreamRequestHandler):
    server: Server
    disable_nagle_algorithm = True  # head and body are two writes

    def handle(self) -> None:
        self.server.connections += 1
        while (line := self.rfile.readline()) and self._answered(line.decode().split()[1]) and self.server.keeps_alive:
            pass

    def _answered(self, path: str) -> bool:
        """Answer one request. Returns whether the connection may carry another."""
        headers = {}
        while line := self.rfile.readline().strip():
            key, _, value = line.decode().partition(":")
            headers[key.lower()] = value.strip()
        body = json.loads(self.rfile.read(int(headers.get("content-length", 0))) or b"{}")
        request = ClientRequest(path, headers, body)
        answer = self.server.answer(request)
        kind = "text/event-stream" if request.is_streaming and answer.status == 200 else "application/json"
        chunks = answer.chunks(request)
        head = {
            "Content-Type": kind,
            "Connection": "keep-alive" if self.server.keeps_alive else "close",
            **answer.headers,
        }
        if not any(chunk in (RESET, HANG) for chunk in chunks if not isinstance(chunk, bytes)):
            head["Content-Length"] = str(sum(len(chunk) for chunk in chunks if isinstance(chunk, bytes)))
        lines = "".join(f"{key}: {value}\r\n" for key, value in head.items())
        try:
            self.wfile.write(f"HTTP/1.1 {answer.status} -\r\n{lines}\r\n".encode())
            for chunk in (*chunks, *answer.beyond):
                if chunk is RESET:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    os.close(self.connection.detach())  # at once: an orderly close would send the rest
                    return False
                if chunk is HANG:
                    self._wait(60)
                    return False
                if isinstance(chunk, bytes):
                    self.wfile.write(chunk)
                elif self._wait(chunk):
                    self._leave(answer)
                    return False
        except OSError:
            self._leave(answer)
            return False
        return True

    def _leave(self, answer: Answer) -> None:
        self.server.left.set()
        if answer.left is not None:
            answer.left()

    def _wait(self, seconds: float) -> bool:
        """Wait. Returns True where the client disconnects meanwhile."""
        self.connection.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            if not self.connection.recv(1):
                self.server.left.set()
                return True
        self.connection.settimeout(None)
        return self.server.closing.is_set()


def refused_url() -> str:
    """Return an address at which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/v1"


def _event(data: Any) -> bytes:
    return b"data: " + _json(data) + b"\n\n"


def _json(data: Any) -> bytes:
    """Write JSON as providers do: characters unescaped, except for lone surrogates, which UTF-8 does not have."""
    try:
        return json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(data).encode()


def _tool_input(text: str, *, is_cut: bool) -> dict[str, Any] | None:
    """Return the arguments of a call, which Anthropic sends parsed: what is there of a text that was cut off.

    None where the text is no object: then it is no call.
    """
    from pydantic_core import from_json

    try:
        given = from_json(text, allow_partial=True) if is_cut else json.loads(text)
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) else None


def _pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def _spoiled(body: bytes) -> bytes:
    """Return a body with a byte that is not UTF-8 in the middle of a text."""
    at = body.index(b"served")
    return body[:at] + b"\xff" + body[at + 1 :]
