"""POST /v1/chat/completions: how its requests are read, and its answers and events written."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guard.errors import BadReply
from guard.kernels.unicode_text import json_text
from guard.models.base import Reply, Request, Sampling, Thought
from guard.sidecar import efforts, large
from guard.sidecar.constraints import check_known
from guard.sidecar.endpoints import custom_tools, tool_calls
from guard.sidecar.endpoints.chat_request import ChatRequest
from guard.sidecar.endpoints.functions import in_functions
from guard.sidecar.errors import bad
from guard.sidecar.request_context import RequestContext
from guard.sidecar.served_models import Served
from guard.sidecar.upstream import Upstream
from guard.support.json_pieces import encoded
from guard.turns.pieces import CallPiece

#: Fields of a chat that every model of Guard's honours.
HEEDED = (
    *("model", "messages", "stream", "stream_options", "n", "stop", "seed", "max_tokens", "max_completion_tokens"),
    *("temperature", "logprobs", "response_format", "tools", "tool_choice", "parallel_tool_calls"),
)
#: Fields that a model which decodes here honours.
SAMPLING = ("top_p", "frequency_penalty", "presence_penalty", "top_logprobs")
#: Fields, beside HEEDED, that another provider's protocol can express.
TRANSLATED = ("top_p", "top_k", "thinking", "reasoning_effort", "output_config.effort", "cache_control")
_BOUNDS = dict(zip(SAMPLING, ((0, 1), (-2, 2), (-2, 2), (0, 20)), strict=True))
_WRITTEN = ("content", "refusal", "tool_calls", "function_call")  #: Fields of a message that a model writes.
#: Fields of answers whose texts no model wrote, or that repeat what it wrote.
_LABELS = frozenset({"id", "call_id", "type", "role", "status", "annotations", "logprobs", "encrypted_content"})
FINISH = {"stop": "stop", "length": "length", "refusal": "stop", "filter": "content_filter"}


@dataclass(frozen=True)
class Choice:
    """One choice of an answer, validated."""

    text: str | None  # None where it calls tools, or is a refusal
    reply: Reply
    calls: tuple[tuple[str, str], ...] = ()  # names and arguments
    refusal: str | None = None
    beside: str | None = None  # the text beside calls
    customs: frozenset[str] = frozenset()  # names of custom tools


class Chat:
    """The endpoint of chat completions."""

    path = "/chat/completions"
    takes_n = True

    def messages(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """Return the messages of the request."""
        return tuple(body["messages"])

    def answer(self, said: Mapping[str, Any]) -> tuple[str, str]:
        """Return the text of a whole answer's first choice, and how it ended."""
        choices = said.get("choices")
        if not isinstance(choices, list) or not choices:
            raise BadReply("the model did not answer by the protocol: no choices")
        for choice in choices:
            if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
                raise BadReply("the model did not answer by the protocol: no message")
            if ended(choice) is None:
                raise BadReply("the model did not answer by the protocol: no finish_reason")
        return _said(choices[0]["message"]), str(ended(choices[0]))

    def piece(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the text of the first choice in an event, and how it ended."""
        choices = said.get("choices")
        if not isinstance(choices, list):
            raise BadReply("the model did not answer by the protocol: no choices")
        text, finish = "", None
        for choice in choices:
            part = choice.get("delta", choice.get("message")) if isinstance(choice, dict) else choice
            if not isinstance(part, dict | None) or not isinstance(choice, dict):
                raise BadReply("the model did not answer by the protocol: no message")
            end = ended(choice)
            if choice.get("index", 0) == 0:
                text, finish = text + _said(part or {}), end or finish
        return text, finish

    def written(self, said: Mapping[str, Any]) -> int:
        """Return the bytes of what all choices of an answer or an event say: texts, thinking, refusals and calls."""
        choices = said.get("choices")
        return sum(_written(choice) for choice in choices) if isinstance(choices, list) else 0

    def request(self, body: Mapping[str, Any], served: Served, seconds: float) -> Request:
        """Return the request to a model that decodes here, or whose provider has another protocol."""
        chat_request = ChatRequest.of(dict(body))
        check_local(chat_request, served)
        chat = chat_request.chat
        if chat.stream and ((chat.n or 1) > 1 or chat.logprobs):
            param = "logprobs" if chat.logprobs else "n"
            raise bad(
                f"{served.name} streams one choice, without logprobs; leave {param} out", param, "unsupported_value"
            )
        is_remote = served.upstream is not None  # and takes more than text
        read = tool_calls.texts if len(served.tiers) == 1 else tool_calls.worded  # a picture goes on to the next tier
        request = Request(
            messages=tuple(chat.messages) if is_remote else read(chat.messages),
            compiled=None,
            max_tokens=chat.limit or served.settings.most_tokens,
            temperature=chat.temperature or 0.0,
            seed=chat.seed or 0,
            seconds=seconds,
            sampling=sampling(chat_request.body),
        )
        return request if is_remote else efforts.asked(chat_request.body, request)

    def whole(self, context: RequestContext, body: Mapping[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the answer that one reply of plain text makes."""
        chat_request = ChatRequest.of(dict(body))
        return completion(context, chat_request, [_text(reply, chat_request) for reply in replies])

    def answered(
        self, context: RequestContext, chat_request: ChatRequest, _: Mapping[str, Any], choices: Sequence[Choice]
    ) -> dict[str, Any]:
        """Return the answer that validated choices make."""
        return completion(context, chat_request, choices)

    def events(self, context: RequestContext, body: Mapping[str, Any]) -> ChatEvents:
        """Return the writer of its events."""
        return ChatEvents(context, ChatRequest.of(dict(body)))


def ended(choice: Mapping[str, Any]) -> str | None:
    """Return the finish reason of a choice, or None where it goes on. Raises BadReply where the server failed."""
    finish = choice.get("finish_reason")
    if finish is not None and not isinstance(finish, str):
        raise BadReply("the model did not answer by the protocol: finish_reason")
    if finish == "error":
        raise BadReply("the model's server failed while it answered")
    return finish


def _said(part: Mapping[str, Any]) -> str:
    """Return the text of a message, or of a piece of one, and its calls of tools unchanged."""
    content, calls = part.get("content"), part.get("tool_calls")
    return (content if isinstance(content, str) else "") + (json_text(calls) if calls else "")


def _written(choice: Any) -> int:
    part = choice.get("delta", choice.get("message")) if isinstance(choice, Mapping) else None
    if not isinstance(part, Mapping):
        return 0
    thought = part.get("reasoning_content") or part.get("reasoning")  # some servers say it under both names
    return text_bytes([thought, *(part.get(name) for name in _WRITTEN)])


def text_bytes(value: Any) -> int:
    """Return the bytes of all texts in a part of an answer, without its labels."""
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    if isinstance(value, Mapping):
        return sum(text_bytes(each) for name, each in value.items() if name not in _LABELS)
    return sum(map(text_bytes, value)) if isinstance(value, list) else 0


def _text(reply: Reply, chat_request: ChatRequest) -> Choice:
    if reply.finish == "refusal":
        return Choice(None, reply, refusal=reply.text)
    text, is_cut = cut(reply.text, chat_request.chat.stops)
    return Choice(text, dataclasses.replace(reply, finish="stop") if is_cut else reply)


class ChatEvents:
    """Writes the events of one streamed choice."""

    def __init__(self, context: RequestContext, chat_request: ChatRequest) -> None:
        self._context, self._chat_request = context, chat_request
        self._id, self._is_begun, self._has_thought = f"chatcmpl-{context.id}", False, False
        self._cut = Cut(chat_request.chat.stops if chat_request.schema is None else ())  # a value is never cut
        self._calls = 0  # that were told
        self._inputs: dict[int, custom_tools.InputReader] = {}  # of calls of custom tools, by number

    def text(self, piece: str) -> Iterator[bytes]:
        """Yield the events of a piece of text."""
        piece = self._cut.feed(piece)
        yield from self._begin()
        if piece:
            yield self._event({"content": piece})

    def thought(self, piece: Thought) -> Iterator[bytes]:
        """Yield the events of a piece of the model's thinking."""
        self._has_thought = True
        yield from self._begin()
        signed = {"thinking_blocks": [piece.block]}
        yield self._event({"reasoning_content": piece} if piece.block is None else signed)

    def call(self, piece: CallPiece) -> Iterator[bytes]:
        """Yield the events of a piece of a call."""
        if self._chat_request.has_older_functions:
            return
        yield from self._begin()
        if piece.name:
            self._calls = piece.number + 1
            kind, member = "function", "arguments"
            if piece.name in self._chat_request.customs:
                kind, member = "custom", "input"
                self._inputs[piece.number] = custom_tools.InputReader()
            begun = {"name": piece.name, member: ""}
            yield self._event({"tool_calls": [{"index": piece.number, "id": _new_id(), "type": kind, kind: begun}]})
        reader = self._inputs.get(piece.number)
        if text := str(piece) if reader is None else reader.feed(str(piece)):
            delta = {"function": {"arguments": text}} if reader is None else {"custom": {"input": text}}
            yield self._event({"tool_calls": [{"index": piece.number, **delta}]})

    def end(self, choice: Choice) -> Iterator[bytes]:
        """Yield the events that end the answer: the rest of its text, its calls, its finish reason."""
        rest = self._cut.feed(choice.text or choice.beside or "") + self._cut.end()
        yield from self._begin()
        if choice.reply.thinking and not self._has_thought:
            yield self._event({"reasoning_content": choice.reply.thinking})
        if rest:
            yield self._event({"content": rest})
        if choice.refusal is not None:
            yield self._event({"refusal": choice.refusal})
        deltas = _deltas(choice, self._chat_request)
        for calls in deltas[self._calls :]:
            yield self._event(calls)
        is_cut = self._cut.is_over and not deltas
        yield self._event({}, "stop" if is_cut else _finish(choice, self._chat_request))
        yield from self._usage()

    def choices(self, choices: Sequence[Choice]) -> Iterator[bytes]:
        """Yield the events of whole choices, which are validated."""
        for index, choice in enumerate(choices):
            message = _message(choice)
            message.pop("tool_calls", None)
            is_said = choice.text is not None or choice.beside
            yield self._event({"role": "assistant", "content": "" if is_said else None}, index=index)
            message.pop("role")
            for name in ("reasoning_content", "thinking_blocks"):
                if thought := message.pop(name, None):
                    yield self._event({name: thought}, index=index)
            deltas = _deltas(choice, self._chat_request)
            if is_said or not deltas:
                yield self._event(message, index=index, logprobs=_logprobs(choice, self._chat_request))
            for calls in deltas:
                yield self._event(calls, index=index)
            yield self._event({}, _finish(choice, self._chat_request), index=index)
        yield from self._usage()

    def _begin(self) -> Iterator[bytes]:
        if not self._is_begun:
            self._is_begun = True
            yield self._event({"role": "assistant", "content": ""})

    def _usage(self) -> Iterator[bytes]:
        options = self._chat_request.chat.stream_options
        if options is not None and options.include_usage:
            yield event({**self._head(), "choices": [], "usage": usage(self._context)})

    def _event(self, delta: Any, finish: str | None = None, index: int = 0, logprobs: Any = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return event({**self._head(), "choices": [choice]})

    def _head(self) -> dict[str, Any]:
        context = self._context
        head = {"id": self._id, "object": "chat.completion.chunk", "created": int(context.began)}
        return {**head, "model": context.answering}


class Cut:
    """Cuts a text off at the first stop, however the text is divided into pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held, self._most = "", max(map(len, stops), default=1) - 1
        self.is_over = False

    def feed(self, piece: str) -> str:
        """Add a piece; return the new text that is surely before any stop."""
        if self.is_over:
            return ""
        text = self._held + piece
        text, self.is_over = cut(text, self._stops)
        keep = 0 if self.is_over else min(self._most, len(text))
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> str:
        """Return the text that was held back, at the end."""
        held, self._held = self._held, ""
        return held


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Return a text up to the first stop in it, and whether there was one."""
    at = min((found for stop in stops if (found := text.find(stop)) >= 0), default=-1)
    return (text, False) if at < 0 else (text[:at], True)


def completion(context: RequestContext, chat_request: ChatRequest, choices: Sequence[Choice]) -> dict[str, Any]:
    """Return a whole answer."""
    return {
        "id": f"chatcmpl-{context.id}",
        "object": "chat.completion",
        "created": int(context.began),
        "model": choices[0].reply.model,
        "choices": [
            {
                "index": index,
                "message": {"refusal": None, **_shown(choice, chat_request)},
                "logprobs": _logprobs(choice, chat_request),
                "finish_reason": _finish(choice, chat_request),
            }
            for index, choice in enumerate(choices)
        ],
        "usage": usage(context),
    }


def usage(context: RequestContext) -> dict[str, Any]:
    """Return the tokens of all attempts of an answer, and those that caches had, where providers say so."""
    prompt, completion = context.prompt_tokens, context.completion_tokens
    used: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    used["total_tokens"] = prompt + completion
    if context.thinking_tokens:
        used["completion_tokens_details"] = {"reasoning_tokens": context.thinking_tokens}
    if details := cache_details(context):
        used["prompt_tokens_details"] = details
    return used


def cache_details(context: RequestContext) -> dict[str, int]:
    """Return how many tokens of a prompt were read from and written to caches, where providers say so."""
    told = {"cached_tokens": context.cached_tokens, "cache_creation_tokens": context.cache_creation_tokens}
    return {name: tokens for name, tokens in told.items() if tokens is not None}


def event(data: Any) -> bytes:
    """Return a server-sent event."""
    return b"data: " + encoded(data) + b"\n\n"


def check_local(chat_request: ChatRequest, served: Served) -> None:
    """Raise ApiError for a field that a model which decodes here can't honour."""
    is_here = served.is_masked
    if chat_request.older is None:  # a completion has no field for thinking
        limit = chat_request.chat.limit or served.settings.most_tokens
        efforts.check(chat_request.body, served, limit)
    thinking = efforts.FIELDS if chat_request.older is None else ()
    check_known(chat_request.body, (*HEEDED, *thinking, *(SAMPLING if is_here else ())), served.name)
    if chat_request.chat.logprobs and not is_here:
        raise bad(f"{served.name} tells no log-probabilities", "logprobs", "unsupported_value")
    if chat_request.chat.top_logprobs and not chat_request.chat.logprobs:
        raise bad("top_logprobs needs logprobs", "top_logprobs")
    sampling(chat_request.body)
    tool_calls.check_messages(chat_request.chat.messages)


async def check_translated(body: Mapping[str, Any], served: Served, size: int) -> None:
    """Raise ApiError for a field that another provider's protocol can't express; silently, it would be lost."""
    upstream = served.upstream
    if upstream is None or not upstream.is_translated:
        return
    await large.done(size, _check_translated, body, served, upstream)


def _check_translated(body: Mapping[str, Any], served: Served, upstream: Upstream) -> None:
    check_known(body, (*HEEDED, *TRANSLATED), served.name)
    tool_calls.check_messages(body["messages"])
    sampling(body)
    if body.get("logprobs"):
        raise bad(f"{served.name} tells no log-probabilities", "logprobs", "unsupported_value")
    upstream.check(body)


def sampling(body: Mapping[str, Any]) -> Sampling:
    """Return a request's sampling options. Raises ApiError where one is out of bounds."""
    given = {name: body[name] for name in _BOUNDS if body.get(name) is not None}
    for name, value in given.items():
        least, most = _BOUNDS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise bad(f"{name} must be a number from {least:g} to {most:g}", name)
    return Sampling(**given)


def _new_id() -> str:
    """Return a new unique id of a call."""
    return f"call_{secrets.token_hex(12)}"


def _message(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text}
    if choice.reply.thinking:
        message["reasoning_content"] = choice.reply.thinking
    if choice.reply.thinking_blocks:
        message["thinking_blocks"] = list(choice.reply.thinking_blocks)
    if choice.refusal is not None:
        return {**message, "refusal": choice.refusal}
    if choice.calls:
        message["content"] = choice.beside or None
        calls = [
            {"id": _new_id(), "type": "function", "function": {"name": name, "arguments": arguments}}
            for name, arguments in choice.calls
        ]
        message["tool_calls"] = [custom_tools.as_custom(call, choice.customs) for call in calls]
    return message


def _shown(choice: Choice, chat_request: ChatRequest) -> dict[str, Any]:
    message = _message(choice)
    return in_functions(message) if chat_request.has_older_functions else message


def _deltas(choice: Choice, chat_request: ChatRequest) -> list[dict[str, Any]]:
    """Return the calls of a choice as deltas, one event for each, as clients expect."""
    calls = _message(choice).get("tool_calls", []) if choice.calls else []
    if calls and chat_request.has_older_functions:
        return [{"function_call": calls[0]["function"]}]
    return [{"tool_calls": [{"index": at, **call}]} for at, call in enumerate(calls)]


def _finish(choice: Choice, chat_request: ChatRequest) -> str:
    finish = FINISH.get(choice.reply.finish, choice.reply.finish)
    if choice.calls and finish != "length":
        return "function_call" if chat_request.has_older_functions else "tool_calls"
    return finish


def _logprobs(choice: Choice, chat_request: ChatRequest) -> dict[str, Any] | None:
    """Return the tokens' log-probabilities, which are among the tokens that the masks allowed."""
    if not chat_request.chat.logprobs or choice.text is None:
        return None
    content = [
        {
            **_token(token.text.encode(errors="replace"), token.logprob),
            "top_logprobs": [_token(*other) for other in token.top],
        }
        for token in choice.reply.tokens
    ]
    return {"content": content, "refusal": None}


def _token(data: bytes, logprob: float) -> dict[str, Any]:
    return {"token": data.decode(errors="replace"), "logprob": logprob, "bytes": list(data)}
