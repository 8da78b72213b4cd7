"""An upstream asked with the fields that the client sent; its answer becomes one text that can be checked.

The text is the answer's own; with tools, it is the JSON value of guard/sidecar/endpoints/tool_calls.py. A stream yields
the model's thinking and its text beside calls; the calls themselves come whole, at the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from guard.errors import BadReply
from guard.models.base import Reply, Request, Thought
from guard.models.chat_messages import estimated_tokens
from guard.models.remote import usage
from guard.models.remote.errors import ExchangeError
from guard.models.remote.exchange import Exchange
from guard.models.remote.prices import cost
from guard.sidecar import large
from guard.sidecar.endpoints import custom_tools, tool_calls
from guard.sidecar.endpoints.chat import Chat
from guard.sidecar.endpoints.chat_request import ChatRequest
from guard.sidecar.endpoints.completions import Completions
from guard.sidecar.served_models import Served, Wrapper
from guard.sidecar.upstream import events_of
from guard.support.json_pieces import encoded

_ENDS = {"length": "length", "content_filter": "filter"}  #: By finish_reason; any other is the answer's own end.
_REASONING = ("reasoning_content", "reasoning")  #: Fields in which servers put a model's thinking.


class Native(Wrapper):
    """An upstream that is asked in its own protocol."""

    def __init__(self, served: Served, chat_request: ChatRequest, size: int) -> None:
        """Ask an upstream what a client asked in so many bytes."""
        assert served.upstream is not None
        super().__init__(served.model)
        self._served, self._chat_request, self._upstream = served, chat_request, served.upstream
        self._size = size
        self._path = Chat.path if chat_request.older is None else Completions.path

    async def agenerate(self, request: Request) -> Reply:
        """Answer a request."""
        exchange, start = self._exchange(request), time.perf_counter()
        payload = await self._payload(self._body(request))
        try:
            async with exchange.deadline():
                data, said = await exchange.whole(lambda: self._upstream.post(self._path, payload))
        except ExchangeError as failure:
            raise failure.told() from failure
        seconds = time.perf_counter() - start
        return await self._read(len(data), said, request, exchange, seconds)

    async def astream(self, request: Request) -> AsyncGenerator[str | Reply, None]:
        """Answer a request: yield the model's thinking and text in pieces, then the reply."""
        exchange, start, whole = self._exchange(request), time.perf_counter(), _Whole()
        more: dict[str, Any] = {"stream": True}
        if self._upstream.tells_usage:
            more["stream_options"] = {"include_usage": True}
        payload = await self._payload({**self._body(request), **more})
        first = self._served.settings.first_token_seconds
        receive = functools.partial(events_of, self._upstream, self.name, self._path, payload, first)
        is_again = tool_calls.is_asked_again(request.messages, self._chat_request)
        try:
            async with exchange.deadline(), contextlib.aclosing(exchange.send(receive)) as events:
                async for event, said in events:
                    if said is None:
                        continue
                    for piece in await large.done(large.walked(event), whole.take, said):
                        if not (is_again or whole.calls):
                            yield piece
        except BaseException as error:
            if whole.is_begun:  # and was paid for, though nothing of a call was yielded
                reply = self._reply(whole.answer, request, exchange, time.perf_counter() - start)
                request.cut(dataclasses.replace(reply, finish="cut"))
            if isinstance(error, ExchangeError):
                raise error.told() from error
            raise
        seconds = time.perf_counter() - start
        yield await self._read(whole.size, whole.answer, request, exchange, seconds)

    async def _payload(self, body: dict[str, Any]) -> bytes:
        return await large.done(self._size, encoded, body)

    async def _read(self, size: int, *answer: Any) -> Reply:
        """Return the reply that an answer of so many bytes is."""
        if self._chat_request.has_tools:
            size *= large.STEPWISE
        return await large.done(max(self._size, size), self._reply, *answer)

    def _exchange(self, request: Request) -> Exchange:
        return self._served.exchange(request.seconds)

    def _body(self, request: Request) -> dict[str, Any]:
        chat_request = self._chat_request
        given = chat_request.body if chat_request.older is None else chat_request.older
        body = {key: value for key, value in given.items() if key not in ("stream", "stream_options", "n")}
        body["model"] = self._served.upstream_model
        if chat_request.older is None:
            body["messages"] = [custom_tools.in_customs(message, chat_request.customs) for message in request.messages]
        elif len(request.messages) > 1:
            body["prompt"] = "\n\n".join(str(message["content"]) for message in request.messages)
        if chat_request.chat.seed is not None:  # each choice and each attempt is another draw
            body["seed"] = request.seed
        is_again = chat_request.choice == "auto" and tool_calls.is_asked_again(request.messages, chat_request)
        if is_again and self._upstream.can_force(chat_request.body):
            choice: Any = body.get("tool_choice")
            body["tool_choice"] = "required"
            if isinstance(choice, Mapping) and isinstance(some := choice.get("allowed_tools"), Mapping):
                body["tool_choice"] = {**choice, "allowed_tools": {**some, "mode": "required"}}
        return body

    def _reply(self, said: Mapping[str, Any], request: Request, exchange: Exchange, seconds: float) -> Reply:
        chat_request = self._chat_request
        endpoint: Chat | Completions = Chat() if chat_request.older is None else Completions()
        _, finish = endpoint.answer(said)
        choice = said["choices"][0]
        message: Mapping[str, Any] = choice.get("message") or {"content": choice.get("text")}
        content = message.get("content")
        text = content if isinstance(content, str) else ""
        if chat_request.has_tools:
            text = tool_calls.value_of(message, has_schema=chat_request.schema is not None)
            text = tool_calls.still_calls(text, request.messages, chat_request)
        refusal = message.get("refusal")
        thought = _thought(message)
        used = usage.told(said.get("usage"))
        is_estimate = not used.keys() >= {"prompt", "completion"}
        prompt = used["prompt"] if "prompt" in used else estimated_tokens(json.dumps(chat_request.chat.messages))
        given = used["completion"] if "completion" in used else estimated_tokens(text + thought)
        model = said["model"] if isinstance(said.get("model"), str) else self._served.upstream_model
        return Reply(
            text=refusal if refusal else text,
            finish="refusal" if refusal else _ENDS.get(str(finish), "stop"),
            model=model,
            prompt_tokens=prompt,
            completion_tokens=given,
            seconds=seconds,
            thinking_tokens=min(given, used.get("thinking", estimated_tokens(thought))),
            thinking=thought,
            thinking_blocks=_blocks(message),
            cached_tokens=used.get("cached"),
            cache_creation_tokens=used.get("cache_creation"),
            retries=exchange.retries,
            mode="native",
            cost=cost(model, prompt, given, cached_tokens=used.get("cached", 0), url=self._upstream.url),
            is_estimate=is_estimate,
        )


def _thought(part: Mapping[str, Any]) -> str:
    """Return the thinking in a message, or in a piece of one: once, though some servers send it in two fields."""
    return next((part[name] for name in _REASONING if isinstance(part.get(name), str)), "")


def _begins(part: Mapping[str, Any]) -> bool:
    """Whether a piece of a call names a tool, as the first one does."""
    return any(isinstance(of := part.get(kind), Mapping) and of.get("name") for kind in ("function", "custom"))


def _blocks(part: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the blocks of thinking that are signed."""
    blocks = part.get("thinking_blocks")
    return tuple(block for block in blocks if isinstance(block, Mapping)) if isinstance(blocks, list) else ()


class _Call:
    """A call of a tool, in the pieces that it came in: joined once, since there may be thousands."""

    __slots__ = ("is_custom", "name", "text")

    def __init__(self, *, is_custom: bool = False) -> None:
        self.is_custom = is_custom
        self.name: list[str] = []
        self.text: list[str] = []

    def joined(self) -> dict[str, Any]:
        """Return the call as a whole answer has it."""
        name, text = "".join(self.name), "".join(self.text)
        if self.is_custom:
            return {"type": "custom", "custom": {"name": name, "input": text}}
        return {"function": {"name": name, "arguments": text}}


class _Whole:
    """A chat's answer, put together of the events that it came in."""

    def __init__(self) -> None:
        self.calls: dict[tuple[int, str], _Call] = {}  # by index and id: some servers number all calls 0
        self._ids: dict[int, str] = {}  # the id of the latest call of an index
        self.size = 0  # characters of their arguments
        self._texts: dict[str, list[str]] = {"content": [], "refusal": [], _REASONING[0]: []}
        self._blocks: list[Mapping[str, Any]] = []
        self._head: dict[str, Any] = {}
        self._finish: str | None = None

    def take(self, said: Mapping[str, Any]) -> list[str]:
        """Add an event. Returns the thinking and the text in it."""
        Chat().piece(said)  # checks it
        self._head |= {key: said[key] for key in ("model", "usage") if said.get(key) is not None}
        told: list[str] = []
        for choice in said["choices"]:
            if choice.get("index", 0) != 0:
                continue
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta") or {}
            if thought := _thought(delta):
                self._texts[_REASONING[0]].append(thought)
                told.append(Thought(thought))
            for block in _blocks(delta):
                self._blocks.append(block)
                told.append(Thought(block=block))
            for name in ("content", "refusal"):
                if isinstance(piece := delta.get(name), str) and piece:
                    self._texts[name].append(piece)
                    told += [piece] if name == "content" else []
            for at, call in enumerate(delta.get("tool_calls") or ()):
                self._call(call.get("index", at) if isinstance(call, Mapping) else at, call)
        return told

    def _call(self, index: Any, part: Any) -> None:
        if not isinstance(index, int):
            raise BadReply("the model did not answer by the protocol: the index of a call is no number")
        given = part.get("id") if isinstance(part, Mapping) else None
        if index not in self._ids or (isinstance(given, str) and given != self._ids[index] and _begins(part)):
            self._ids[index] = given if isinstance(given, str) else ""
        key = (index, self._ids[index])
        call = self.calls.setdefault(key, _Call())
        custom = part.get("custom") if isinstance(part, Mapping) else None
        if isinstance(custom, Mapping):
            if not call.is_custom:
                call = self.calls[key] = _Call(is_custom=True)
            for texts, text in ((call.name, custom.get("name")), (call.text, custom.get("input"))):
                texts.append(text if isinstance(text, str) else "")
            self.size += len(call.text[-1])
            return
        function = part.get("function") if isinstance(part, Mapping) else None
        if isinstance(function, Mapping):
            arguments = function.get("arguments") or ""
            call.name.append(name if isinstance(name := function.get("name"), str) else "")
            call.text.append(arguments if isinstance(arguments, str) else json.dumps(arguments))
            self.size += len(call.text[-1])

    @property
    def is_begun(self) -> bool:
        """Whether there is anything of the answer."""
        return bool(self.calls) or any(self._texts.values())

    @property
    def answer(self) -> dict[str, Any]:
        """The whole answer."""
        message: dict[str, Any] = {name: "".join(parts) or None for name, parts in self._texts.items()}
        message["thinking_blocks"] = self._blocks
        if self.calls:
            message["tool_calls"] = [self.calls[key].joined() for key in sorted(self.calls, key=lambda key: key[0])]
        return {**self._head, "choices": [{"message": message, "finish_reason": self._finish or "stop"}]}
