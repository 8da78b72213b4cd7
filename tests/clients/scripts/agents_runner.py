"""openai-agents, with either of its models."""

from __future__ import annotations

from typing import Any

import pydantic
from agents import Agent, ModelRefusalError, Runner, function_tool, set_tracing_disabled
from verdicts import ASKED, REFUSAL, Limit, report, told, weather


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


def run(model: Any) -> None:
    """Try it with a model."""
    set_tracing_disabled(True)
    agent = Agent(name="helper", model=model)
    typed = Agent(name="reader", model=model, output_type=Invoice)
    tooled = Agent(name="meteorologist", model=model, tools=[function_tool(weather)])

    async def plain() -> Any:
        return (await Runner.run(agent, ASKED["plain"])).final_output

    async def schema() -> Any:
        return (await Runner.run(typed, ASKED["schema"])).final_output.model_dump()

    async def stream() -> Any:
        result = Runner.run_streamed(agent, ASKED["stream"])
        pieces = [
            event.data.delta
            async for event in result.stream_events()
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        ]
        return {"text": "".join(pieces), "many": len(pieces) > 1}

    async def tools() -> Any:
        return told((await Runner.run(tooled, ASKED["tools"])).final_output)

    async def streamed_tools() -> Any:
        result = Runner.run_streamed(tooled, ASKED["tools"])
        async for _ in result.stream_events():
            pass
        assert result.final_output == "Rome 21, Oslo 9.", result.final_output
        return told("")

    async def second_turn() -> Any:
        first = await Runner.run(agent, ASKED["first turn"])
        given = [*first.to_input_list(), {"role": "user", "content": ASKED["second turn"]}]
        second = await Runner.run(agent, given)
        given = [*second.to_input_list(), {"role": "user", "content": ASKED["schema"]}]
        assert (await Runner.run(typed, given)).final_output == Invoice(vendor="ACME", total=3)
        return second.final_output

    async def refusal() -> Any:
        try:
            await Runner.run(typed, ASKED["refusal"])
        except ModelRefusalError as error:
            return REFUSAL if REFUSAL in str(error) else str(error)
        return None

    async def truncation() -> Any:
        raise Limit("openai-agents does not tell why an answer ended")

    report(
        {
            "plain": plain,
            "schema": schema,
            "stream": stream,
            "tools": tools,
            "streamed tools": streamed_tools,
            "second turn": second_turn,
            "refusal": refusal,
            "truncation": truncation,
        }
    )
