"""litellm."""

from __future__ import annotations

from typing import Any

import litellm
import pydantic
import verdicts
from verdicts import ASKED, MODEL, report, told, weather

litellm.suppress_debug_info = True
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": verdicts.WEATHER}}]


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


def user(feature: str) -> list[Any]:
    return [{"role": "user", "content": ASKED[feature]}]


def ask(messages: list[Any], **fields: Any) -> Any:
    model = f"openai/{MODEL}"
    where = {"api_base": verdicts.URL, "api_key": verdicts.KEY, "max_retries": 0}
    return litellm.completion(model=model, messages=messages, **where, **fields)


def schema() -> Any:
    answer = ask(user("schema"), response_format=Invoice)
    return Invoice.model_validate_json(answer.choices[0].message.content).model_dump()


def stream() -> Any:
    chunks = ask(user("stream"), stream=True)
    pieces = [piece for chunk in chunks if (piece := chunk.choices[0].delta.content)]
    return {"text": "".join(pieces), "many": len(pieces) > 1}


def called(message: Any) -> list[Any]:
    return [
        {
            "role": "tool",
            "tool_call_id": call.id,
            "name": call.function.name,
            "content": str(
                weather(pydantic.TypeAdapter(dict[str, str]).validate_json(call.function.arguments)["city"])
            ),
        }
        for call in message.tool_calls or []
    ]


def tools() -> Any:
    messages = user("tools")
    for _ in range(4):
        message = ask(messages, tools=TOOLS).choices[0].message
        messages.append(message)
        if not (results := called(message)):
            return told(message.content)
        messages += results
    return None


def streamed_tools() -> Any:
    whole: Any = litellm.stream_chunk_builder(list(ask(user("tools"), tools=TOOLS, stream=True)))
    called(whole.choices[0].message)
    return told("")


def second_turn() -> Any:
    messages = user("first turn")
    messages += [ask(messages).choices[0].message, *user("second turn")]
    second = ask(messages).choices[0].message
    typed = ask([*messages, second, *user("schema")], response_format=Invoice)
    assert Invoice.model_validate_json(typed.choices[0].message.content) == Invoice(vendor="ACME", total=3)
    return second.content


def refusal() -> Any:
    message = ask(user("refusal"), response_format=Invoice).choices[0].message
    fields = getattr(message, "provider_specific_fields", None) or {}
    return getattr(message, "refusal", None) or fields.get("refusal") or message.content


def truncation() -> Any:
    [choice] = ask(user("truncation"), max_tokens=4).choices
    return [choice.message.content, choice.finish_reason]


report(
    {
        "plain": lambda: ask(user("plain")).choices[0].message.content,
        "schema": schema,
        "stream": stream,
        "tools": tools,
        "streamed tools": streamed_tools,
        "second turn": second_turn,
        "refusal": refusal,
        "truncation": truncation,
    }
)
