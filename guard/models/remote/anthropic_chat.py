"""The translation between chat completions and Anthropic's protocol: requests there; answers and events back.

The rest of Guard uses OpenAI's chats. `UnsayableError` names the field of a chat that Anthropic's protocol can't
express. Signed thinking is kept in `thinking_blocks` of the assistant's message, and goes back unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from guard.output import provider_schema

FINISH = {
    **dict.fromkeys(("end_turn", "stop_sequence", "pause_turn"), "stop"),
    **dict.fromkeys(("max_tokens", "model_context_window_exceeded"), "length"),
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
VERSION, SAMPLING_VERSION = "2026-10-21", "2023-06-01"  #: The newest version, and the last that samples.
_SAMPLING = ("temperature", "top_p", "top_k")  #: Fields that the newest version refuses.
DECLINED = "The model declined to answer."  #: The text of a refusal without one.
#: Efforts of OpenAI's protocol, as Anthropic's names them.
_EFFORTS = {"minimal": "low"}
#: Fields that are the same in both protocols.
_SAME = (*_SAMPLING, "thinking", "cache_control")


class UnsayableError(ValueError):
    """A field of a chat that Anthropic's protocol can't express."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(f"{field}: {words}")
        self.field = field


# ---- There -----------------------------------------------------------------------------------------------------------


def settings(chat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a chat request, without its schema and tools."""
    given = {name: chat[name] for name in _SAME if chat.get(name) is not None}
    if stop := chat.get("stop"):
        given["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    if isinstance(user := chat.get("user"), str):
        given["metadata"] = {"user_id": user}
    config, effort = chat.get("output_config"), chat.get("reasoning_effort")
    if isinstance(config, Mapping) and config.get("effort") is not None:
        given["output_config"] = {"effort": config["effort"]}
    if effort == "none":
        given.setdefault("thinking", {"type": "disabled"})
    elif isinstance(effort, str):
        given.setdefault("thinking", {"type": "adaptive"})
        given["output_config"] = {"effort": _EFFORTS.get(effort, effort)}
    return given


def request(chat: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """Translate a whole chat request. `max_tokens` is the default limit. Raises UnsayableError."""
    asked = chat.get("max_completion_tokens") or chat.get("max_tokens") or max_tokens
    system, said = messages(chat["messages"])
    body: dict[str, Any] = {"model": chat["model"], "max_tokens": asked, "messages": said, **settings(chat)}
    if chat.get("stream"):
        body["stream"] = True
    body |= _tools(chat)
    form, told = _format(chat.get("response_format"))
    if form is not None:
        body["output_config"] = {**body.get("output_config", {}), "format": form}
    if told:
        system = [*system, _said(told)] if isinstance(system, list) else f"{system}\n\n{told}".lstrip()
    if system:
        body["system"] = system
    if thinks(body) and not _may_think(said):  # the thinking of this turn is missing, so it can't continue
        body["thinking"] = {"type": "disabled"}
    return body


def check(chat: Mapping[str, Any]) -> None:
    """Raise UnsayableError where `request` does; no schema is translated."""
    messages(chat["messages"])
    for number, tool in _offered(chat)[0]:
        _function(number, tool)


def version(body: Mapping[str, Any]) -> str:
    """Return the version of the protocol that supports a request."""
    return SAMPLING_VERSION if any(name in body for name in _SAMPLING) else VERSION


def thinks(body: Mapping[str, Any]) -> bool:
    """Whether a request enables thinking, so that a call of a tool can't be forced."""
    thinking = body.get("thinking")
    return isinstance(thinking, Mapping) and thinking.get("type") not in (None, "disabled")


def messages(chat: Iterable[Mapping[str, Any]]) -> tuple[str | list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the system's content, and the turns, with tools' results as the user's. Raises UnsayableError."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for number, message in enumerate(chat):
        at, role, content = f"messages.{number}", message.get("role"), message.get("content")
        if role in ("system", "developer"):
            system += _parts(content, f"{at}.content", _TEXTS)
        elif role == "assistant":
            _add(turns, "assistant", list(_assistant(message, at)))
        elif role == "tool":
            blocks = _parts(content, f"{at}.content", _PARTS)
            result = {"type": "tool_result", "tool_use_id": str(message.get("tool_call_id")), "content": blocks}
            _add(turns, "user", [result | _cached(message)])
        elif role == "user":
            _add(turns, "user", _parts(content, f"{at}.content", _PARTS))
        else:
            raise UnsayableError(f"{at}.role", f"there is no role {str(role)[:60]!r}")
    told = system if any(map(_cached, system)) else "\n\n".join(block["text"] for block in system)
    if not turns:  # the protocol requires a user's message
        return "", [{"role": "user", "content": told}]
    for turn in turns:
        if len(turn["content"]) == 1 and turn["content"][0].keys() == {"type", "text"}:
            turn["content"] = turn["content"][0]["text"]
    return told, turns


def _said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _cached(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `cache_control` of a part of a chat."""
    return {"cache_control": part["cache_control"]} if part.get("cache_control") else {}


def _add(turns: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    elif blocks:
        turns.append({"role": role, "content": blocks})


def _may_think(turns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an unfinished turn of the assistant, if there is one, comes with its thinking."""
    if not any(block["type"] == "tool_result" for block in _of(turns[-1])):
        return True
    last: Mapping[str, Any] = next((turn for turn in reversed(turns) if turn["role"] == "assistant"), {"content": []})
    return any(block["type"] in ("thinking", "redacted_thinking") for block in _of(last))


def _of(turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    return turn["content"] if isinstance(turn["content"], list) else []


def _assistant(message: Mapping[str, Any], at: str) -> Iterator[dict[str, Any]]:
    """Yield the blocks of an assistant's message."""
    blocks = message.get("thinking_blocks")
    yield from (dict(block) for block in (blocks if isinstance(blocks, list) else ()) if isinstance(block, Mapping))
    yield from _parts(message.get("content") or message.get("refusal"), f"{at}.content", _TEXTS)
    for number, call in enumerate(message.get("tool_calls") or ()):
        place = f"{at}.tool_calls.{number}"
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise UnsayableError(place, "a call names a function")
        try:
            given = json.loads(function.get("arguments") or "{}")
        except (TypeError, ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise UnsayableError(f"{place}.function.arguments", "they must be a JSON object, as text")
        use = {"type": "tool_use", "id": str(call.get("id")), "name": function["name"], "input": given}
        yield use | _cached(call)


_TEXTS = frozenset({"text", "refusal"})
_OWN = frozenset({"image", "document", "search_result"})  #: Anthropic's blocks, passed on unchanged.
_PARTS = _TEXTS | _OWN | {"image_url", "file"}


def _parts(content: Any, at: str, known: frozenset[str]) -> list[dict[str, Any]]:
    """Return a content as blocks, without empty texts, which the protocol refuses."""
    if content is None or isinstance(content, str):
        return [_said(content)] if content else []
    found: list[dict[str, Any]] = []
    for number, part in enumerate(content):
        place = f"{at}.{number}"
        kind = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(kind, str) or kind not in known:
            raise UnsayableError(place, f"Anthropic's protocol has no part of type {str(kind)[:60]!r} here")
        text = part.get(kind)
        if kind in _OWN:
            found.append(dict(part))
        elif kind in _TEXTS:
            if not isinstance(text, str):
                raise UnsayableError(f"{place}.{kind}", "it must be text")
            found += [_said(text) | _cached(part)] if text else []
        else:
            found.append((_image(text, place) if kind == "image_url" else _file(text, place)) | _cached(part))
    return found


def _image(image: Any, at: str) -> dict[str, Any]:
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str):
        raise UnsayableError(f"{at}.image_url.url", "it must be text")
    return {"type": "image", "source": _data(url) or {"type": "url", "url": url}}


def _file(file: Any, at: str) -> dict[str, Any]:
    source = _data(file.get("file_data")) if isinstance(file, Mapping) else None
    if source is None:
        raise UnsayableError(f"{at}.file.file_data", "a file must be here as a data URL in base64")
    name = file.get("filename")
    return {"type": "document", "source": source, **({"title": name} if isinstance(name, str) else {})}


def _data(url: Any) -> dict[str, str] | None:
    """Return the source that a data URL makes, or None for another URL."""
    head, found, data = url.partition(";base64,") if isinstance(url, str) else ("", "", "")
    if not found or not head.startswith("data:"):
        return None
    return {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}


def _tools(chat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tools of a request, and its tool_choice."""
    tools, kind = _offered(chat)
    if not tools:
        return {}
    if chat.get("parallel_tool_calls") is False and kind["type"] != "none":
        kind["disable_parallel_tool_use"] = True
    has_choice = chat.get("tool_choice") is not None or len(kind) > 1
    return {"tools": [_tool(number, tool) for number, tool in tools], **({"tool_choice": kind} if has_choice else {})}


def _offered(chat: Mapping[str, Any]) -> tuple[list[tuple[int, Any]], dict[str, Any]]:
    """Return the tools that may be called, each with its number in the request, and the choice among them."""
    choice = chat.get("tool_choice")
    tools = list(enumerate(chat.get("tools") or ()))
    if not isinstance(choice, Mapping):
        return tools, {"type": "auto" if choice is None else {"required": "any"}.get(choice, choice)}
    allowed = choice.get("allowed_tools")
    if not isinstance(allowed, Mapping):
        return tools, {"type": "tool", "name": _name(choice)}
    names = {_name(tool) for tool in allowed.get("tools") or ()}  # the other tools are left out
    kind = {"type": "any" if allowed.get("mode") == "required" else "auto"}
    return [(number, tool) for number, tool in tools if _name(tool) in names], kind


def _name(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return function.get("name") if isinstance(function, Mapping) else None


def _function(number: int, tool: Any) -> Mapping[str, Any]:
    """Return the function that a tool is."""
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    if kind != "function":
        raise UnsayableError(f"tools.{number}.type", f"Anthropic's protocol has no tool of type {str(kind)[:60]!r}")
    function = tool.get("function")
    if not isinstance(function, Mapping):
        raise UnsayableError(f"tools.{number}.function", "a tool of this type must hold a function")
    return function


def _tool(number: int, tool: Any) -> dict[str, Any]:
    function = _function(number, tool)
    made: dict[str, Any] = {"name": function.get("name")}
    schema, words = function.get("parameters") or {"type": "object"}, function.get("description") or ""
    if function.get("strict"):
        try:
            sent = provider_schema.strict(schema, provider_schema.ANTHROPIC)
        except provider_schema.DialectError:
            sent = None  # its strict schemas support too little; the caller validates the arguments
        if sent is not None and sent.is_identity:
            if sent.dropped:
                words = f"{words}\nThe input must meet this JSON Schema: {json.dumps(schema)}".lstrip()
            made["strict"], schema = True, sent.schema
    made |= {"description": words} if words else {}
    return {**made, "input_schema": {"type": "object", **schema}, **_cached(tool)}


def _format(wanted: Any) -> tuple[dict[str, Any] | None, str]:
    """Return the format of an answer, and the instruction that replaces it where the protocol has none."""
    if not isinstance(wanted, Mapping) or wanted.get("type") not in ("json_object", "json_schema"):
        return None, ""
    inner = wanted.get("json_schema")
    schema = inner.get("schema", True) if isinstance(inner, Mapping) else {"type": "object"}
    try:
        sent = provider_schema.strict(schema, provider_schema.ANTHROPIC)
    except provider_schema.DialectError:
        sent = None
    if sent is not None and sent.is_identity and not sent.dropped:
        return {"type": "json_schema", "schema": sent.schema}, ""
    return None, f"Where you answer without calling a tool, answer with JSON of this JSON Schema: {json.dumps(schema)}"


# ---- And back --------------------------------------------------------------------------------------------------------


def completion(message: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Translate a message into a chat completion. `text` is its JSON, which preserves the spelling of numbers.

    Raises KeyError, TypeError or ValueError where it breaks the protocol.
    """
    said: dict[str, Any] = {"role": "assistant", "content": None}
    texts: list[str] = []
    thoughts: list[Any] = []
    calls: list[dict[str, Any]] = []
    exact = provider_schema.exact(text)["content"] if any(b["type"] == "tool_use" for b in message["content"]) else []
    for number, block in enumerate(message["content"]):
        if block["type"] == "text":
            texts.append(_text(block["text"]))
        elif block["type"] in ("thinking", "redacted_thinking"):
            thoughts.append(block)
        elif block["type"] == "tool_use":
            arguments = provider_schema.written(exact[number]["input"])
            calls.append(_call(block, arguments))
    if thoughts:
        said |= {"reasoning_content": _thought(thoughts), "thinking_blocks": thoughts}
    said["content"] = "".join(texts) if texts or not calls else None
    if calls:
        said["tool_calls"] = calls
    reason = message["stop_reason"]
    finish = FINISH[reason]
    if reason == "refusal":
        said, finish = {**said, "content": None, "refusal": "".join(texts) or DECLINED}, "stop"
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": finish}
    if message.get("stop_sequence") is not None:
        choice["stop_reason"] = message["stop_sequence"]
    head = {"id": message.get("id"), "object": "chat.completion", "created": 0, "model": _text(message["model"])}
    return {**head, "choices": [choice], "usage": usage(message["usage"])}


def usage(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usage in a chat's fields. Tokens read from a cache, or written to it, are part of the prompt."""
    cached, kept = (told.get(f"cache_{name}_input_tokens") or 0 for name in ("read", "creation"))
    prompt = told["input_tokens"] + cached + kept
    given = told["output_tokens"]
    details = {"prompt_tokens_details": {"cached_tokens": cached, "cache_creation_tokens": kept}}
    return {"prompt_tokens": prompt, "completion_tokens": given, "total_tokens": prompt + given, **details}


class Chunks:
    """Translates a streamed message into the chunks of a chat completion."""

    def __init__(self, *, tells_usage: bool) -> None:
        self.is_over = False
        self._tells_usage = tells_usage
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._block: dict[str, Any] = {}  # that is open
        self._at: Any = None  # its number
        self._calls = 0

    def take(self, event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the chunks of an event. Raises KeyError, TypeError or ValueError where it breaks the protocol."""
        match event["type"]:
            case "message_start":
                message = event["message"]
                self._head = {"id": message.get("id"), "object": "chat.completion.chunk", "created": 0}
                self._head["model"] = _text(message["model"])
                self._usage = dict(message["usage"])
                yield self._chunk({"role": "assistant", "content": ""})
            case "content_block_start":
                self._at = event.get("index")
                yield from self._begun(event["content_block"])
            case "content_block_delta":
                self._check_place(event)
                yield from self._delta(event["delta"])
            case "content_block_stop":
                self._check_place(event)
                if self._block["type"] == "tool_use" and not self._block["said"]:
                    yield self._arguments(json.dumps(self._block["input"]))
                self._block = {}
            case "message_delta":
                self._usage |= {name: n for name, n in (event.get("usage") or {}).items() if n is not None}
                delta = event["delta"]
                if (reason := delta["stop_reason"]) is not None:
                    yield self._chunk({}, FINISH[reason], delta.get("stop_sequence"))
            case "message_stop":
                self.is_over = True
                if self._tells_usage:
                    yield {**self._head, "choices": [], "usage": usage(self._usage)}

    def _check_place(self, event: Mapping[str, Any]) -> None:
        """Raise ValueError where an event is about another block than the open one: they come one after the other."""
        if not self._block or event.get("index") != self._at:
            raise ValueError

    def _begun(self, block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        self._block = {"thinking": "", "signature": "", "input": {}, "said": False, **block}
        if block["type"] == "tool_use":
            yield self._chunk({"tool_calls": [{"index": self._calls, **_call(block, "")}]})
            self._calls += 1
        elif block["type"] == "redacted_thinking":
            yield self._chunk({"thinking_blocks": [dict(block)]})
        elif block["type"] == "text" and block.get("text"):
            yield self._chunk({"content": _text(block["text"])})

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        match delta["type"]:
            case "text_delta":
                yield self._chunk({"content": _text(delta["text"])})
            case "input_json_delta":
                if (piece := _text(delta["partial_json"])) and self._block["type"] == "tool_use":
                    self._block["said"] = True
                    yield self._arguments(piece)
            case "thinking_delta":
                self._block["thinking"] += _text(delta["thinking"])
                yield self._chunk({"reasoning_content": delta["thinking"]})
            case "signature_delta":
                signed = {"thinking": self._block["thinking"], "signature": _text(delta["signature"])}
                yield self._chunk({"thinking_blocks": [{"type": "thinking", **signed}]})

    def _arguments(self, piece: str) -> dict[str, Any]:
        return self._chunk({"tool_calls": [{"index": self._calls - 1, "function": {"arguments": piece}}]})

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, stop: Any = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._head, "choices": [choice if stop is None else {**choice, "stop_reason": stop}]}


def _call(block: Mapping[str, Any], arguments: str) -> dict[str, Any]:
    function = {"name": _text(block["name"]), "arguments": arguments}
    return {"id": _text(block["id"]), "type": "function", "function": function}


def _thought(blocks: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(_text(block["thinking"]) for block in blocks if block.get("thinking"))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
