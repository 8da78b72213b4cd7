"""pydantic-ai, with any of its models."""

from __future__ import annotations

from typing import Any

import pydantic
from pydantic_ai import Agent
from pydantic_ai.exceptions import AgentRunError
from verdicts import ASKED, REFUSAL, report, told, weather


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


def run(model: Any) -> None:
    """Try it with a model."""
    agent = Agent(model)

    def schema() -> Any:
        return Agent(model, output_type=Invoice).run_sync(ASKED["schema"]).output.model_dump()

    async def stream() -> Any:
        async with agent.run_stream(ASKED["stream"]) as result:
            pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        return {"text": "".join(pieces), "many": len(pieces) > 1}

    def tools() -> Any:
        return told(Agent(model, tools=[weather]).run_sync(ASKED["tools"]).output)

    async def streamed_tools() -> Any:
        async with Agent(model, tools=[weather]).run_stream(ASKED["tools"]) as result:
            assert await result.get_output() == "Rome 21, Oslo 9."
        return told("")

    def second_turn() -> Any:
        first = agent.run_sync(ASKED["first turn"])
        second = agent.run_sync(ASKED["second turn"], message_history=first.all_messages())
        typed = Agent(model, output_type=Invoice)
        third = typed.run_sync(ASKED["schema"], message_history=second.all_messages())
        assert third.output == Invoice(vendor="ACME", total=3)
        return second.output

    def refusal() -> Any:
        try:
            return agent.run_sync(ASKED["refusal"]).output
        except AgentRunError as error:
            return REFUSAL if REFUSAL in f"{error} {getattr(error, 'body', '')}" else repr(error)

    def truncation() -> Any:
        result = agent.run_sync(ASKED["truncation"], model_settings={"max_tokens": 16})
        return [result.output, result.response.finish_reason]

    report(
        {
            "plain": lambda: agent.run_sync(ASKED["plain"]).output,
            "schema": schema,
            "stream": stream,
            "tools": tools,
            "streamed tools": streamed_tools,
            "second turn": second_turn,
            "refusal": refusal,
            "truncation": truncation,
        }
    )
