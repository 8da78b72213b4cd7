"""openai (Python), chat completions."""

from __future__ import annotations

from typing import Any

import openai
import pydantic
import verdicts
from verdicts import ASKED, MODEL, report, told, weather

client = openai.OpenAI(base_url=verdicts.URL, api_key=verdicts.KEY, max_retries=0)
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "strict": True, "parameters": verdicts.WEATHER}}
]


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


def user(feature: str) -> list[Any]:
    return [{"role": "user", "content": ASKED[feature]}]


def plain() -> Any:
    answer = client.chat.completions.create(model=MODEL, messages=user("plain"))
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    return answer.choices[0].message.content


def schema() -> Any:
    answer = client.chat.completions.parse(model=MODEL, messages=user("schema"), response_format=Invoice)
    parsed = answer.choices[0].message.parsed
    assert parsed is not None
    return parsed.model_dump()


def stream() -> Any:
    chunks = client.chat.completions.create(model=MODEL, messages=user("stream"), stream=True)
    pieces = [piece for chunk in chunks if chunk.choices and (piece := chunk.choices[0].delta.content)]
    return {"text": "".join(pieces), "many": len(pieces) > 1}


def tools() -> Any:
    messages = user("tools")
    for _ in range(4):
        answer = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS)
        message = answer.choices[0].message
        if not message.tool_calls:
            return told(message.content)
        assert answer.choices[0].finish_reason == "tool_calls"
        messages.append(message)
        for call in message.tool_calls:
            given = TOOLS[0]["function"]["name"] == call.function.name and call.function.arguments
            city = pydantic.TypeAdapter(dict[str, str]).validate_json(given)["city"]
            messages.append({"role": "tool", "tool_call_id": call.id, "content": str(weather(city))})
    return None


def tools_stream() -> Any:
    with client.chat.completions.stream(model=MODEL, messages=user("tools"), tools=TOOLS) as events:
        final = events.get_final_completion()
    for call in final.choices[0].message.tool_calls or []:
        weather(pydantic.TypeAdapter(dict[str, str]).validate_json(call.function.arguments)["city"])
    return told("")


def second_turn() -> Any:
    messages = user("first turn")
    first = client.chat.completions.create(model=MODEL, messages=messages)
    messages += [first.choices[0].message, *user("second turn")]
    return client.chat.completions.create(model=MODEL, messages=messages).choices[0].message.content


def refusal() -> Any:
    answer = client.chat.completions.parse(model=MODEL, messages=user("refusal"), response_format=Invoice)
    return answer.choices[0].message.refusal


def truncation() -> Any:
    answer = client.chat.completions.create(model=MODEL, messages=user("truncation"), max_tokens=4)
    return [answer.choices[0].message.content, answer.choices[0].finish_reason]


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
