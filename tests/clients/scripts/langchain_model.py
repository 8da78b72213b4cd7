"""langchain, with any of its chat models."""

from __future__ import annotations

from typing import Any

import pydantic
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from verdicts import ASKED, REFUSAL, report, told, weather


class Invoice(pydantic.BaseModel):
    """An invoice."""

    vendor: str
    total: float


def run(model: Any) -> None:
    """Try it with a model."""
    asked = tool("weather")(weather)

    def schema() -> Any:
        return model.with_structured_output(Invoice).invoke(ASKED["schema"]).model_dump()

    def stream() -> Any:
        pieces = [text for chunk in model.stream(ASKED["stream"]) if (text := chunk.text)]
        return {"text": "".join(pieces), "many": len(pieces) > 1}

    def tools() -> Any:
        bound = model.bind_tools([asked])
        messages: list[Any] = [HumanMessage(ASKED["tools"])]
        for _ in range(4):
            answer = bound.invoke(messages)
            messages.append(answer)
            if not answer.tool_calls:
                return told(answer.text)
            messages += [asked.invoke(call) for call in answer.tool_calls]
        return None

    def streamed_tools() -> Any:
        whole: Any = None
        for chunk in model.bind_tools([asked]).stream(ASKED["tools"]):
            whole = chunk if whole is None else whole + chunk
        for call in whole.tool_calls:
            asked.invoke(call)
        return told("")

    def second_turn() -> Any:
        first = model.invoke([HumanMessage(ASKED["first turn"])])
        messages = [HumanMessage(ASKED["first turn"]), first, HumanMessage(ASKED["second turn"])]
        second = model.invoke(messages)
        typed = model.with_structured_output(Invoice).invoke([*messages, second, HumanMessage(ASKED["schema"])])
        assert typed == Invoice(vendor="ACME", total=3)
        return second.text

    def refusal() -> Any:
        answer: AIMessage = model.invoke(ASKED["refusal"])
        return answer.text or answer.additional_kwargs.get("refusal") or (REFUSAL if REFUSAL in str(answer) else None)

    def truncation() -> Any:
        answer = model.bind(max_tokens=16).invoke(ASKED["truncation"])
        about = answer.response_metadata
        details = about.get("incomplete_details") or {}
        reason = about.get("finish_reason") or about.get("stop_reason") or details.get("reason")
        return [answer.text, {"max_tokens": "length", "max_output_tokens": "length"}.get(reason, reason)]

    report(
        {
            "plain": lambda: model.invoke(ASKED["plain"]).text,
            "schema": schema,
            "stream": stream,
            "tools": tools,
            "streamed tools": streamed_tools,
            "second turn": second_turn,
            "refusal": refusal,
            "truncation": truncation,
        }
    )
