"""llama-index, with its model for servers like OpenAI's."""

from __future__ import annotations

from typing import Any

import pydantic
import verdicts
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from verdicts import ASKED, MODEL, REFUSAL, report, told, weather

model = OpenAILike(
    model=MODEL,
    api_base=verdicts.URL,
    api_key=verdicts.KEY,
    is_chat_model=True,
    is_function_calling_model=True,
    max_retries=0,
    context_window=8000,
)
TOOL = FunctionTool.from_defaults(weather)


class Invoice(pydantic.BaseModel):
    """An invoice."""

    vendor: str
    total: float


def user(feature: str) -> ChatMessage:
    return ChatMessage(role="user", content=ASKED[feature])


def read(messages: list[ChatMessage]) -> Invoice:
    found = model.as_structured_llm(Invoice).chat(messages).raw
    assert isinstance(found, Invoice)
    return found


def schema() -> Any:
    predicted = model.structured_predict(Invoice, PromptTemplate("{asked}"), asked=ASKED["schema"])
    return predicted.model_dump()


def stream() -> Any:
    pieces = [piece for part in model.stream_chat([user("stream")]) if (piece := part.delta)]
    return {"text": "".join(pieces), "many": len(pieces) > 1}


def tools() -> Any:
    history = [user("tools")]
    for _ in range(4):
        answer = model.chat_with_tools([TOOL], chat_history=history, allow_parallel_tool_calls=True)
        history.append(answer.message)
        calls = model.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
        if not calls:
            return told(answer.message.content)
        for call in calls:
            returned = TOOL.call(**call.tool_kwargs)
            more = {"tool_call_id": call.tool_id}
            history.append(ChatMessage(role="tool", content=str(returned.raw_output), additional_kwargs=more))
    return None


def streamed_tools() -> Any:
    *_, last = model.stream_chat_with_tools([TOOL], chat_history=[user("tools")], allow_parallel_tool_calls=True)
    for call in model.get_tool_calls_from_response(last, error_on_no_tool_call=False):
        TOOL.call(**call.tool_kwargs)
    return told("")


def second_turn() -> Any:
    history = [user("first turn"), model.chat([user("first turn")]).message, user("second turn")]
    second = model.chat(history).message
    assert read([*history, second, user("schema")]) == Invoice(vendor="ACME", total=3)
    return second.content


def refusal() -> Any:
    answer = model.chat([user("refusal")])
    raw: Any = answer.raw
    return REFUSAL if REFUSAL in (answer.message.content, raw.choices[0].message.refusal) else str(answer)


def truncation() -> Any:
    answer = model.chat([user("truncation")], max_tokens=4)
    raw: Any = answer.raw
    return [answer.message.content, raw.choices[0].finish_reason]


report(
    {
        "plain": lambda: model.chat([user("plain")]).message.content,
        "schema": schema,
        "stream": stream,
        "tools": tools,
        "streamed tools": streamed_tools,
        "second turn": second_turn,
        "refusal": refusal,
        "truncation": truncation,
    }
)
