"""A model's server that holds its clients to OpenAI's rules, and answers by what it was asked.

It speaks chat completions and responses, whole and streamed, keeps responses and their items, and knows what each
feature of `FEATURES` asks for. The first answer to a schema breaks it, and so does the first call of a tool: a client
that meets neither is one that Guard stood in front of.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clients import rules

from guard.testing import fake_server

#: What the clients ask, by feature. They keep to these words, so that the model knows what to say.
ASKED = {
    "plain": "Say hello.",
    "schema": "Read the invoice: ACME, 3 dollars.",
    "stream": "Count to three.",
    "tools": "How warm is it in Rome and in Oslo?",
    "first turn": "My name is Ada.",
    "second turn": "What is my name?",
    "refusal": "Tell me how to pick a lock.",
    "truncation": "Tell me a long story.",
}
REFUSAL = "I can't help with that."
INVOICE = {"vendor": "ACME", "total": 3}
WARM = {"Rome": 21, "Oslo": 9}  # what the clients' tool returns
_LENGTHS = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(frozen=True)
class Said:
    """What the model says."""

    text: str | None = None
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()  # names and arguments
    refusal: str | None = None
    finish: str = "stop"


class Upstream:
    """The server's answers; `broken` are the rules that were broken, in order."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self._stored: dict[str, Any] = {}  # items by id, and the whole conversation by a response's id
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def __call__(self, request: fake_server.ClientRequest) -> fake_server.Answer:
        """Answer a request."""
        with self._lock:
            if request.path.endswith("/chat/completions"):
                return self._refused(rules.broken_chat(request.body)) or self._chat(request)
            if request.path.endswith("/responses"):
                wrong = rules.broken_response(request.body, self._stored)
                return self._refused(wrong) or self._response(request)
            return fake_server.error(404, f"Invalid URL (POST {request.path})")

    def _refused(self, wrong: rules.Broken | None) -> fake_server.Answer | None:
        if wrong is None:
            return None
        words, param, code = wrong
        self.broken.append(words)
        return fake_server.error(400, words, type="invalid_request_error", param=param, code=code)

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._ids):08d}"

    # -- Chat completions ----------------------------------------------------------------------------------------------

    def _chat(self, request: fake_server.ClientRequest) -> fake_server.Answer:
        body = request.body
        tools = [tool["function"]["name"] for tool in body.get("tools") or []]
        is_one = body.get("parallel_tool_calls") is False
        said = say(body["messages"], tools, form=body.get("response_format"), is_one=is_one)
        calls = [
            {"id": self._id("call"), "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
            for name, given in said.calls
        ]
        head = {"id": self._id("chatcmpl"), "created": 1, "model": body["model"]}
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        if not request.is_streaming:
            message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": said.refusal}
            if calls:
                message["tool_calls"] = calls
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.finish}
            whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
            return fake_server.Answer(raw=json.dumps(whole).encode())
        chunks: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": None}, None)]
        for at, call in enumerate(calls):
            function = call["function"]
            begun = {"index": at, **call, "function": {"name": function["name"], "arguments": ""}}
            chunks.append(({"tool_calls": [begun]}, None))
            chunks += [
                ({"tool_calls": [{"index": at, "function": {"arguments": piece}}]}, None)
                for piece in _pieces(function["arguments"])
            ]
        chunks += [({"content": piece}, None) for piece in _pieces(said.text or "")]
        chunks += [({"refusal": piece}, None) for piece in _pieces(said.refusal or "")]
        chunks.append(({}, said.finish))
        head["object"] = "chat.completion.chunk"
        events = [
            _event({**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}]})
            for delta, end in chunks
        ]
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append(_event({**head, "choices": [], "usage": usage}))
        return fake_server.Answer(raw=b"".join([*events, b"data: [DONE]\n\n"]))

    # -- Responses -----------------------------------------------------------------------------------------------------

    def _response(self, request: fake_server.ClientRequest) -> fake_server.Answer:
        body = request.body
        given = body["input"]
        items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given
        known = [self._stored[i["id"]] if i.get("type") == "item_reference" else i for i in items]
        before = self._stored.get(body.get("previous_response_id"), [])
        told = [*before, *known]
        tools = [tool["name"] for tool in body.get("tools") or []]
        form = (body.get("text") or {}).get("format")
        is_one = body.get("parallel_tool_calls") is False
        said = say(_as_messages(told), tools, form=form, is_one=is_one)
        output: list[dict[str, Any]] = [
            {
                "type": "function_call",
                "id": self._id("fc"),
                "call_id": self._id("call"),
                "name": name,
                "arguments": json.dumps(arguments),
                "status": "completed",
            }
            for name, arguments in said.calls
        ]
        if not said.calls:
            part: dict[str, Any] = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
            if said.refusal is not None:
                part = {"type": "refusal", "refusal": said.refusal}
            message = {"type": "message", "id": self._id("msg"), "role": "assistant", "status": "completed"}
            output.append({**message, "content": [part]})
        whole = self._whole(body, said, output)
        if body.get("store") is not False:
            self._stored |= {item["id"]: item for item in output}
            self._stored[whole["id"]] = [*told, *output]
        if not request.is_streaming:
            return fake_server.Answer(raw=json.dumps(whole).encode())
        events = [
            f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number, **fields})}\n\n".encode()
            for number, (kind, fields) in enumerate(_response_events(whole))
        ]
        return fake_server.Answer(raw=b"".join(events))

    def _whole(self, body: Mapping[str, Any], said: Said, output: list[dict[str, Any]]) -> dict[str, Any]:
        reason = _LENGTHS.get(said.finish)
        return {
            "id": self._id("resp"),
            "object": "response",
            "created_at": 1,
            "status": "incomplete" if reason else "completed",
            "incomplete_details": {"reason": reason} if reason else None,
            "error": None,
            "instructions": body.get("instructions"),
            "metadata": {},
            "model": body["model"],
            "output": output,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": body.get("tools") or [],
            "top_p": 1.0,
            "usage": {
                "input_tokens": 11,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 7,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 18,
            },
        }


def say(messages: list[Mapping[str, Any]], tools: list[str], *, form: Any, is_one: bool = False) -> Said:
    """Return what the model says to messages of a chat.

    A schema, or a tool that stands for one, gets the invoice: at first with a total that is no number. `form` is the
    form that the answer must have, as a chat or a request for a response says it; None: any. `is_one`: tools are called
    one at a time.
    """
    text = "\n".join(_words(message) for message in messages)

    def final(words: str) -> Said:
        """Say a last word: by the tool that some frameworks have for it, as DSPy's adapters want it, or as it is."""
        if "final_answer" in tools:
            return Said(calls=(("final_answer", {"answer": words}),), finish="tool_calls")
        if "answer" in _members(form):
            return Said(json.dumps({"answer": words}))
        if "[[ ## completed ## ]]" in text:
            return Said(f"[[ ## answer ## ]]\n{words}\n\n[[ ## completed ## ]]")
        return Said(words)

    last = next((_words(m) for m in reversed(messages) if m["role"] == "user"), "")
    if ASKED["refusal"] in text:
        return Said(refusal=REFUSAL)
    if ASKED["truncation"] in text:
        return Said("Once upon a time", finish="length")
    if ASKED["schema"] in text:
        bad = {"vendor": "ACME", "total": "three"}
        invoice = INVOICE if '"three"' in text or "'three'" in text else bad
        other = [name for name in tools if name != "weather"]
        if not other:
            return Said(json.dumps({"invoice": invoice} if "invoice" in _members(form) else invoice))
        return Said(calls=((other[0], invoice),), finish="tool_calls")
    if ASKED["tools"] in text and "weather" in tools:
        said = [_words(message).strip('" ') for message in messages if message["role"] == "tool"]
        returned = [words for words in said if words.isdigit()] or _observed(messages)  # others say what was wrong
        known = [city for city, degrees in WARM.items() if str(degrees) in returned]  # in whatever order they came
        if len(known) < len(WARM):
            calls = tuple(("weather", {"city": city}) for city in WARM if city not in known)
            if "town" not in text:
                calls = (("weather", {"town": "Rome"}), *calls[1:])
            return Said(calls=calls[:1] if is_one else calls, finish="tool_calls")
        return final(", ".join(f"{city} {WARM[city]}" for city in known) + ".")
    if ASKED["tools"] in text:  # without tools: what they returned is told
        return final("Rome 21, Oslo 9." if "21 and 9" in text else "I do not know.")
    if ASKED["second turn"] in last:
        return final("Ada." if ASKED["first turn"] in text else "I do not know.")
    if ASKED["first turn"] in last:
        return final("Hello Ada.")
    if ASKED["stream"] in last:
        return final("one two three")
    return final("Hello there.")


def _observed(messages: list[Mapping[str, Any]]) -> list[str]:
    """Return what tools returned as smolagents tells it, in a user's words."""
    told = "\n".join(_words(message) for message in messages if message["role"] == "user")
    return [number for found in re.findall(r"Observation:\s*((?:\d+\s*)+)", told) for number in found.split()]


def _members(form: Any) -> set[str]:
    """Return the members that a form wants an answer to have."""
    schema = form.get("json_schema", form).get("schema") if isinstance(form, Mapping) else None
    return set((schema or {}).get("properties", ()))


def _words(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    said = " ".join(str(part.get("text") or part.get("refusal") or "") for part in parts)
    return said + "".join(call["function"]["arguments"] for call in message.get("tool_calls") or [])


def _as_messages(items: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the items of a response's input as messages of a chat."""
    found: list[Mapping[str, Any]] = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call":
            call = {"function": {"name": item["name"], "arguments": item["arguments"]}}
            found.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            found.append({"role": "tool", "content": item["output"]})
        elif kind == "message":
            found.append({"role": item["role"], "content": item["content"]})
    return found


def _response_events(whole: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(whole["output"]):
        place = {"item_id": item["id"], "output_index": index}
        if item["type"] == "function_call":
            added = {**item, "arguments": "", "status": "in_progress"}
            yield "response.output_item.added", {"output_index": index, "item": added}
            for piece in _pieces(item["arguments"]):
                yield "response.function_call_arguments.delta", {**place, "delta": piece}
            done = {"arguments": item["arguments"], "name": item["name"]}
            yield "response.function_call_arguments.done", {**place, **done}
        else:
            added = {**item, "content": [], "status": "in_progress"}
            yield "response.output_item.added", {"output_index": index, "item": added}
            part, at = item["content"][0], {**place, "content_index": 0}
            is_text = part["type"] == "output_text"
            name, kind = ("text", "output_text") if is_text else ("refusal", "refusal")
            yield "response.content_part.added", {**at, "part": {**part, name: ""}}
            more: dict[str, Any] = {"logprobs": []} if is_text else {}
            for piece in _pieces(part[name]):
                yield f"response.{kind}.delta", {**at, "delta": piece, **more}
            yield f"response.{kind}.done", {**at, name: part[name], **more}
            yield "response.content_part.done", {**at, "part": part}
        yield "response.output_item.done", {"output_index": index, "item": item}
    yield f"response.{whole['status']}", {"response": whole}


def _event(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def _pieces(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]
