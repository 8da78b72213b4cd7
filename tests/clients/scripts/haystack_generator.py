"""haystack, with its generators for OpenAI."""

from __future__ import annotations

from typing import Any

import pydantic
import verdicts
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack.utils import Secret
from verdicts import ASKED, MODEL, Limit, report, told, weather


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


def run(kind: Any, limit: str) -> None:
    """Try it with a generator; `limit` is the name of its parameter for the most tokens."""
    tool = create_tool_from_function(weather)
    where = {"model": MODEL, "api_base_url": verdicts.URL, "api_key": Secret.from_token(verdicts.KEY), "max_retries": 0}

    def ask(messages: list[ChatMessage], more: dict[str, Any] | None = None, **fields: Any) -> ChatMessage:
        [reply] = kind(**where, generation_kwargs=more or {}, **fields).run(messages)["replies"]
        assert isinstance(reply, ChatMessage)
        return reply

    def user(feature: str) -> ChatMessage:
        return ChatMessage.from_user(ASKED[feature])

    def typed(messages: list[ChatMessage]) -> Any:
        name = "text_format" if limit == "max_output_tokens" else "response_format"
        return Invoice.model_validate_json(ask(messages, {name: Invoice}).text or "").model_dump()

    def stream() -> Any:
        pieces: list[str] = []
        ask([user("stream")], streaming_callback=lambda chunk: pieces.append(chunk.content))
        pieces = [piece for piece in pieces if piece]
        return {"text": "".join(pieces), "many": len(pieces) > 1}

    def invoked(message: ChatMessage) -> list[ChatMessage]:
        calls = message.tool_calls
        return [ChatMessage.from_tool(str(tool.invoke(**call.arguments)), origin=call) for call in calls]

    def tools() -> Any:
        messages = [user("tools")]
        for _ in range(4):
            reply = ask(messages, tools=[tool])
            messages.append(reply)
            if not reply.tool_calls:
                return told(reply.text)
            messages += invoked(reply)
        return None

    def streamed_tools() -> Any:
        invoked(ask([user("tools")], tools=[tool], streaming_callback=print))
        return told("")

    def second_turn() -> Any:
        messages = [user("first turn"), ask([user("first turn")]), user("second turn")]
        second = ask(messages)
        assert typed([*messages, second, user("schema")]) == {"vendor": "ACME", "total": 3}
        return second.text

    def refusal() -> Any:
        reply = ask([user("refusal")])
        if not reply.text and reply.meta["finish_reason"] == "stop":
            raise Limit("haystack has no place for a refusal: the message is empty")
        return reply.text

    def truncation() -> Any:
        reply = ask([user("truncation")], {limit: 16})
        reason = reply.meta.get("finish_reason") or (reply.meta.get("incomplete_details") or {}).get("reason")
        return [reply.text, {"max_output_tokens": "length"}.get(str(reason), reason)]

    report(
        {
            "plain": lambda: ask([user("plain")]).text,
            "schema": lambda: typed([user("schema")]),
            "stream": stream,
            "tools": tools,
            "streamed tools": streamed_tools,
            "second turn": second_turn,
            "refusal": refusal,
            "truncation": truncation,
        }
    )
