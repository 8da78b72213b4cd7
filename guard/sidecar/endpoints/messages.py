"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's protocol, translated into chat completions.

A request becomes the chat request of the same meaning, and is served like one: passed through, or validated, masked,
re-asked, escalated. guard/sidecar/endpoints/message_answers.py translates the answer back. A field that a chat can't
express is refused by name. Hints that change no answer are dropped: `service_tier`, `citations` that are off, thinking
of past turns, which Anthropic drops too, and `cache_control` for models that are not Anthropic's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from guard.kernels.unicode_text import json_text
from guard.models.chat_messages import estimated_tokens
from guard.models.remote.openai import URL
from guard.sidecar import efforts
from guard.sidecar.endpoints import tool_calls
from guard.sidecar.endpoints.chat import Chat
from guard.sidecar.endpoints.chat_request import ChatRequest, Items, checked
from guard.sidecar.endpoints.message_answers import SIGNATURE, check
from guard.sidecar.errors import ApiError, bad
from guard.sidecar.served_models import Served
from guard.support.bounds import MOST_COUNT

PATH = "/v1/messages"
COUNT_PATH = "/v1/messages/count_tokens"
#: Efforts of OpenAI's protocol, each with the budget of thinking tokens below which it is chosen.
EFFORTS: Sequence[tuple[int, str]] = ((4096, "low"), (16_384, "medium"))
_CACHE = "cache_control"
#: Members of each kind of block, and of each kind of source, beside `type`. Thinking is its own provider's to read.
_MEMBERS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"text", "citations", _CACHE}),
    "image": frozenset({"source", _CACHE}),
    "document": frozenset({"source", "title", "context", "citations", _CACHE}),
    "tool_use": frozenset({"id", "name", "input", "caller", _CACHE}),
    "tool_result": frozenset({"tool_use_id", "content", "is_error", _CACHE}),
}
_SOURCES: Mapping[str, frozenset[str]] = {
    "base64": frozenset({"media_type", "data"}),
    "text": frozenset({"media_type", "data"}),
    "url": frozenset({"url"}),
}
_OURS = {"type": "direct"}  #: Who called a tool, where that is not Anthropic's own code.
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class _MessagePart(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _marked(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    for number, block in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(block.get(_CACHE), dict | None):
            raise ValueError(f"the {_CACHE} of block {number} must be an object")
    return content


Blocks = Annotated[str | Items[dict[str, Any]], AfterValidator(_marked)]


class AnthropicTurn(_MessagePart):
    """One message of a conversation."""

    role: Literal["user", "assistant", "system"]
    content: Blocks


class MessageTool(_MessagePart):
    """A tool that the client carries out."""

    name: str = Field(min_length=1)
    input_schema: dict[str, Any]
    type: str | None = None
    description: str | None = None
    strict: bool | None = None
    cache_control: dict[str, Any] | None = None
    eager_input_streaming: bool | None = None
    input_examples: Items[dict[str, Any]] | None = None


class MessageToolChoice(_MessagePart):
    """Which tool is to be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(_MessagePart):
    """Whether the model thinks before it answers, and for how many tokens at most."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    display: str | None = None


class OutputFormat(_MessagePart):
    """The schema that the answer must meet."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(_MessagePart):
    """Settings of the answer: its format and the effort."""

    format: OutputFormat | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None


class Metadata(BaseModel):
    """The end user's id, for the provider. Other members are ignored."""

    model_config = ConfigDict(extra="allow", strict=True)

    user_id: str | None = None


class Counted(_MessagePart):
    """The parts of a prompt: the body of a request to count its tokens."""

    model: str = Field(min_length=1)
    messages: Items[AnthropicTurn] = Field(min_length=1)
    system: Blocks | None = None
    tools: Items[MessageTool] | None = Field(default=None, max_length=128)
    tool_choice: MessageToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    cache_control: dict[str, Any] | None = None

    @field_validator("tools", mode="before")
    @classmethod
    def _are_the_clients(cls, value: Any) -> Any:
        for tool in value if isinstance(value, list) else ():
            kind = tool.get("type") if isinstance(tool, Mapping) else None
            if kind not in (None, "custom"):
                raise ValueError(f"a tool of type {str(kind)[:60]!r} is carried out by Anthropic, not here")
        return value


class Message(Counted):
    """The body of a request for a message. Strict: a text is never taken for a number."""

    max_tokens: int = Field(ge=1, lt=2**31)
    stream: bool | None = None
    stop_sequences: Items[str] | None = None
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=0, lt=2**31)
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None


class MessageChat(Chat):
    """The endpoint of chats whose answers are translated into messages."""

    def answer(self, said: Mapping[str, Any]) -> tuple[str, str]:
        """Return the text of a whole answer, and how it ended. Raises BadReply where no message can be made of it."""
        found = super().answer(said)
        check(said)
        return found


def as_chat(asked: Counted, served: Served) -> dict[str, Any]:
    """Return the chat request of the same meaning. Raises ApiError where there is none."""
    is_anthropics = all(tier.upstream is not None and tier.upstream.is_translated for tier in served.tiers)
    if not is_anthropics:
        asked = _uncached(asked)
    chat: dict[str, Any] = {"model": asked.model, "messages": list(_messages(asked, is_signed=is_anthropics))}
    if isinstance(asked, Message):
        chat |= _settings(asked, served)
    if asked.tools:
        chat["tools"] = [_tool(tool) for tool in asked.tools]
    if asked.tool_choice is not None:
        chat |= _choice(asked.tool_choice)
    wanted = (asked.output_config and asked.output_config.format) or asked.output_format
    if wanted is not None:
        named = {"name": "answer", "schema": wanted.schema_, "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": named}
    effort = _effort(asked)
    chat |= _own(asked) if is_anthropics else _thinking(asked.thinking, effort, served)
    for tier in served.tiers:
        if tier.upstream is None:
            if "top_k" in chat:
                raise bad(f"top_k: {served.name} can't be asked so; leave it out", "top_k", "unsupported_value")
            limit = asked.max_tokens if isinstance(asked, Message) else MOST_COUNT
            efforts.check(chat, tier, limit, "output_config.effort" if asked.thinking is None else "thinking")
    return chat


def count(asked: Counted, served: Served) -> dict[str, Any]:
    """Count a prompt's tokens where no provider does. Blocks. `is_estimate`: the model has no tokenizer either."""
    chat = ChatRequest.of(as_chat(asked, served))
    counts = getattr(served.model, "count_tokens", None)
    if counts is not None:
        told = tool_calls.instruction(chat) if chat.has_tools else ""
        messages, thinks = tool_calls.texts(chat.chat.messages, told), efforts.is_asked(chat.body)
        return {"input_tokens": counts(messages, thinks=thinks)}
    texts = [*_texts(chat.chat.messages), *(json_text(chat.body[name]) for name in ("tools",) if name in chat.body)]
    return {"input_tokens": max(1, sum(map(estimated_tokens, texts))), "is_estimate": True}


def _settings(asked: Message, served: Served) -> dict[str, Any]:
    """Return the fields of a chat that are options, not messages."""
    first = served.tiers[0].upstream
    is_openai = first is not None and first.url == URL.rstrip("/")  # where max_tokens is refused by newer models
    given: dict[str, Any] = {
        "max_completion_tokens" if is_openai else "max_tokens": asked.max_tokens,
        "stream": asked.stream,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "stop": asked.stop_sequences or None,
        "user": asked.metadata and asked.metadata.user_id,
    }
    return {name: value for name, value in given.items() if value is not None}


def _tool(tool: MessageTool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    words = tool.description or ""
    if tool.input_examples:
        words += "".join(f"\nExample: {json_text(example)}" for example in tool.input_examples)
    if words:
        function["description"] = words
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function, **_cached(vars(tool))}


def _choice(choice: MessageToolChoice) -> dict[str, Any]:
    if choice.type == "tool" and not choice.name:
        raise bad("tool_choice.name: the tool must be named", "tool_choice.name")
    named = {"type": "function", "function": {"name": choice.name}}
    chat: dict[str, Any] = {"tool_choice": named if choice.type == "tool" else _CHOICES[choice.type]}
    if choice.disable_parallel_tool_use is not None:
        chat["parallel_tool_calls"] = not choice.disable_parallel_tool_use
    return chat


def _own(asked: Counted) -> dict[str, Any]:
    """Return a request's fields of thinking and caching, unchanged, for models of Anthropic's."""
    config = asked.output_config
    given = asked.model_dump(include={"thinking", _CACHE}, exclude_none=True)
    if config is not None and config.effort is not None:
        given["output_config"] = {"effort": config.effort}
    return given


def _effort(asked: Counted) -> str | None:
    """Return the reasoning effort in OpenAI's words, or None where the request does not say."""
    if asked.output_config is not None and asked.output_config.effort is not None:
        return "xhigh" if asked.output_config.effort == "max" else asked.output_config.effort
    thinking = asked.thinking
    if thinking is None or thinking.type != "enabled":
        return None
    if thinking.budget_tokens is None:
        raise bad("thinking.budget_tokens: thinking that is enabled needs it", "thinking.budget_tokens")
    return next((effort for most, effort in EFFORTS if thinking.budget_tokens < most), "high")


def _thinking(thinking: ThinkingConfig | None, effort: str | None, served: Served) -> dict[str, Any]:
    """Return a request's thinking as an effort; a budget stays one where all tiers decode here, and can keep to it."""
    are_here = [tier.upstream is None for tier in served.tiers]
    if thinking is not None and any(are_here):
        if thinking.type == "disabled":
            return {}
        if thinking.type == "enabled" and all(are_here):
            return {"thinking": {"type": "enabled", "budget_tokens": thinking.budget_tokens}}
        effort = effort or "high"  # Anthropic's default
    return {"reasoning_effort": effort} if effort else {}


# -- Messages ----------------------------------------------------------------------------------------------------------


def _messages(asked: Counted, *, is_signed: bool) -> Iterator[dict[str, Any]]:
    """Yield the messages of a chat. `is_signed`: the model is the one that signed its thinking, and gets it back."""
    if asked.system:
        yield {"role": "system", "content": _joined(asked.system, "system")}
    turns = asked.messages
    if turns[-1].role == "assistant":
        words = "a last message of the assistant would be continued, which can't be asked for; end with a user's"
        raise bad(f"messages.{len(turns) - 1}: {words}", f"messages.{len(turns) - 1}", "unsupported_value")
    # Anthropic ignores thinking before the last question; after it, calls of tools continue it.
    question = max((at for at, turn in enumerate(turns) if _is_question(turn)), default=-1)
    for at, turn in enumerate(turns):
        where = f"messages.{at}.content"
        if turn.role == "system":
            yield {"role": "system", "content": _joined(turn.content, where)}
        elif turn.role == "assistant":
            yield _assistant(turn.content, where, thinks=at > question, is_signed=is_signed)
        else:
            yield from _user(turn.content, where)


def _is_question(turn: AnthropicTurn) -> bool:
    content = turn.content
    return turn.role == "user" and (
        isinstance(content, str) or not any(block.get("type") == "tool_result" for block in content)
    )


def _uncached(asked: Counted) -> Counted:
    """Return a request without `cache_control`."""
    return asked.model_copy(
        update={
            "system": _plain(asked.system),
            "messages": [turn.model_copy(update={"content": _plain(turn.content)}) for turn in asked.messages],
            "tools": asked.tools and [tool.model_copy(update={_CACHE: None}) for tool in asked.tools],
        }
    )


def _plain(content: Any) -> Any:
    """Return content without `cache_control`."""
    if not isinstance(content, list):
        return content
    return [
        {name: _plain(value) if name == "content" else value for name, value in block.items() if name != _CACHE}
        if isinstance(block, Mapping)
        else block
        for block in content
    ]


def _cached(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block's `cache_control`, which a chat's part has too."""
    return {} if block.get(_CACHE) is None else {_CACHE: block[_CACHE]}


def _together(parts: list[dict[str, Any]], between: str) -> str | list[dict[str, Any]]:
    """Return texts joined into one, unless a cache breakpoint lies between them."""
    return parts if any(map(_cached, parts)) else between.join(part["text"] for part in parts)


def _joined(content: str | list[dict[str, Any]], where: str) -> str | list[dict[str, Any]]:
    """Return the text of content that has nothing else."""
    if isinstance(content, str):
        return content
    for at, block in enumerate(content):
        if block.get("type") != "text":
            raise _unknown_kind(block, f"{where}.{at}")
    return _together([_part(block, f"{where}.{at}") for at, block in enumerate(content)], "\n\n")


def _assistant(content: str | list[dict[str, Any]], where: str, *, thinks: bool, is_signed: bool) -> dict[str, Any]:
    """Return the message of the assistant that some blocks make."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts: list[dict[str, Any]] = []
    thoughts: list[str] = []
    signed: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for at, block in enumerate(blocks):
        place = f"{where}.{at}"
        match block.get("type"):
            case "text":
                texts.append(_part(block, place))
            case "tool_use":
                _check_members(block, _MEMBERS["tool_use"], place)
                if block.get("caller") not in (None, _OURS):
                    raise _unknown_member("caller", place)
                given = block.get("input")
                if not isinstance(given, Mapping):
                    raise bad(f"{place}.input: it must be an object", f"{place}.input")
                function = {"name": _text(block, "name", place), "arguments": json_text(given)}
                call = {"id": _text(block, "id", place), "type": "function", "function": function}
                calls.append({**call, **_cached(block)})
            case "thinking" if block.get("signature") == SIGNATURE:  # from here
                if thinks:
                    thoughts.append(_text(block, "thinking", place))
            case "thinking" | "redacted_thinking":  # a provider's own thinking is for that provider only
                if thinks and is_signed:
                    signed.append(block)
            case _:
                raise _unknown_kind(block, place)
    message: dict[str, Any] = {"role": "assistant", "content": _together(texts, "") if texts or not calls else None}
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if signed:
        message["thinking_blocks"] = signed
    return message | ({"tool_calls": calls} if calls else {})


def _user(content: str | list[dict[str, Any]], where: str) -> Iterator[dict[str, Any]]:
    """Yield the tools' results, which must follow their calls directly, then the user's message."""
    if isinstance(content, str):
        yield {"role": "user", "content": content}
        return
    parts: list[dict[str, Any]] = []
    for at, block in enumerate(content):
        if block.get("type") != "tool_result":
            parts.append(_part(block, f"{where}.{at}"))
            continue
        place = f"{where}.{at}"
        _check_members(block, _MEMBERS["tool_result"], place)
        name, inner, failed = _text(block, "tool_use_id", place), block.get("content"), block.get("is_error")
        if not isinstance(failed, bool | None):
            raise bad(f"{place}.is_error: it must be true or false", f"{place}.is_error")
        blocks = [{"type": "text", "text": inner}] if isinstance(inner, str) else [] if inner is None else inner
        if not isinstance(blocks, list) or not all(isinstance(each, Mapping) for each in blocks):
            raise bad(f"{place}.content: it must be text or a list of blocks", f"{place}.content")
        given = [_part(each, f"{place}.content.{number}") for number, each in enumerate(blocks)]
        texts = [part for part in given if part["type"] == "text"]
        if failed:
            texts.insert(0, {"type": "text", "text": "Error:"})
        other = [part for part in given if part["type"] != "text"]
        if other:  # a tool's message can only be text
            parts += [{"type": "text", "text": f"Returned by the call {name}:"}, *other]
            texts = texts or [{"type": "text", "text": "What it returned follows."}]
        yield {"role": "tool", "tool_call_id": name, "content": _together(texts, "\n"), **_cached(block)}
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        yield {"role": "user", "content": parts[0]["text"]}
    elif parts:
        yield {"role": "user", "content": parts}


def _part(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a block as a part of a chat's message."""
    return {**_part_itself(block, where), **_cached(block)}


def _part_itself(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    kind, source = block.get("type"), block.get("source")
    source = source if isinstance(source, Mapping) else {}
    if kind in ("text", "image", "document"):
        _check_members(block, _MEMBERS[kind], where)
        if source.get("type") in ("base64", "text", "url"):
            _check_members(source, _SOURCES[source["type"]], f"{where}.source")
    cites = block.get("citations")
    if cites and not (kind == "document" and isinstance(cites, Mapping) and cites.get("enabled") is False):
        raise bad(f"{where}.citations: no citations can be asked for", f"{where}.citations", "unsupported_value")
    if kind == "text":
        return {"type": "text", "text": _text(block, "text", where)}
    if kind == "image" and source.get("type") == "base64":
        return {"type": "image_url", "image_url": {"url": _data_url(source, where)}}
    if kind == "image" and source.get("type") == "url":
        return {"type": "image_url", "image_url": {"url": _text(source, "url", f"{where}.source")}}
    for name in ("title", "context") if kind == "document" else ():
        if block.get(name) is not None:
            _text(block, name, where)
    if kind == "document" and source.get("type") == "text":
        lines = [block[name] for name in ("title", "context") if block.get(name) is not None]
        return {"type": "text", "text": "\n\n".join([*lines, _text(source, "data", f"{where}.source")])}
    if kind == "document" and source.get("type") == "base64":
        if block.get("context"):  # a file has a name, and nothing else
            raise _unknown_member("context", where)
        name = block.get("title") or "document.pdf"
        return {"type": "file", "file": {"filename": name, "file_data": _data_url(source, where)}}
    raise _unknown_kind(block, where)


def _check_members(block: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    """Refuse a member that a chat can't express; null says nothing."""
    for name, value in block.items():
        if name not in known and name != "type" and value is not None:
            raise _unknown_member(name, where)


def _unknown_member(name: str, where: str) -> ApiError:
    return bad(f"{where}.{name}: it is not known here; leave it out", f"{where}.{name}", "unsupported_value")


def _data_url(source: Mapping[str, Any], where: str) -> str:
    return f"data:{_text(source, 'media_type', f'{where}.source')};base64,{_text(source, 'data', f'{where}.source')}"


def _text(block: Mapping[str, Any], name: str, where: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise bad(f"{where}.{name}: it must be text", f"{where}.{name}")
    return value


def _unknown_kind(block: Mapping[str, Any], where: str) -> ApiError:
    source = block.get("source")
    of = f" from {str(source.get('type'))[:60]!r}" if isinstance(source, Mapping) else ""
    return bad(f"{where}: a block of type {str(block.get('type'))[:60]!r}{of} can't be asked of this model", where)


def _texts(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else [{"text": content}]:
            yield str(part.get("text") or "")
        if calls := message.get("tool_calls"):
            yield json.dumps(calls)


def read(body: dict[str, Any], is_count: bool) -> Any:
    """Parse a body. Raises ApiError, which names the wrong field."""
    return checked(Counted if is_count else Message, body)
