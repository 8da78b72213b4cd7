"""POST /v1/responses: OpenAI's newer protocol, without background runs and conversations.

Requests for plain text from an upstream pass through. Those with a schema (`text.format`), with strict tools, or to a
model that decodes here become chats, and the answer is translated back. guard/sidecar/response_state.py resolves
references to earlier responses before; guard/sidecar/endpoints/response_items.py translates items into messages.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from guard.errors import BadReply
from guard.kernels.unicode_text import json_text
from guard.models.base import Reply, Request
from guard.sidecar.constraints import understood
from guard.sidecar.endpoints import custom_tools, response_items
from guard.sidecar.endpoints.chat import Chat, Choice, cache_details, text_bytes
from guard.sidecar.endpoints.chat_request import ChatRequest, Items, checked
from guard.sidecar.errors import bad
from guard.sidecar.request_context import RequestContext
from guard.sidecar.served_models import Served
from guard.turns.pieces import CallPiece


class Response(BaseModel):
    """The body of a request for a response."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str = Field(min_length=1)
    input: str | Items[dict[str, Any]]
    instructions: str | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_output_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    temperature: float | None = Field(default=None, ge=0, le=2)
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    tools: Items[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None


class Responses:
    """The endpoint of responses. `original` is the client's request, before references were resolved."""

    path = "/responses"
    takes_n = False

    def __init__(self, original: Mapping[str, Any]) -> None:
        self._original = original

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
        return delta if isinstance(delta, str) else "", self.answer(whole)[1] if (whole := ended(said)) else None

    def answer(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the text of a whole answer, and how it ended."""
        output = said.get("output")
        if not isinstance(output, list) or not all(isinstance(item, Mapping) for item in output):
            raise BadReply("the model did not answer by the protocol: no output")
        contents = [item.get("content") for item in output]
        parts = [part for content in contents if isinstance(content, list) for part in content]
        return "".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping)), _ended(said)

    def written(self, said: Mapping[str, Any]) -> int:
        """Return the bytes of what an event adds, whichever item it belongs to, or of all items of a whole answer."""
        return text_bytes(said.get("delta") if "delta" in said else said.get("output"))

    def request(self, body: Mapping[str, Any], served: Served, seconds: float) -> Request:
        """Return the request to a model that has no upstream."""
        return Chat().request(as_chat(body), served, seconds)

    def whole(self, context: RequestContext, _: Mapping[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the answer of one reply of plain text."""
        return response(context, self._original, Choice(replies[0].text, replies[0]))

    def answered(
        self, context: RequestContext, _: ChatRequest, _body: Mapping[str, Any], choices: Sequence[Choice]
    ) -> dict[str, Any]:
        """Return the answer of choices that were checked."""
        return response(context, self._original, choices[0])

    def events(self, context: RequestContext, _: Mapping[str, Any]) -> ResponseEvents:
        """Return what writes its events."""
        return ResponseEvents(context, self._original)


def ended(said: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the whole response in an event that ends one, or None in another. Raises BadReply where there is none."""
    if said.get("type") not in ("response.completed", "response.incomplete"):
        return None
    whole = said.get("response")
    if not isinstance(whole, Mapping) or not whole:
        raise BadReply("the model did not answer by the protocol: an end without its response")
    return whole


def _ended(said: Mapping[str, Any]) -> str:
    """Return how a response has ended, as a chat's finish reason. Raises BadReply where it has not ended."""
    status = said.get("status", "completed")
    if status not in ("completed", "incomplete"):
        raise BadReply(f"the model did not answer by the protocol: a response that is {str(status)[:40]!r}")
    details = said.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    return "stop" if status == "completed" else "content_filter" if reason == "content_filter" else "length"


class ResponseEvents:
    """Writes the events of one streamed response."""

    def __init__(self, context: RequestContext, body: Mapping[str, Any]) -> None:
        self._context, self._body = context, body
        self._number = 0
        self._told: dict[str | int, list[str]] = {}  # of each item that comes in pieces: its kind, or a call's number
        self._calls: dict[int, dict[str, Any]] = {}  # the items of calls that come in pieces, still empty
        self._closed = 0  # of the items that come in pieces
        self._input = custom_tools.InputReader()  # of the custom call that is open
        self._customs = {tool.get("name") for tool in body.get("tools") or [] if tool.get("type") == "custom"}
        self._status = "completed"  # of the message
        self.whole: dict[str, Any] | None = None  # the response, once it has ended

    def text(self, piece: str) -> Iterator[bytes]:
        """Yield the events of a piece of text."""
        if piece:
            yield from self._piece(_TEXT, piece)

    def call(self, piece: CallPiece) -> Iterator[bytes]:
        """Yield the events of a piece of a call."""
        if piece.name:
            self._input = custom_tools.InputReader()
            self._calls[piece.number] = _call(piece.name, "", is_custom=piece.name in self._customs)
            yield from self._piece(piece.number, "")
        item = self._calls[piece.number]
        if text := str(piece) if item["type"] == "function_call" else self._input.feed(str(piece)):
            yield from self._piece(piece.number, text)

    def thought(self, piece: str) -> Iterator[bytes]:
        """Yield the events of a piece of thinking; none once the answer has begun."""
        if piece and not self._told.keys() - {_THOUGHT}:
            yield from self._piece(_THOUGHT, piece)

    def end(self, choice: Choice) -> Iterator[bytes]:
        """Yield the events that end the answer: the rest of its text, its other items, and `response.completed`."""
        if not self._number:
            yield from self._created()
        if _TEXT in self._told:
            yield from self.text(choice.text or choice.beside or "")
        whole = response(self._context, self._body, choice)
        self._status = whole["status"]
        yield from self._close()
        others = [
            item for item, kind in zip(whole["output"], _kinds(whole["output"]), strict=True) if kind not in self._told
        ]
        whole["output"] = [*(self._made(kind, "".join(pieces)) for kind, pieces in self._told.items()), *others]
        for index, item in enumerate(others, len(self._told)):
            yield from self._item(index, item)
        self.whole = whole
        yield self._event(f"response.{whole['status']}", response=whole)

    def choices(self, choices: Sequence[Choice]) -> Iterator[bytes]:
        """Yield the events of a whole choice, which was checked before."""
        yield from self.end(choices[0])

    def _created(self) -> Iterator[bytes]:
        head = {**_head(self._context, self._body), "status": "in_progress", "output": [], "usage": None}
        yield self._event("response.created", response=head)
        yield self._event("response.in_progress", response=head)

    def _piece(self, kind: str | int, piece: str) -> Iterator[bytes]:
        """Yield the events of a piece of an item: of a kind, or the call of that number."""
        if not self._number:
            yield from self._created()
        index = list(self._told).index(kind) if kind in self._told else len(self._told)
        place = {"item_id": self._made(kind, "")["id"], "output_index": index}
        if kind not in self._told:
            yield from self._close()
            self._told[kind] = []
            item = self._made(kind, "")
            begun = item if isinstance(kind, int) else {**item, "content": []}
            begun |= {"status": "in_progress"} if "status" in item else {}
            yield self._event("response.output_item.added", output_index=index, item=begun)
            if isinstance(kind, str):
                part = item["content"][0]
                yield self._event("response.content_part.added", **place, content_index=0, part=part)
        self._told[kind].append(piece)
        if isinstance(kind, str):
            yield self._event(f"response.{kind}.delta", **place, content_index=0, delta=piece, **_MORE.get(kind, {}))
        elif piece:
            yield self._event(f"response.{_name(self._calls[kind])}.delta", **place, delta=piece)

    def _close(self) -> Iterator[bytes]:
        """Yield the events that end the open item, if there is one."""
        for index, (kind, pieces) in list(enumerate(self._told.items()))[self._closed :]:
            item = self._made(kind, "".join(pieces))
            place = {"item_id": item["id"], "output_index": index}
            if isinstance(kind, str):
                (part,) = item["content"]
                place["content_index"] = 0
                yield self._event(f"response.{kind}.done", **place, text=part["text"], **_MORE.get(kind, {}))
                yield self._event("response.content_part.done", **place, part=part)
            else:
                yield self._called(place, item)
            yield self._event("response.output_item.done", output_index=index, item=item)
        self._closed = len(self._told)

    def _called(self, place: Mapping[str, Any], item: Mapping[str, Any]) -> bytes:
        """Return the event that ends the text of a call."""
        text = _CALLS[item["type"]]
        named = {"name": item["name"]} if text == "arguments" else {}
        return self._event(f"response.{_name(item)}.done", **place, **named, **{text: item[text]})

    def _made(self, kind: str | int, text: str) -> dict[str, Any]:
        if isinstance(kind, int):
            item = self._calls[kind]
            return {**item, _CALLS[item["type"]]: text}
        if kind == _TEXT:
            return _message(self._context, [_part(text)], self._status)
        return _reasoning(self._context, text)

    def _item(self, index: int, item: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the events of a whole item: it begins empty, and its content comes once."""
        text = _CALLS.get(item["type"])  # the field that holds a call's text
        begun = {
            **item,
            **({"content": []} if text is None else {text: ""}),
            **({"status": "in_progress"} if "status" in item else {}),
        }
        yield self._event("response.output_item.added", output_index=index, item=begun)
        place = {"item_id": item["id"], "output_index": index}
        if text is not None:
            yield self._event(f"response.{_name(item)}.delta", **place, delta=item[text])
            yield self._called(place, item)
        for number, part in enumerate(item.get("content") or ()):
            kind, key = _KINDS[part["type"]]
            at = {**place, "content_index": number}
            more = _MORE.get(kind, {})
            yield self._event("response.content_part.added", **at, part={**part, key: ""})
            yield self._event(f"response.{kind}.delta", **at, delta=part[key], **more)
            yield self._event(f"response.{kind}.done", **at, **{key: part[key]}, **more)
            yield self._event("response.content_part.done", **at, part=part)
        yield self._event("response.output_item.done", output_index=index, item=item)

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return f"event: {kind}\ndata: {json_text(data)}\n\n".encode()


_TEXT, _THOUGHT = "output_text", "reasoning_text"  #: Kinds of parts.
#: By kind of part, the name of its events, and the field that they carry.
_KINDS = {_TEXT: (_TEXT, "text"), "refusal": ("refusal", "refusal"), _THOUGHT: (_THOUGHT, "text")}
#: Of a call: the field that holds its text.
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
#: Other fields of a kind's events.
_MORE: Mapping[str, dict[str, Any]] = {_TEXT: {"logprobs": []}}
#: Fields that a chat does not have, or that `as_chat` translates.
_OWN = frozenset(
    {
        *("model", "input", "instructions", "stream", "stream_options", "max_output_tokens", "text", "tools"),
        *("tool_choice", "reasoning", "include", "truncation", "max_tool_calls", "store", "previous_response_id"),
        *("conversation", "background", "prompt", "context_management"),
    }
)
#: Fields that refer to something that the sidecar does not store.
_NOT_HERE = ("previous_response_id", "conversation", "prompt")


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the chat request of the same meaning. Raises ApiError where there is none."""
    asked: Response = checked(Response, dict(body))
    for name in _NOT_HERE:
        if body.get(name) is not None:
            raise bad(f"{name} needs what this server does not keep; send the whole input", name, "unsupported_value")
    if body.get("n") not in (None, 1):
        raise bad("n: a response is one answer; leave it out", "n", "unsupported_value")  # each would be paid for
    said = (
        response_items.messages(asked.input)
        if isinstance(asked.input, list)
        else [{"role": "user", "content": asked.input}]
    )
    if asked.instructions:
        said.insert(0, {"role": "system", "content": asked.instructions})
    chat = {key: value for key, value in body.items() if key not in _OWN and value is not None}
    chat |= {"model": asked.model, "messages": said, "stream": asked.stream}
    if asked.max_output_tokens is not None:
        chat["max_completion_tokens"] = asked.max_output_tokens
    if effort := (asked.reasoning or {}).get("effort"):
        chat["reasoning_effort"] = effort
    if (verbosity := (asked.text or {}).get("verbosity")) is not None:
        chat["verbosity"] = verbosity
    included = body.get("include")
    tells = isinstance(included, list) and "message.output_text.logprobs" in included
    for name, wanted in (("top_logprobs", body.get("top_logprobs")), ("include", tells)):
        if wanted:
            raise bad(f"{name}: no log-probabilities are told in a response; leave it out", name, "unsupported_value")
    for key, value in (asked.text or {}).items():
        if key not in ("format", "verbosity") and value is not None:
            raise bad(f"text.{key} is not known here; leave it out", f"text.{key}", "unsupported_value")
    wanted = (asked.text or {}).get("format")
    if wanted is not None and chat.get("response_format") is not None:
        raise bad("response_format and text.format ask for the same; send one of them", "response_format")
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        chat["response_format"] = {
            "type": "json_schema",
            "json_schema": {k: v for k, v in wanted.items() if k != "type"},
        }
    elif wanted is not None:
        chat["response_format"] = wanted
    if asked.tools:
        chat["tools"] = [_tool(tool) for tool in asked.tools]
    if asked.tool_choice is not None:
        chat["tool_choice"] = _tool_choice(asked.tool_choice)
    return chat


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool as a chat has it: what it is stands one deeper."""
    kind = tool.get("type")
    if kind not in ("function", "custom"):
        return tool
    told = {key: value for key, value in tool.items() if key != "type"}
    form = told.get("format")
    if kind == "custom" and isinstance(form, Mapping) and form.get("type") == "grammar" and "grammar" not in form:
        told["format"] = {"type": "grammar", "grammar": {key: form[key] for key in form if key != "type"}}
    return {"type": kind, kind: told}


def _tool_choice(choice: Any) -> Any:
    """Return tool_choice in a chat's form."""
    if isinstance(choice, Mapping) and choice.get("type") in ("function", "custom"):
        return {"type": choice["type"], choice["type"]: {"name": choice.get("name")}}
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools" and isinstance(choice.get("tools"), list):
        tools = [_tool_choice(tool) for tool in choice["tools"]]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": tools}}
    return choice


def refuse_background(body: Mapping[str, Any]) -> None:
    """Refuse what no provider does here: an answer that comes later can't be put on record, nor be fetched."""
    if body.get("background"):
        raise bad("background needs what this server does not keep; leave it out", "background", "unsupported_value")


def refuse_conversation(body: Mapping[str, Any]) -> None:
    """Refuse what the provider keeps for all keys alike: nobody here knows whose it is."""
    if body.get("conversation") is not None:
        words = "conversation can't be kept apart for each key"
        way_out = "name the response before in previous_response_id, or send the whole input with store false"
        raise bad(f"{words}; {way_out}", "conversation", "unsupported_value")


def is_text(body: Mapping[str, Any], *, checks_calls: bool) -> bool:
    """Whether a request needs no schema work. `checks_calls`: calls of all functions are validated, strict or not."""
    wanted = (body.get("text") or {}).get("format") if isinstance(body.get("text"), Mapping) else None
    tools = body.get("tools")
    told = tools if isinstance(tools, list) and body.get("tool_choice") != "none" else []
    is_strict = any(isinstance(tool, Mapping) and tool.get("strict") for tool in told)
    if checks_calls and told and all(isinstance(tool, Mapping) and tool.get("type") == "function" for tool in told):
        return False
    is_plain = wanted is None or (isinstance(wanted, Mapping) and wanted.get("type") == "text")
    if is_plain and wanted is not None:
        understood({"response_format": wanted})  # raises for what the type has no meaning for
    in_words, language, _ = understood(dict(body))
    return is_plain and not is_strict and language is None and "response_format" not in in_words


def response(context: RequestContext, body: Mapping[str, Any], choice: Choice) -> dict[str, Any]:
    """Return a whole response."""
    output: list[dict[str, Any]] = []
    is_cut = choice.reply.finish in ("length", "filter")
    status = "incomplete" if is_cut else "completed"
    if choice.refusal is not None or choice.text is not None or choice.beside:
        said = choice.text if choice.text is not None else choice.beside
        part = _part(said or "") if choice.refusal is None else {"type": "refusal", "refusal": choice.refusal}
        output.append(_message(context, [part], status))
    if choice.reply.thinking:
        output.insert(0, _reasoning(context, choice.reply.thinking))
    for name, arguments in choice.calls:
        is_custom = name in choice.customs
        text = custom_tools.input_of(arguments) if is_custom else arguments
        output.append(_call(name, text, is_custom=is_custom))
    reason = {"length": "max_output_tokens", "filter": "content_filter"}.get(choice.reply.finish)
    prompt, given = context.prompt_tokens, context.completion_tokens
    used = {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, **cache_details(context)},
        "output_tokens": given,
        "output_tokens_details": {"reasoning_tokens": context.thinking_tokens},
        "total_tokens": prompt + given,
    }
    return {
        **_head(context, body),
        "status": status,
        "incomplete_details": {"reason": reason} if is_cut else None,
        "output": output,
        "usage": used,
    }


def chat_of(body: Mapping[str, Any]) -> ChatRequest:
    """Return the parsed chat request of a request for a response."""
    return ChatRequest.of(as_chat(body))


def _head(context: RequestContext, body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"resp_{context.id}",
        "object": "response",
        "created_at": int(context.began),
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "model": context.answering,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "store": body.get("store") is not False,
        "temperature": body.get("temperature"),
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
    }


def _call(name: str, text: str, *, is_custom: bool) -> dict[str, Any]:
    """Return the item of a call."""
    kind, short = ("custom_tool_call", "ctc") if is_custom else ("function_call", "fc")
    call = {"type": kind, "id": f"{short}_{secrets.token_hex(8)}", "call_id": f"call_{secrets.token_hex(8)}"}
    return {**call, "name": name, _CALLS[kind]: text, "status": "completed"}


def _name(call: Mapping[str, Any]) -> str:
    """Return how the events of a call's text are called."""
    return f"{call['type']}_{_CALLS[call['type']]}"


def _kinds(output: Sequence[Mapping[str, Any]]) -> Iterator[str | int]:
    """Yield the kind of each item of a response; of a call, its number."""
    number = 0
    for item in output:
        if item["type"] in _CALLS:
            yield number
            number += 1
        else:
            yield {"message": _TEXT, "reasoning": _THOUGHT}[item["type"]]


def _message(context: RequestContext, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    item = {"id": f"msg_{context.id}", "type": "message", "role": "assistant", "status": status}
    return {**item, "content": content}


def _reasoning(context: RequestContext, text: str) -> dict[str, Any]:
    content = [{"type": _THOUGHT, "text": text}]
    return {"type": "reasoning", "id": f"rs_{context.id}", "summary": [], "content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
