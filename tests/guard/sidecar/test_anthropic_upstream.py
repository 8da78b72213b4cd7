"""Anthropic's models behind the sidecar: asked natively, in whichever protocol the client speaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import anthropic
import openai
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sidecars import Sidecar, serving

from guard.models.remote import anthropic_chat
from guard.models.remote.anthropic_chat import Chunks
from guard.sidecar import large
from guard.sidecar.anthropic_upstream import AnthropicUpstream
from guard.sidecar.endpoints import messages
from guard.sidecar.served_models import Served
from guard.sidecar.settings import ModelSettings
from guard.testing import fake_server

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
OWN_WEATHER: Any = {"name": "weather", "input_schema": PARAMETERS}
ASKED: Any = [{"role": "user", "content": "How warm is it?"}]
THINKING = {"type": "thinking", "thinking": "Hm, weather.", "signature": "signed by its maker"}
OSLO = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1"}
WRONG = {**OSLO, "input": {"city": 3}}


def says(*content: Any, stop: str = "end_turn") -> Any:
    """Answer with blocks, streamed where asked so; a request that breaks Anthropic's rules is refused."""

    def answer(request: fake_server.ClientRequest) -> fake_server.Answer:
        if wrong := broken(request):
            return fake_server.Answer(
                status=400,
                raw=json.dumps(
                    {"type": "error", "error": {"type": "invalid_request_error", "message": wrong}}
                ).encode(),
            )
        reason = "tool_use" if any(block["type"] == "tool_use" for block in content) else stop
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "served-1", "stop_sequence": None}
        usage = {"input_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 7}
        if not request.is_streaming:
            whole = {**head, "content": list(content), "stop_reason": reason, "usage": usage}
            return fake_server.Answer(raw=json.dumps(whole).encode())
        events = [{"type": "message_start", "message": {**head, "content": [], "stop_reason": None, "usage": usage}}]
        for index, block in enumerate(content):
            begun, deltas = block, []
            if block["type"] == "text":
                begun = {**block, "text": ""}
                deltas = [{"type": "text_delta", "text": letter} for letter in block["text"]]
            if block["type"] == "thinking":
                begun = {**block, "thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": word} for word in block["thinking"].split(" ")]
                deltas = [*deltas[:1], *({**d, "thinking": f" {d['thinking']}"} for d in deltas[1:])]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            if block["type"] == "tool_use":
                begun = {**block, "input": {}}
                text = json.dumps(block["input"]) if block["input"] else ""
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", text[:5], text[5:])]
            events.append({"type": "content_block_start", "index": index, "content_block": begun})
            events.append({"type": "ping"})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        events.append(
            {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}
        )
        events.append({"type": "message_stop"})
        raw = b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)
        return fake_server.Answer(raw=raw)

    return answer


KNOWN = {
    *("model", "max_tokens", "messages", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences"),
    *("metadata", "thinking", "tools", "tool_choice", "output_config", "cache_control"),
}
COUNTED = KNOWN & {
    *("model", "messages", "system", "thinking", "tools", "tool_choice", "output_config", "cache_control")
}


def broken(request: fake_server.ClientRequest) -> str:
    """Return which of Anthropic's rules a request breaks; "" where it breaks none."""
    body = request.body
    samples = body.keys() & {"temperature", "top_p", "top_k"}
    if (
        request.path not in ("/v1/messages", "/v1/messages/count_tokens")
        or request.headers["authorization"] != "Bearer a key"
    ):
        return "not asked by the protocol"
    if request.headers["anthropic-version"] != ("2023-06-01" if samples else "2026-10-21"):
        return f"{samples}: Extra inputs are not permitted"
    if unknown := body.keys() - (COUNTED if request.path.endswith("count_tokens") else KNOWN):
        return f"{unknown}: Extra inputs are not permitted"
    thinks = (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    if thinks and (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        return "Thinking may not be enabled when tool_choice forces tool use."
    called: list[str] = []
    for number, message in enumerate(body["messages"]):
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        kinds = [block["type"] for block in blocks]
        if not blocks or any(block.get("text") == "" for block in blocks):
            return f"messages.{number}: text content blocks must be non-empty"
        if {b.get("tool_use_id") for b in blocks if b["type"] == "tool_result"} != set(called):
            return f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after"
        called = [block["id"] for block in blocks if block["type"] == "tool_use"]
        goes_on = number == len(body["messages"]) - 2 and called
        if thinks and goes_on and kinds[0] not in ("thinking", "redacted_thinking"):
            return "Expected `thinking` or `redacted_thinking`, but found `tool_use`"
        if any(block["type"] == "thinking" and block.get("signature") != THINKING["signature"] for block in blocks):
            return "Invalid `signature` in `thinking` block"
    for tool in body.get("tools", ()):
        if tool["input_schema"].get("type") != "object":
            return "tools.0.input_schema.type: Field required"
        if tool.get("strict") and tool["input_schema"].get("additionalProperties") is not False:
            return "tools.0: For 'object' type, 'additionalProperties' must be explicitly set to false"
    return ""


def counts(answer: fake_server.Answer) -> Any:
    """Answer what counts tokens, where the request is by the rules."""

    def counted(request: fake_server.ClientRequest) -> fake_server.Answer:
        wrong = broken(request)
        return fake_server.error(400, wrong) if wrong or not request.path.endswith("count_tokens") else answer

    return counted


@pytest.fixture(scope="module")
def provider() -> Iterator[fake_server.Server]:
    with fake_server.Server(keeps_alive=True) as server:
        yield server


@pytest.fixture(scope="module")
def served(provider: fake_server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    toml = f'[serve.models.m]\nmodel = "anthropic:served-1"\nbase_url = "{provider.url.removesuffix("/v1")}"\n'
    toml += 'api_key = "env:KEY"\nbreaker_failures = 1000\n'
    with serving(tmp_path_factory.mktemp("anthropic"), toml, env={"KEY": "a key"}) as sidecar:
        yield sidecar


@pytest.fixture
def sidecar(served: Sidecar, provider: fake_server.Server) -> Sidecar:
    provider.requests.clear()
    return served


@pytest.fixture
def own(sidecar: Sidecar) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=sidecar.url.removesuffix("/v1"), api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
def client(sidecar: Sidecar) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sidecar.url, api_key="unused", max_retries=0) as client:
        yield client


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def sent(provider: fake_server.Server) -> list[dict[str, Any]]:
    return [request.body for request in provider.requests]


def test_plain_text_goes_there_and_back(own: anthropic.Anthropic, client: openai.OpenAI, provider: Any) -> None:
    provider.answers = [says(text("Hello."))]
    said = own.messages.create(
        model="m",
        max_tokens=9,
        system="Be kind.",
        messages=ASKED,
        stop_sequences=["."],
        extra_body={"top_k": 4, "temperature": 0.5},
    )
    assert ([block.model_dump()["text"] for block in said.content], said.stop_reason) == (["Hello."], "end_turn")
    assert (said.usage.input_tokens, said.usage.cache_read_input_tokens, said.usage.output_tokens) == (5, 4, 7)
    assert sent(provider) == [
        {
            "model": "served-1",
            "max_tokens": 9,
            "system": "Be kind.",
            "messages": ASKED,
            "stop_sequences": ["."],
            "top_k": 4,
            "temperature": 0.5,
        }
    ]
    whole = client.chat.completions.create(model="m", messages=ASKED, stop="x", user="u")
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("Hello.", "stop")
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (11, 7)
    assert sent(provider)[-1] == {
        "model": "served-1",
        "max_tokens": 4096,
        "messages": ASKED,
        "stop_sequences": ["x"],
        "metadata": {"user_id": "u"},
    }
    assert client.responses.create(model="m", input="Hi").output_text == "Hello."
    assert [c.message.content for c in client.chat.completions.create(model="m", messages=ASKED, n=2).choices] == [
        "Hello.",
        "Hello.",
    ]


def test_streams_come_piece_by_piece(own: anthropic.Anthropic, client: openai.OpenAI, provider: Any) -> None:
    provider.answers = [says(THINKING, text("One two."))]
    with own.messages.stream(
        model="m", max_tokens=2000, messages=ASKED, thinking={"type": "enabled", "budget_tokens": 1024}
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert [block.model_dump(include=set(THINKING)) for block in final.content[:1]] == [THINKING]
    assert final.content[1].model_dump()["text"] == "One two."
    assert kinds.count("thinking") == 2
    assert sent(provider)[-1]["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    chunks = list(
        client.chat.completions.create(
            model="m", messages=ASKED, stream=True, stream_options={"include_usage": True}, reasoning_effort="low"
        )
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "One two."
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 11
    assert sent(provider)[-1]["output_config"] == {"effort": "low"}


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_the_providers_own_and_a_wrong_call_is_made_again(
    own: anthropic.Anthropic, provider: Any, stream: bool
) -> None:
    provider.answers = [says(text("I look."), WRONG), says(OSLO)]
    asked: Any = {"model": "m", "max_tokens": 99, "messages": ASKED, "tools": [{**OWN_WEATHER, "strict": True}]}
    if stream:
        with own.messages.stream(**asked) as events:
            said = events.get_final_message()
    else:
        said = own.messages.create(**asked)
    assert said.stop_reason == "tool_use"
    assert said.content[-1].model_dump()["input"] == {"city": "Oslo"}
    first, again = sent(provider)
    assert first["tools"] == [{"name": "weather", "strict": True, "input_schema": PARAMETERS}]
    assert "tool_choice" not in first
    assert again["tool_choice"] == {"type": "any"}
    assert again["messages"][1]["content"][-1]["input"] == {"city": 3}
    assert "city: expected a value of type string" in json.dumps(again["messages"][2])


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_goes_on_with_the_calls_that_it_belongs_to(
    own: anthropic.Anthropic, provider: Any, stream: bool
) -> None:
    provider.answers = [says(THINKING, OSLO), says(text("9 degrees."))]
    asked: Any = {"model": "m", "max_tokens": 2000, "tools": [OWN_WEATHER]}
    asked["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    if stream:
        with own.messages.stream(messages=ASKED, **asked) as events:
            said = events.get_final_message()
    else:
        said = own.messages.create(messages=ASKED, **asked)
    assert said.content[0].model_dump(include=set(THINKING)) == THINKING
    call = said.content[-1].model_dump()
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "9"}
    blocks: Any = [block.model_dump(exclude_none=True) for block in said.content]
    turns: Any = [*ASKED, {"role": "assistant", "content": blocks}, {"role": "user", "content": [result]}]
    assert own.messages.create(messages=turns, **asked).content[0].model_dump()["text"] == "9 degrees."
    assert sent(provider)[-1]["messages"][1]["content"][0] == THINKING
    assert sent(provider)[-1]["thinking"]["type"] == "enabled"


def test_where_its_thinking_is_not_there_a_turn_goes_on_without(client: openai.OpenAI, provider: Any) -> None:
    """Clients of OpenAI's protocol have no place for it, and a wrong call is shown back without."""
    provider.answers = [says(THINKING, WRONG), says(THINKING, OSLO)]
    said = client.chat.completions.create(model="m", messages=ASKED, tools=[WEATHER], reasoning_effort="high")
    (call,) = said.choices[0].message.tool_calls or ()
    assert json.loads(call.model_dump()["function"]["arguments"]) == {"city": "Oslo"}
    assert [body["thinking"]["type"] for body in sent(provider)] == ["adaptive", "disabled"]
    assert "tool_choice" not in sent(provider)[1]
    called = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
    told: Any = [*ASKED, called, {"role": "tool", "tool_call_id": call.id, "content": "9"}]
    provider.answers = [says(text("9."))]
    client.chat.completions.create(model="m", messages=told, tools=[WEATHER], reasoning_effort="high")
    assert sent(provider)[-1]["thinking"] == {"type": "disabled"}


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    count: int


def test_a_schema_is_asked_for_natively_with_all_else_that_was_said(
    own: anthropic.Anthropic, client: openai.OpenAI, provider: Any
) -> None:
    provider.answers = [says(text('{"count": 3}'))]
    effort: Any = {"effort": "low"}
    said = own.messages.parse(
        model="m", max_tokens=99, messages=ASKED, output_format=Order, output_config=effort, stop_sequences=["x"]
    )
    assert said.parsed_output == Order(count=3)
    body = sent(provider)[-1]
    assert body["output_config"]["effort"] == "low"
    assert body["output_config"]["format"]["schema"]["properties"]["count"]["type"] == "integer"
    assert body["stop_sequences"] == ["x"]
    parsed = client.chat.completions.parse(model="m", messages=ASKED, response_format=Order)
    assert parsed.choices[0].message.parsed == Order(count=3)
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, text("What is it?")]
    client.chat.completions.parse(model="m", messages=[{"role": "user", "content": picture}], response_format=Order)
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert sent(provider)[-1]["messages"] == [
        {"role": "user", "content": [{"type": "image", "source": source}, text("What is it?")]}
    ]
    both = client.chat.completions.create(
        model="m",
        messages=ASKED,
        tools=[WEATHER],
        response_format={"type": "json_schema", "json_schema": {"name": "o", "schema": Order.model_json_schema()}},
    )
    assert both.choices[0].message.content == '{"count": 3}'
    assert sent(provider)[-1]["output_config"]["format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    ("fields", "good"),
    [
        ({"response_format": {"type": "json_object"}}, '{"a": 1}'),
        ({"guided_choice": ["yes", "no"]}, "no"),
        ({"guided_regex": "[ab]+"}, "abba"),
    ],
)
def test_what_it_has_no_words_for_is_checked(sidecar: Sidecar, provider: Any, fields: Any, good: str) -> None:
    def answer(request: fake_server.ClientRequest) -> fake_server.Answer:
        is_object = "response_format" in fields
        value = json.loads(good) if is_object else {"value": good}
        return says(
            {**OSLO, "name": request.body["tools"][0]["name"], "input": value}
            if request.body.get("tools")
            else text(json.dumps(value) if is_object else good)
        )(request)

    provider.answers = [answer]
    reply = sidecar.chat(**fields)
    assert reply.status == 200, reply.data
    content = reply.json["choices"][0]["message"]["content"]
    assert (json.loads(content) == json.loads(good)) if "response_format" in fields else (content == good)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"frequency_penalty": 1}, "frequency_penalty"),
        ({"temperature": 1.5}, "temperature"),
        ({"logprobs": True}, "logprobs"),
        ({"n": 2, "stream": True}, "n"),
        ({"grammar": "x"}, "grammar"),
        ({"seed_of_doubt": 1}, "seed_of_doubt"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages.0.role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
            "messages.0.content.0",
        ),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.0.type"),
    ],
)
def test_what_it_can_not_be_asked_is_refused_by_name(sidecar: Sidecar, provider: Any, fields: Any, param: str) -> None:
    provider.answers = [says(text("x"))]
    reply = sidecar.chat(**fields)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.data
    assert provider.requests == []


def test_what_the_provider_refuses_stays_400(own: anthropic.Anthropic, provider: Any) -> None:
    provider.answers = [says(text("x"))]
    for more in ({}, {"output_config": {"format": {"type": "json_schema", "schema": PARAMETERS}}}):
        forced: Any = {"tools": [OWN_WEATHER], "tool_choice": {"type": "any"}, **more}
        with pytest.raises(anthropic.BadRequestError, match="may not be enabled"):
            own.messages.create(model="m", max_tokens=9, messages=ASKED, thinking={"type": "adaptive"}, **forced)


KEPT: Any = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.mark.parametrize("tools", [[], [{**OWN_WEATHER, **KEPT}]], ids=["text", "tools"])
def test_what_is_said_of_keeping_the_prompt_goes_there(own: anthropic.Anthropic, provider: Any, tools: Any) -> None:
    provider.answers = [says(text("Hello."))]
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}, **KEPT}
    document: Any = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Long."}}
    turns: Any = [
        {"role": "user", "content": [{**text("a"), **KEPT}, {**document, **KEPT}, picture]},
        {"role": "assistant", "content": [{**text("b"), **KEPT}, {**OSLO, **KEPT}]},
        {"role": "user", "content": [{**RESULT, "content": [{**text("9"), **KEPT}]}, text("c")]},
        {"role": "assistant", "content": [OSLO]},
        {"role": "user", "content": [{**RESULT, "content": [text("9")], **KEPT}]},
    ]
    system: Any = [text("Be kind."), {**text("Be brief."), **KEPT}]
    own.messages.create(
        model="m", max_tokens=9, system=system, messages=turns, tools=tools, cache_control=KEPT["cache_control"]
    )
    (body,) = sent(provider)
    turns[0]["content"][1] = {**text("Long."), **KEPT}
    assert (body["messages"], body["system"], body["cache_control"]) == (turns, system, KEPT["cache_control"])
    assert body.get("tools", []) == tools
    provider.answers = [says(text('{"count": 3}'))]
    own.messages.parse(model="m", max_tokens=9, system=system, messages=turns[:1], output_format=Order)
    assert (sent(provider)[-1]["messages"], sent(provider)[-1]["system"]) == (turns[:1], system)


def test_what_a_cache_was_given_is_told(own: anthropic.Anthropic, client: openai.OpenAI, provider: Any) -> None:
    provider.answers = [says(text("Hello."))]
    usage = own.messages.create(model="m", max_tokens=9, messages=ASKED).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (5, 4, 2)
    told = client.chat.completions.create(model="m", messages=ASKED).usage
    assert told is not None
    assert told.prompt_tokens == 11


def test_tokens_are_counted_by_the_provider(own: anthropic.Anthropic, sidecar: Sidecar, provider: Any) -> None:
    provider.answers = [counts(fake_server.Answer(raw=b'{"input_tokens": 57}'))]
    system: Any = [{**text("Be kind."), **KEPT}]
    asked: Any = {"system": system, "messages": ASKED, "tools": [OWN_WEATHER]}
    asked["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    assert own.messages.count_tokens(model="m", **asked).input_tokens == 57
    assert sent(provider) == [{"model": "served-1", **asked}]
    body = {"model": "m", "messages": ASKED}
    reply = sidecar.ask("POST", "/v1/messages/count_tokens", body)
    assert reply.json == {"input_tokens": 57}


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (fake_server.Answer(status=404, raw=b'{"detail": "Not Found"}'), 200, "is_estimate"),
        (fake_server.Answer(status=405, raw=b""), 200, "is_estimate"),
        (fake_server.error(404, "model: served-1"), 404, "served-1"),
        (fake_server.error(400, "thinking: no"), 400, "thinking: no"),
        (fake_server.error(429, "slow down"), 429, "slow down"),
        (fake_server.Answer(raw=b'{"tokens": 3}'), 502, "input_tokens"),
        (fake_server.Answer(raw=b"no"), 502, "JSON"),
    ],
)
def test_where_the_provider_does_not_count_it_is_said_so(
    sidecar: Sidecar, provider: Any, answer: fake_server.Answer, status: int, words: str
) -> None:
    provider.answers = [answer]
    reply = sidecar.ask("POST", "/v1/messages/count_tokens", {"model": "m", "messages": ASKED})
    assert (reply.status, words in json.dumps(reply.json)) == (status, True), reply.data


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_one(sidecar: Sidecar, provider: Any, own: anthropic.Anthropic, stream: bool) -> None:
    provider.answers = [says(stop="refusal")]
    asked: Any = {"model": "m", "max_tokens": 9, "messages": ASKED}
    if stream:
        with own.messages.stream(**asked) as events:
            assert events.get_final_message().stop_reason == "refusal"
    else:
        assert own.messages.create(**asked).stop_reason == "refusal"
        assert sidecar.chat().json["choices"][0]["message"]["refusal"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"content": 3}',
        b'{"model": "m", "content": [{"type": "tool_use"}], "stop_reason": "tool_use", "usage": {}}',
        b'data: {"type": "content_block_delta", "delta": {}}\n\n',
        b'data: {"type": "message_start", "message": {}}\n\n',
        b'data: {"type": "message_start"}\n\n',
    ],
)
def test_what_is_no_answer_is_502(sidecar: Sidecar, provider: Any, body: bytes, stream: bool) -> None:
    provider.answers = [fake_server.Answer(raw=body)]
    for more in ({}, {"tools": [WEATHER]}):
        reply = sidecar.chat(stream=stream, **more)
        assert reply.status == 502, reply.data


# ---- the translation itself ----

WORDS = st.text(min_size=1, max_size=5)
IDS = st.from_regex(r"toolu_[a-z0-9]{4}", fullmatch=True)
KEEPING = {"cache_control": st.sampled_from([{"type": "ephemeral"}, KEPT["cache_control"]])}
SAID = st.fixed_dictionaries({"type": st.just("text"), "text": WORDS}, optional=KEEPING)
USED = st.fixed_dictionaries(
    {
        "type": st.just("tool_use"),
        "id": IDS,
        "name": st.just("act"),
        "input": st.dictionaries(WORDS | st.just("cache_control"), st.integers() | WORDS, max_size=2),
    },
    optional=KEEPING,
)
KEPT_OR_NOT = st.fixed_dictionaries({}, optional=KEEPING)


@st.composite
def talks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return turns of a conversation, the last of them the user's, with calls of tools and what they returned."""
    turns: list[dict[str, Any]] = [{"role": "user", "content": draw(WORDS)}]
    for _ in range(draw(st.integers(0, 3))):
        used = draw(st.lists(USED, max_size=2, unique_by=lambda block: block["id"]))
        said = draw(st.lists(SAID, min_size=0 if used else 1, max_size=1))
        turns.append({"role": "assistant", "content": [*said, *used]})
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": [draw(SAID)], **draw(KEPT_OR_NOT)}
            for block in used
        ]
        turns.append({"role": "user", "content": [*results, *draw(st.lists(SAID, max_size=1))] or draw(WORDS)})
    return turns


def as_is(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return turns with a lone text as text."""
    return [
        {**turn, "content": turn["content"][0]["text"]}
        if isinstance(turn["content"], list)
        and turn["content"][0].keys() == {"type", "text"}
        and len(turn["content"]) == 1
        else turn
        for turn in turns
    ]


def without(value: Any) -> Any:
    """Return blocks that say nothing of keeping the prompt; what tools are called with stays as it is."""
    if isinstance(value, list):
        return [without(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {k: v if k == "input" else without(v) for k, v in value.items() if k != "cache_control"}


@given(talks(), st.lists(SAID, max_size=2))
def test_other_models_are_not_told_of_keeping_the_prompt(turns: list[dict[str, Any]], system: Any) -> None:
    model = Served("m", ModelSettings(model="openai:x", base_url="http://127.0.0.1:9"), 1000)
    body = {"model": "m", "max_tokens": 9, "messages": turns, "system": system, "tools": [{**OWN_WEATHER, **KEPT}]}
    chat = messages.as_chat(messages.read({**body, **KEPT}, is_count=False), model)
    assert chat == messages.as_chat(messages.read(without(body), is_count=False), model)


@given(
    talks(), st.none() | WORDS | st.lists(SAID, min_size=1, max_size=2).filter(lambda said: "cache_control" in said[0])
)
def test_a_conversation_comes_through_a_chat_as_it_was(turns: list[dict[str, Any]], system: Any) -> None:
    model = Served("m", ModelSettings(model="anthropic:x", base_url="http://127.0.0.1:9"), 1000)
    body: Mapping[str, Any] = {
        "model": "m",
        "max_tokens": 9,
        "messages": turns,
        **({"system": system} if system else {}),
    }
    chat = messages.as_chat(messages.read(dict(body), is_count=False), model)
    again = anthropic_chat.request(json.loads(json.dumps(chat)), 5)
    assert {**again, "messages": as_is(again["messages"])} == {**body, "messages": as_is(turns)}


def test_pieces_of_a_block_that_is_not_open_are_no_answer() -> None:
    """Arguments of one call became another's, or those of a call before the first."""
    start = {"type": "message_start", "message": {"model": "m", "usage": {}}}
    use = {"type": "tool_use", "name": "f", "input": {}}
    one = {"type": "content_block_start", "index": 0, "content_block": {**use, "id": "a"}}
    other = {"type": "content_block_start", "index": 1, "content_block": {**use, "id": "b"}}
    arguments = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
    for events in ([start, one, other, arguments], [start, arguments]):
        chunks = Chunks(tells_usage=False)
        for event in events[:-1]:
            list(chunks.take(event))
        with pytest.raises(ValueError):  # noqa: PT011 (the caller words it)
            list(chunks.take(events[-1]))


# ---- Schemas and the event loop --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chat", "field"),
    [
        ({}, None),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages.0.content.0"),
        ({"tools": [{"type": "custom"}]}, "tools.0.type"),
        ({"tools": [WEATHER, {"type": "function"}]}, "tools.1.function"),
        ({"tools": [{"type": "custom"}, WEATHER], "tool_choice": {"allowed_tools": {"tools": [WEATHER]}}}, None),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}}, None),
    ],
)
def test_a_chat_is_checked_without_a_translation_of_its_schemas(
    chat: Any, field: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each check translated all strict tools once more, on the event loop: 20 of them held it for half a minute."""
    whole = {"model": "m", "messages": ASKED, **chat}

    def refused(work: Any) -> str | None:
        try:
            work()
        except anthropic_chat.UnsayableError as error:
            return error.field
        return None

    assert refused(lambda: anthropic_chat.request(whole, 9)) == field
    strict: Any = {**WEATHER, "function": {**WEATHER["function"], "strict": True}}
    whole["tools"] = [*whole.get("tools", ()), strict]
    monkeypatch.setattr(anthropic_chat.provider_schema, "strict", lambda *_: pytest.fail("it was translated"))
    assert refused(lambda: anthropic_chat.check(whole)) == field


@pytest.mark.parametrize("name", ["tools", "response_format"])
def test_schemas_are_translated_off_the_event_loop_well_before_a_body_is_large(name: str) -> None:
    """A translation takes ten times as long a byte as writing the body does, which alone was counted."""
    schema = {**PARAMETERS, "properties": {f"property {at}": {"type": "string"} for at in range(300)}, "required": []}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}
    given = {"tools": [tool], "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}[name]
    body = json.dumps({"model": "m", "messages": ASKED, name: given}).encode()
    assert large.LARGE / large.STEPWISE < len(body) < large.LARGE

    async def made() -> bytes:
        upstream = AnthropicUpstream("claude", "http://127.0.0.1:9", "none", 1_000, 9)
        return (await upstream._payload(body))[0]

    before = large.done_so_far()
    assert b"property 299" in asyncio.run(made())
    assert large.done_so_far() > before
