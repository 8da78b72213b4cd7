"""End to end: the SDK, `guard serve`, and SmolLM2; all answers are valid, whatever it makes of the questions."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Literal

import anthropic
import openai
import pydantic
import pytest
from sidecars import Sidecar, serving

TOML = '[serve.models.smollm2]\nmodel = "smollm2"\nmax_tokens = 120\n'


class Order(pydantic.BaseModel):
    product: str = pydantic.Field(max_length=20)  # or it goes on until the budget cuts it
    count: int = pydantic.Field(ge=1, le=99)
    size: Literal["small", "large"]


class Portion(pydantic.BaseModel):
    """What Anthropic's SDK sends as it is: lengths and bounds it turns into words."""

    size: Literal["small", "large"]


class Weather(pydantic.BaseModel):
    """Look the weather up."""

    city: Literal["Rome", "Oslo", "Lima"]


ORDER = "I would like two large pizzas, please. Answer as JSON."


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    with serving(tmp_path_factory.mktemp("sidecar"), TOML) as sidecar:
        yield sidecar


@pytest.fixture
def client(sidecar: Sidecar) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sidecar.url, api_key="unused", max_retries=0, timeout=300) as client:
        yield client


def test_an_answer_of_a_schema_is_valid_under_masks(client: openai.OpenAI) -> None:
    reply = client.chat.completions.with_raw_response.parse(
        model="smollm2", messages=[{"role": "user", "content": ORDER}], response_format=Order, logprobs=True
    )
    completion = reply.parse()
    assert isinstance(completion.choices[0].message.parsed, Order)
    assert (reply.headers["x-guard-attempts"], reply.headers["x-guard-cost"]) == ("1", "0")
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert "".join(token.token for token in logprobs.content or []) == completion.choices[0].message.content


def test_a_stream_is_live_and_valid(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="smollm2", messages=[{"role": "user", "content": ORDER}], response_format=Order
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert len(deltas) > 3
    assert isinstance(final.choices[0].message.parsed, Order)


def test_a_call_of_a_tool_is_valid_whether_it_must_be_made_or_may(client: openai.OpenAI) -> None:
    for choice in ("required", "auto"):
        completion = client.chat.completions.parse(
            model="smollm2",
            messages=[{"role": "user", "content": "How warm is it in Rome?"}],
            tools=[openai.pydantic_function_tool(Weather)],
            tool_choice=choice,
        )
        message = completion.choices[0].message
        if choice == "required":
            assert message.tool_calls
        for call in message.tool_calls or []:
            assert isinstance(call.function.parsed_arguments, Weather)
        assert message.tool_calls or message.content


def test_plain_text_stops_where_it_is_told_to(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model="smollm2", messages=[{"role": "user", "content": "Count from 1 to 9."}], max_tokens=24, n=2
    )
    texts = [choice.message.content or "" for choice in whole.choices]
    assert texts[0] == texts[1]
    stop = texts[0][6:9]
    cut = client.chat.completions.create(
        model="smollm2", messages=[{"role": "user", "content": "Count from 1 to 9."}], max_tokens=24, stop=stop
    )
    assert cut.choices[0].message.content == texts[0][: texts[0].index(stop)]
    assert cut.choices[0].finish_reason == "stop"
    stream = client.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": "Count from 1 to 9."}],
        max_tokens=24,
        stop=stop,
        stream=True,
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == cut.choices[0].message.content


def test_an_older_completion_and_a_response_are_answered_too(client: openai.OpenAI) -> None:
    assert client.completions.create(model="smollm2", prompt="Say hello.", max_tokens=8).choices[0].text
    response = client.responses.parse(model="smollm2", input=ORDER, text_format=Order)
    assert isinstance(response.output_parsed, Order)
    streamed = client.responses.create(model="smollm2", input="Say hello.", max_output_tokens=16, stream=True)
    kinds = [event.type for event in streamed]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.incomplete")  # 16 tokens are not enough


def test_what_it_can_not_do_is_refused_not_ignored(client: openai.OpenAI) -> None:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]
    picture: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}
    ]
    for fields in (
        {"logit_bias": {"5": 1}},
        {"messages": picture},
        {"extra_body": {"grammar": 'root ::= "(" root ")" | "x"'}},
        {"stream": True, "n": 2},
        {"stream": True, "logprobs": True},
    ):
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(**{"model": "smollm2", "messages": messages, **fields})
    with pytest.raises(openai.BadRequestError, match="no embeddings"):
        client.embeddings.create(model="smollm2", input="Hi")


def test_requests_at_once_share_passes_and_are_what_each_is_alone(sidecar: Sidecar) -> None:
    schema = Order.model_json_schema()
    wanted = {"type": "json_schema", "json_schema": {"name": "order", "schema": schema}}
    texts = [f"I would like {n} large pizzas. Answer as JSON." for n in range(2, 5)]

    def ask(text: str) -> str:
        reply = sidecar.chat(text, model="smollm2", response_format=wanted)
        assert reply.status == 200, reply.data
        content: str = reply.json["choices"][0]["message"]["content"]
        return content

    alone = [ask(text) for text in texts]
    together: dict[str, str] = {}
    threads = [threading.Thread(target=lambda t=t: together.update({t: ask(t)})) for t in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[text] for text in texts] == alone
    assert all(Order.model_validate(json.loads(text)) for text in alone)


COPY = (
    "Copy this text as JSON: The armies marched, and laws were written in the great cities of the empire, which lasted"
    " for a thousand years."
)


class Story(pydantic.BaseModel):
    story: str = pydantic.Field(min_length=1)


def test_a_value_that_the_budget_closed_ends_in_length(client: openai.OpenAI, sidecar: Sidecar) -> None:
    """As OpenAI's clients expect: theirs raise where they are to parse it."""
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": COPY}]
    with pytest.raises(openai.LengthFinishReasonError) as caught:
        client.chat.completions.parse(model="smollm2", messages=messages, response_format=Story, max_tokens=24)
    (choice,) = caught.value.completion.choices
    assert Story.model_validate_json(choice.message.content or "").story
    response = client.responses.create(
        model="smollm2",
        input=COPY,
        text={"format": {"type": "json_schema", "name": "story", "schema": Story.model_json_schema()}},
        max_output_tokens=24,
    )
    assert Story.model_validate_json(response.output_text).story
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    schema = {"type": "json_schema", "json_schema": {"name": "story", "schema": Story.model_json_schema()}}
    events = sidecar.chat(model="smollm2", messages=messages, response_format=schema, max_tokens=24, stream=True).events
    assert [e["choices"][0]["finish_reason"] for e in events if e != "[DONE]" and e["choices"]][-1] == "length"


def test_anthropics_protocol_is_spoken_too(sidecar: Sidecar) -> None:
    closed = {**Weather.model_json_schema(), "additionalProperties": False}  # else it goes on until the budget cuts it
    tool: anthropic.types.ToolParam = {"name": "weather", "input_schema": closed}
    warm: list[anthropic.types.MessageParam] = [{"role": "user", "content": "How warm is it in Rome?"}]
    with anthropic.Anthropic(base_url=sidecar.url.removesuffix("/v1"), api_key="unused", max_retries=0) as client:
        order: list[anthropic.types.MessageParam] = [{"role": "user", "content": ORDER}]
        parsed = client.messages.parse(model="smollm2", max_tokens=120, messages=order, output_format=Portion)
        assert isinstance(parsed.parsed_output, Portion)
        must: anthropic.types.ToolChoiceAnyParam = {"type": "any", "disable_parallel_tool_use": True}
        called = client.messages.create(model="smollm2", max_tokens=120, messages=warm, tools=[tool], tool_choice=must)
        assert [Weather.model_validate(block.input) for block in called.content if block.type == "tool_use"]
        assert called.stop_reason == "tool_use"
        counted = client.messages.count_tokens(model="smollm2", messages=warm, tools=[tool], tool_choice=must)
        assert counted.input_tokens == called.usage.input_tokens
        with client.messages.stream(model="smollm2", max_tokens=16, messages=warm) as stream:
            pieces = list(stream.text_stream)
            final = stream.get_final_message()
    assert len(pieces) > 1
    assert (final.usage.output_tokens, final.stop_reason) == (16, "max_tokens")
