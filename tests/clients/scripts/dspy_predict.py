"""DSPy, with its adapters for chats and for JSON."""

from __future__ import annotations

from typing import Any

import dspy
import pydantic
import verdicts
from verdicts import ASKED, KNOWN, REFUSAL, report, told, weather

model = dspy.LM(
    f"openai/{KNOWN}", api_base=verdicts.URL, api_key=verdicts.KEY, cache=False, num_retries=0, temperature=0.0
)
dspy.configure(lm=model, adapter=dspy.JSONAdapter())


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


class Read(dspy.Signature):
    """Read what is asked for."""

    asked: str = dspy.InputField()
    invoice: Invoice = dspy.OutputField()


class Call(dspy.Signature):
    """Call the tools that are needed."""

    asked: str = dspy.InputField()
    tools: list[dspy.Tool] = dspy.InputField()
    calls: dspy.ToolCalls = dspy.OutputField()


class Talk(dspy.Signature):
    """Answer."""

    asked: str = dspy.InputField()
    history: dspy.History = dspy.InputField()
    answer: str = dspy.OutputField()


def plain() -> Any:
    return dspy.Predict("asked -> answer")(asked=ASKED["plain"]).answer


def schema() -> Any:
    return dspy.Predict(Read)(asked=ASKED["schema"]).invoice.model_dump()


async def stream() -> Any:
    with dspy.context(adapter=dspy.ChatAdapter()):
        listener = dspy.streaming.StreamListener(signature_field_name="answer")
        streamed = dspy.streamify(dspy.Predict("asked -> answer"), stream_listeners=[listener])
        pieces, last = [], None
        async for part in streamed(asked=ASKED["stream"]):
            if isinstance(part, dspy.streaming.StreamResponse):
                pieces.append(part.chunk)
            elif isinstance(part, dspy.Prediction):
                last = part
    assert last is not None
    return {"text": last.answer, "many": len(pieces) > 1}


def tools() -> Any:
    made = dspy.Predict(Call)(asked=ASKED["tools"], tools=[dspy.Tool(weather)]).calls
    if made is None:  # it is a field of an object, which a model may say null in
        return None
    returned = [str(weather(**call.args)) for call in made.tool_calls]
    answered = dspy.Predict("asked, returned -> answer")(asked=ASKED["tools"], returned=" and ".join(returned))
    return told(answered.answer)


def streamed_tools() -> Any:
    raise verdicts.Limit("DSPy streams fields of text, not calls of tools")


def second_turn() -> Any:
    talk = dspy.Predict(Talk)
    first = talk(asked=ASKED["first turn"], history=dspy.History(messages=[]))
    history = dspy.History(messages=[{"asked": ASKED["first turn"], **first.toDict()}])
    return talk(asked=ASKED["second turn"], history=history).answer


def refusal() -> Any:
    try:
        said = model(ASKED["refusal"])
    except Exception as error:
        return REFUSAL if REFUSAL in str(error) else repr(error)
    return REFUSAL if REFUSAL in str(said) or REFUSAL in str(model.history[-1]) else str(said)


def truncation() -> Any:
    said = model(ASKED["truncation"], max_tokens=16)
    first = said[0] if isinstance(said[0], str) else said[0]["text"]
    response = model.history[-1]["response"]
    return [first, response.choices[0].finish_reason if hasattr(response, "choices") else response.finish_reason]


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
