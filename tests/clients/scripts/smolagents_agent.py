"""smolagents."""

from __future__ import annotations

import json
from typing import Any

import verdicts
from smolagents import OpenAIModel, ToolCallingAgent, tool
from smolagents.models import ChatMessage, MessageRole
from verdicts import ASKED, MODEL, REFUSAL, report, told

model = OpenAIModel(model_id=MODEL, api_base=verdicts.URL, api_key=verdicts.KEY, client_kwargs={"max_retries": 0})


@tool
def weather(city: str) -> int:
    """Return how warm it is in a city, in degrees Celsius.

    Args:
        city: the city's name
    """
    return verdicts.weather(city)


def user(feature: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": ASKED[feature]}])


def read(messages: list[ChatMessage]) -> Any:
    form = {"type": "json_schema", "json_schema": {"name": "invoice", "strict": True, "schema": verdicts.INVOICE}}
    return json.loads(str(model.generate(messages, response_format=form).content))


def stream() -> Any:
    pieces = [piece for part in model.generate_stream([user("stream")]) if (piece := part.content)]
    return {"text": "".join(pieces), "many": len(pieces) > 1}


def agent(**more: Any) -> ToolCallingAgent:
    return ToolCallingAgent(tools=[weather], model=model, max_steps=4, verbosity_level=0, **more)


def streamed_tools() -> Any:
    assert str(agent(stream_outputs=True).run(ASKED["tools"])) == "Rome 21, Oslo 9."
    return told("")


def second_turn() -> Any:
    messages = [user("first turn"), model.generate([user("first turn")]), user("second turn")]
    second = model.generate(messages)
    assert read([*messages, second, user("schema")]) == {"vendor": "ACME", "total": 3}
    return second.content


def refusal() -> Any:
    answer = model.generate([user("refusal")])
    return REFUSAL if REFUSAL in (answer.content, answer.raw.choices[0].message.refusal) else str(answer)


def truncation() -> Any:
    answer = model.generate([user("truncation")], max_tokens=4)
    return [answer.content, answer.raw.choices[0].finish_reason]


report(
    {
        "plain": lambda: model.generate([user("plain")]).content,
        "schema": lambda: read([user("schema")]),
        "stream": stream,
        "tools": lambda: told(agent().run(ASKED["tools"])),
        "streamed tools": streamed_tools,
        "second turn": second_turn,
        "refusal": refusal,
        "truncation": truncation,
    }
)
