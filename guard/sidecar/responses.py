"""POST /v1/responses: OpenAI's newer way to ask, as far as it is one answer to one input.

Plain text for an upstream goes through. What has a schema (`text.format`), strict tools, or a model that decodes here
is asked as a chat, and the answer written down as a response. Nothing is kept between requests: what refers to an
earlier response is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from guard.errors import BadReply
from guard.models.base import Reply, Request
from guard.sidecar.asked import Asked, checked
from guard.sidecar.chat import Chat, Choice
from guard.sidecar.errors import bad
from guard.sidecar.serving import Served
from guard.sidecar.visit import Visit, written


class Response(BaseModel):
    """A request for a response."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str = Field(min_length=1)
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    temperature: float | None = Field(default=None, ge=0, le=2)
    text: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None


class Responses:
    """The way to ask for a response."""

    path = "/responses"

    def messages(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """Return what is asked."""
        given = body["input"]
        return ({"role": "user", "content": given},) if isinstance(given, str) else tuple(given)

    def piece(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the text of an event, and how it ended."""
        kind = said.get("type")
        if not isinstance(kind, str) or not kind.startswith("response."):
            raise BadReply("the model did not answer by the protocol: no event of a response")
        delta = said.get("delta") if kind == "response.output_text.delta" else ""
        finish = _ended(said.get("response")) if kind in ("response.completed", "response.incomplete") else None
        return delta if isinstance(delta, str) else "", finish

    def answer(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the text of a whole answer, and how it ended."""
        output = said.get("output")
        if not isinstance(output, list):
            raise BadReply("the model did not answer by the protocol: no output")
        parts = [part for item in output if isinstance(item, Mapping) for part in item.get("content") or []]
        return "".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping)), _ended(said)

    def request(self, body: Mapping[str, Any], served: Served, seconds: float) -> Request:
        """Return the request to a model that has no upstream."""
        return Chat().request(as_chat(body), served, seconds)

    def whole(self, visit: Visit, body: Mapping[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the answer of one reply of plain text."""
        return response(visit, body, Choice(replies[0].text, replies[0]))

    def events(self, visit: Visit, body: Mapping[str, Any]) -> Events:
        """Return what writes its events."""
        return Events(visit, body)


def _ended(said: Any) -> str:
    """Return how a response has ended, in the words of a chat; BadReply where it has not."""
    status = said.get("status", "completed") if isinstance(said, Mapping) else "completed"
    if status not in ("completed", "incomplete"):
        raise BadReply(f"the model did not answer by the protocol: a response that is {str(status)[:40]!r}")
    details = said.get("incomplete_details") if isinstance(said, Mapping) else None
    reason = details.get("reason") if isinstance(details, Mapping) else None
    return "stop" if status == "completed" else "content_filter" if reason == "content_filter" else "length"


class Events:
    """Writes the events of one streamed response."""

    def __init__(self, visit: Visit, body: Mapping[str, Any]) -> None:
        self._visit, self._body = visit, body
        self._number = 0
        self._text: list[str] = []
        self._item = f"msg_{visit.id}"

    def text(self, piece: str) -> Iterator[bytes]:
        """Yield the events of a piece of text."""
        if not self._text:
            yield from self._begin()
        self._text.append(piece)
        yield self._event("response.output_text.delta", **self._place(), delta=piece, logprobs=[])

    def end(self, reply: Reply) -> Iterator[bytes]:
        """Yield the events that end the answer."""
        if not self._text:
            yield from self._begin()
        yield from self._end(Choice("".join(self._text), reply))

    def choices(self, choices: Sequence[Choice]) -> Iterator[bytes]:
        """Yield the events of a whole choice, which was checked before."""
        choice = choices[0]
        if choice.text is not None:
            yield from self.text(choice.text)
            yield from self._end(choice)
            return
        yield from self._created()
        whole = response(self._visit, self._body, choice)
        for index, item in enumerate(whole["output"]):
            yield self._event("response.output_item.added", output_index=index, item={**item, "status": "in_progress"})
            if item["type"] == "function_call":
                place = {"item_id": item["id"], "output_index": index}
                arguments = item["arguments"]
                yield self._event("response.function_call_arguments.delta", **place, delta=arguments)
                yield self._event(
                    "response.function_call_arguments.done", **place, name=item["name"], arguments=arguments
                )
            yield self._event("response.output_item.done", output_index=index, item=item)
        yield self._event("response.completed", response=whole)

    def _created(self) -> Iterator[bytes]:
        head = {**_head(self._visit, self._body), "status": "in_progress", "output": [], "usage": None}
        yield self._event("response.created", response=head)
        yield self._event("response.in_progress", response=head)

    def _begin(self) -> Iterator[bytes]:
        yield from self._created()
        item = {"id": self._item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        yield self._event("response.output_item.added", output_index=0, item=item)
        yield self._event("response.content_part.added", **self._place(), part=_part(""))

    def _end(self, choice: Choice) -> Iterator[bytes]:
        text = choice.text or ""
        yield self._event("response.output_text.done", **self._place(), text=text, logprobs=[])
        yield self._event("response.content_part.done", **self._place(), part=_part(text))
        whole = response(self._visit, self._body, choice)
        yield self._event("response.output_item.done", output_index=0, item=whole["output"][0])
        yield self._event("response.completed", response=whole)

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item, "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return f"event: {kind}\ndata: {written(data)}\n\n".encode()


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request for a response as one for a chat completion; ApiError where that is not the same."""
    asked: Response = checked(Response, dict(body))
    for name in ("previous_response_id", "conversation", "background", "prompt"):
        if body.get(name):
            raise bad(f"{name} needs what this server does not keep; send the whole input", name, "unsupported_value")
    messages = (
        [_message(number, item) for number, item in enumerate(asked.input)]
        if isinstance(asked.input, list)
        else [{"role": "user", "content": asked.input}]
    )
    if asked.instructions:
        messages.insert(0, {"role": "system", "content": asked.instructions})
    chat: dict[str, Any] = {"model": asked.model, "messages": messages, "stream": asked.stream}
    if asked.max_output_tokens is not None:
        chat["max_completion_tokens"] = asked.max_output_tokens
    for name in ("temperature", "top_p", "parallel_tool_calls", "user", "metadata"):
        if body.get(name) is not None:
            chat[name] = body[name]
    if isinstance(reasoning := body.get("reasoning"), Mapping) and reasoning.get("effort"):
        chat["reasoning_effort"] = reasoning["effort"]
    wanted = (asked.text or {}).get("format")
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        chat["response_format"] = {
            "type": "json_schema",
            "json_schema": {k: v for k, v in wanted.items() if k != "type"},
        }
    elif wanted is not None:
        chat["response_format"] = wanted
    if asked.tools:
        chat["tools"] = [
            {"type": tool.get("type"), "function": {k: v for k, v in tool.items() if k != "type"}}
            if tool.get("type") == "function"
            else tool
            for tool in asked.tools
        ]
    choice = asked.tool_choice
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        choice = {"type": "function", "function": {"name": choice.get("name")}}
    if choice is not None:
        chat["tool_choice"] = choice
    return chat


def is_text(body: Mapping[str, Any]) -> bool:
    """Whether a request needs no schema work."""
    wanted = (body.get("text") or {}).get("format") if isinstance(body.get("text"), Mapping) else None
    tools = body.get("tools")
    is_strict = isinstance(tools, list) and any(isinstance(tool, Mapping) and tool.get("strict") for tool in tools)
    is_plain = wanted is None or (isinstance(wanted, Mapping) and wanted.get("type") == "text")
    return is_plain and not is_strict


def response(visit: Visit, body: Mapping[str, Any], choice: Choice) -> dict[str, Any]:
    """Return a whole response."""
    output: list[dict[str, Any]] = []
    for name, arguments in choice.calls:
        call = {"type": "function_call", "id": f"fc_{secrets.token_hex(8)}", "call_id": f"call_{secrets.token_hex(8)}"}
        output.append({**call, "name": name, "arguments": arguments, "status": "completed"})
    if not choice.calls:
        part = _part(choice.text) if choice.text is not None else {"type": "refusal", "refusal": choice.refusal or ""}
        item = {"id": f"msg_{visit.id}", "type": "message", "role": "assistant", "status": "completed"}
        output.append({**item, "content": [part]})
    is_cut = choice.reply.finish in ("length", "filter")
    reason = {"length": "max_output_tokens", "filter": "content_filter"}.get(choice.reply.finish)
    prompt, given = visit.prompt_tokens, visit.completion_tokens
    used = {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": given,
        "output_tokens_details": {"reasoning_tokens": choice.reply.thinking_tokens},
        "total_tokens": prompt + given,
    }
    return {
        **_head(visit, body),
        "status": "incomplete" if is_cut else "completed",
        "incomplete_details": {"reason": reason} if is_cut else None,
        "model": choice.reply.model,
        "output": output,
        "usage": used,
    }


def chat_of(body: Mapping[str, Any]) -> Asked:
    """Return a request for a response, understood."""
    return Asked.of(as_chat(body))


def _head(visit: Visit, body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"resp_{visit.id}",
        "object": "response",
        "created_at": int(visit.began),
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "model": visit.served or visit.model,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "temperature": body.get("temperature"),
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(number: int, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item of the input as a chat's message."""
    kind = item.get("type", "message")
    if kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if kind == "function_call_output":
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": str(item.get("output"))}
    if kind != "message" or not isinstance(item.get("role"), str):
        raise bad(f"an item of type {str(kind)[:60]!r} can't be asked of this model", f"input.{number}.type")
    content = item.get("content")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, Mapping)]
        content = [
            {"type": "text", "text": part.get("text")}
            if part.get("type") in ("input_text", "output_text")
            else {"type": "image_url", "image_url": {"url": part.get("image_url")}}
            if part.get("type") == "input_image"
            else dict(part)
            for part in parts
        ]
    return {"role": item["role"], "content": content}
