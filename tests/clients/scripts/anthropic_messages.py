"""anthropic (Python)."""

from __future__ import annotations

from typing import Any

import anthropic
import pydantic
import verdicts
from verdicts import ASKED, MODEL, report, told, weather

client = anthropic.Anthropic(base_url=verdicts.ROOT, api_key=verdicts.KEY, max_retries=0)
TOOLS: list[Any] = [{"name": "weather", "strict": True, "input_schema": verdicts.WEATHER}]


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


def ask(messages: Any, **fields: Any) -> Any:
    given = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    return client.messages.create(**{"model": MODEL, "max_tokens": 100, "messages": given, **fields})


def words(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def plain() -> Any:
    message = ask(ASKED["plain"], system="Be kind.")
    assert min(message.usage.input_tokens, message.usage.output_tokens) > 0
    assert message._request_id
    return words(message)


def schema() -> Any:
    given: Any = [{"role": "user", "content": ASKED["schema"]}]
    message = client.messages.parse(model=MODEL, max_tokens=100, messages=given, output_format=Invoice)
    assert message.parsed_output is not None
    return message.parsed_output.model_dump()


def stream() -> Any:
    given: Any = [{"role": "user", "content": ASKED["stream"]}]
    with client.messages.stream(model=MODEL, max_tokens=100, messages=given) as events:
        pieces = list(events.text_stream)
        final = events.get_final_message()
    assert final.usage.output_tokens > 0
    assert words(final) == "".join(pieces)
    return {"text": "".join(pieces), "many": len(pieces) > 1}


def _results(message: Any) -> list[Any]:
    return [
        {"type": "tool_result", "tool_use_id": block.id, "content": str(weather(block.input["city"]))}
        for block in message.content
        if block.type == "tool_use"
    ]


def tools() -> Any:
    messages: list[Any] = [{"role": "user", "content": ASKED["tools"]}]
    for _ in range(4):
        message = ask(messages, tools=TOOLS)
        messages.append({"role": "assistant", "content": message.content})
        if not (results := _results(message)):
            return told(words(message))
        assert message.stop_reason == "tool_use"
        messages.append({"role": "user", "content": results})
    return None


def tools_stream() -> Any:
    given: Any = [{"role": "user", "content": ASKED["tools"]}]
    with client.messages.stream(model=MODEL, max_tokens=100, messages=given, tools=TOOLS) as events:
        _results(events.get_final_message())
    return told("")


def second_turn() -> Any:
    messages: list[Any] = [{"role": "user", "content": ASKED["first turn"]}]
    messages.append({"role": "assistant", "content": ask(messages).content})
    return words(ask([*messages, {"role": "user", "content": ASKED["second turn"]}]))


def refusal() -> Any:
    message = ask(ASKED["refusal"])
    assert message.stop_reason == "refusal"
    return words(message)


def truncation() -> Any:
    message = ask(ASKED["truncation"], max_tokens=4)
    return [words(message), {"max_tokens": "length"}[message.stop_reason]]


report(
    {
        "plain": plain,
        "schema": schema,
        "stream": stream,
        "tools": tools,
        "streamed tools": tools_stream,
        "second turn": second_turn,
        "refusal": refusal,
        "truncation": truncation,
    }
)
