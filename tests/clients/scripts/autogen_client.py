"""AutoGen's client of OpenAI's protocol, chat completions."""

from __future__ import annotations

import json
from typing import Any

import pydantic
import verdicts
from autogen_core import CancellationToken
from autogen_core.models import (
    AssistantMessage,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    UserMessage,
)
from autogen_core.tools import FunctionTool
from autogen_ext.models.openai import OpenAIChatCompletionClient
from verdicts import ASKED, MODEL, report, told, weather


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


CAN: Any = {
    "vision": False,
    "function_calling": True,
    "json_output": True,
    "structured_output": True,
    "family": "unknown",
}
client = OpenAIChatCompletionClient(
    model=MODEL, base_url=verdicts.URL, api_key=verdicts.KEY, max_retries=0, model_info=CAN
)
TOOL = FunctionTool(weather, description="How warm it is in a city.", strict=True)


def user(feature: str) -> list[Any]:
    return [UserMessage(content=ASKED[feature], source="user")]


async def plain() -> Any:
    return (await client.create(user("plain"))).content


async def schema() -> Any:
    said = await client.create(user("schema"), json_output=Invoice)
    return Invoice.model_validate_json(str(said.content)).model_dump()


async def stream() -> Any:
    pieces = [piece async for piece in client.create_stream(user("stream")) if isinstance(piece, str)]
    return {"text": "".join(pieces), "many": len(pieces) > 1}


async def tools() -> Any:
    messages = user("tools")
    for _ in range(4):
        said = await client.create(messages, tools=[TOOL])
        if isinstance(said.content, str):
            return told(said.content)
        messages.append(AssistantMessage(content=said.content, source="assistant"))
        results = []
        for call in said.content:
            value = await TOOL.run_json(json.loads(call.arguments), CancellationToken())
            results.append(
                FunctionExecutionResult(content=str(value), call_id=call.id, is_error=False, name=call.name)
            )
        messages.append(FunctionExecutionResultMessage(content=results))
    return None


async def tools_stream() -> Any:
    last: Any = None
    async for piece in client.create_stream(user("tools"), tools=[TOOL]):
        last = piece
    assert isinstance(last, CreateResult)
    for call in last.content:
        weather(json.loads(call.arguments)["city"])
    return told("")


async def second_turn() -> Any:
    messages = user("first turn")
    first = await client.create(messages)
    messages += [AssistantMessage(content=str(first.content), source="assistant"), *user("second turn")]
    return (await client.create(messages)).content


async def refusal() -> Any:
    return (await client.create(user("refusal"))).content


async def truncation() -> Any:
    said = await client.create(user("truncation"), extra_create_args={"max_tokens": 4})
    return [said.content, said.finish_reason]


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
