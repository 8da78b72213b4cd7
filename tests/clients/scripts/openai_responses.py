"""openai (Python), responses."""

from __future__ import annotations

import json
from typing import Any

import openai
import pydantic
import verdicts
from verdicts import ASKED, MODEL, report, told, weather

client = openai.OpenAI(base_url=verdicts.URL, api_key=verdicts.KEY, max_retries=0)
TOOLS: list[Any] = [{"type": "function", "name": "weather", "strict": True, "parameters": verdicts.WEATHER}]


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


def plain() -> Any:
    return client.responses.create(model=MODEL, input=ASKED["plain"]).output_text


def schema() -> Any:
    parsed = client.responses.parse(model=MODEL, input=ASKED["schema"], text_format=Invoice).output_parsed
    assert parsed is not None
    return parsed.model_dump()


def stream() -> Any:
    events = client.responses.create(model=MODEL, input=ASKED["stream"], stream=True)
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    return {"text": "".join(pieces), "many": len(pieces) > 1}


def _called(output: Any) -> list[Any]:
    calls = [item for item in output if item.type == "function_call"]
    return [
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": str(weather(json.loads(call.arguments)["city"])),
        }
        for call in calls
    ]


def tools() -> Any:
    given: list[Any] = [{"role": "user", "content": ASKED["tools"]}]
    for _ in range(4):
        answer = client.responses.create(model=MODEL, input=given, tools=TOOLS)
        given += answer.output
        if not (outputs := _called(answer.output)):
            return told(answer.output_text)
        given += outputs
    return None


def tools_stream() -> Any:
    with client.responses.stream(model=MODEL, input=ASKED["tools"], tools=TOOLS) as events:
        final = events.get_final_response()
    _called(final.output)
    return told("")


def second_turn() -> Any:
    first = client.responses.create(model=MODEL, input=ASKED["first turn"])
    second = client.responses.create(model=MODEL, input=ASKED["second turn"], previous_response_id=first.id)
    third = client.responses.parse(
        model=MODEL, input=ASKED["schema"], text_format=Invoice, previous_response_id=second.id
    )
    assert third.output_parsed == Invoice(vendor="ACME", total=3)
    return second.output_text


def refusal() -> Any:
    answer = client.responses.parse(model=MODEL, input=ASKED["refusal"], text_format=Invoice)
    return next(part.refusal for item in answer.output for part in item.content if part.type == "refusal")


def truncation() -> Any:
    answer = client.responses.create(model=MODEL, input=ASKED["truncation"], max_output_tokens=16)
    assert answer.incomplete_details is not None
    return [answer.output_text, {"max_output_tokens": "length"}[str(answer.incomplete_details.reason)]]


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
