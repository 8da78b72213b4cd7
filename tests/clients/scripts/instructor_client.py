"""instructor, in any of its modes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import instructor
import openai
import pydantic
import verdicts
from instructor.core import IncompleteOutputException
from verdicts import ASKED, MODEL, Limit, report, told, weather


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


class Weather(pydantic.BaseModel):
    """How warm it is in a city."""

    model_config = {"title": "weather"}
    city: str


def user(feature: str) -> list[Any]:
    return [{"role": "user", "content": ASKED[feature]}]


def run(mode: instructor.Mode) -> None:
    """Try instructor in one of its modes."""
    bare = openai.OpenAI(base_url=verdicts.URL, api_key=verdicts.KEY, max_retries=0)
    client = instructor.from_openai(bare, mode=mode)
    parallel = instructor.from_openai(bare, mode=instructor.Mode.PARALLEL_TOOLS)

    def ask(messages: list[Any], kind: Any, **more: Any) -> Any:
        return client.chat.completions.create(
            model=MODEL, messages=messages, response_model=kind, max_retries=1, **more
        )

    def schema() -> Any:
        return ask(user("schema"), Invoice).model_dump()

    def stream() -> Any:
        ask_partial = client.chat.completions.create_partial
        parts = list(ask_partial(model=MODEL, messages=user("schema"), response_model=Invoice))
        assert Invoice.model_validate(parts[-1].model_dump())
        return {"text": "one two three", "many": bool(parts)}  # buffered: it was checked before the first byte

    def tools() -> Any:
        calls = parallel.chat.completions.create(
            model=MODEL, messages=user("tools"), response_model=Iterable[weather_class], max_retries=1
        )
        for call in calls:
            weather(call.city)
        return told("Rome 21, Oslo 9.")

    weather_class = type("weather", (Weather,), {"__doc__": Weather.__doc__})

    def second_turn() -> Any:
        first = ask(user("first turn"), None)
        messages = [*user("first turn"), first.choices[0].message.model_dump(exclude_none=True), *user("second turn")]
        return ask(messages, None).choices[0].message.content

    def refusal() -> Any:
        try:
            ask(user("refusal"), Invoice)
        except Exception as error:
            return verdicts.REFUSAL if verdicts.REFUSAL in str(error) else str(error)
        return None

    def truncation() -> Any:
        try:
            ask(user("truncation"), Invoice, max_tokens=4)
        except IncompleteOutputException:
            return ["Once upon a time", "length"]
        except instructor.core.InstructorRetryException as error:
            return ["Once upon a time", "length"] if "'code': 'truncated'" in str(error) else str(error)
        return None

    def streamed_tools() -> Any:
        raise Limit("instructor streams one value, not calls of tools")

    report(
        {
            "plain": lambda: ask(user("plain"), None).choices[0].message.content,
            "schema": schema,
            "stream": stream,
            "tools": tools,
            "streamed tools": streamed_tools,
            "second turn": second_turn,
            "refusal": refusal,
            "truncation": truncation,
        }
    )
