"""Anthropic's protocol: what a request is as a chat, what an answer is as a message, and Anthropic's SDK unchanged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sidecars import Reply, Sidecar, model, serving

from guard.errors import BadReply
from guard.sidecar import keys
from guard.sidecar.endpoints.message_answers import SIGNATURE, MessageConnection, message
from guard.sidecar.endpoints.messages import as_chat, read
from guard.sidecar.errors import ApiError
from guard.sidecar.headers import EVENTS, JSON
from guard.sidecar.request_context import RequestContext
from guard.sidecar.served_models import Served
from guard.sidecar.settings import ModelSettings
from guard.testing import fake_server
from guard.trace import TraceStore

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"name": "weather", "description": "How warm it is.", "input_schema": CITY, "strict": True}
PNG = {"type": "base64", "media_type": "image/png", "data": "aGk="}
BASE = {"model": "m", "max_tokens": 9}
TEXT = {"type": "text", "text": "x"}
USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}
RETURNED = {"type": "tool_result", "tool_use_id": "t1", "content": "21"}
NOTES = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def served(kind: str = "openai:served-1") -> Served:
    url = {"base_url": "http://127.0.0.1:1/v1"} if kind.startswith("openai:") else {}
    return Served("m", ModelSettings(model=kind, **url), 1000)


def chat(**fields: Any) -> dict[str, Any]:
    return as_chat(read({**BASE, "messages": [user("Hi")], **fields}, is_count=False), served())


def ask(sidecar: Sidecar, path: str = "", headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    body = {**BASE, "messages": [user("Hi")], **fields}
    return sidecar.ask("POST", f"/v1/messages{path}", body, headers)


@pytest.fixture
def client(sidecar: Sidecar) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=sidecar.url.removesuffix("/v1"), api_key="unused", max_retries=0) as client:
        yield client


# -- Requests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"max_tokens": 9, "messages": [user("Hi")]}),
        (
            {"system": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be brief."}]},
            {"max_tokens": 9, "messages": [{"role": "system", "content": "Be kind.\n\nBe brief."}, user("Hi")]},
        ),
        (
            {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["END"], "metadata": {"user_id": "u"}},
            {
                "max_tokens": 9,
                "temperature": 0.5,
                "top_p": 0.9,
                "top_k": 5,
                "stop": ["END"],
                "user": "u",
                "messages": [user("Hi")],
            },
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}},
            {
                "max_tokens": 9,
                "messages": [user("Hi")],
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "weather",
                            "description": "How warm it is.",
                            "parameters": CITY,
                            "strict": True,
                        },
                    }
                ],
                "tool_choice": {"type": "function", "function": {"name": "weather"}},
                "parallel_tool_calls": False,
            },
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": CITY}, "effort": "max"}},
            {
                "max_tokens": 9,
                "messages": [user("Hi")],
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": CITY, "strict": True},
                },
                "reasoning_effort": "xhigh",
            },
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 5000}},
            {"max_tokens": 9, "messages": [user("Hi")], "reasoning_effort": "medium"},
        ),
        (
            {"messages": [user([{"type": "text", "text": "What is it?"}, {"type": "image", "source": PNG}])]},
            {
                "max_tokens": 9,
                "messages": [
                    user(
                        [
                            {"type": "text", "text": "What is it?"},
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                        ]
                    )
                ],
            },
        ),
    ],
)
def test_a_request_is_the_chat_that_means_the_same(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert chat(**fields) == {"model": "m", **expected}


def test_what_tools_returned_stands_right_after_their_calls() -> None:
    uses = [
        {"type": "thinking", "thinking": "Both.", "signature": SIGNATURE},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
        {"type": "tool_use", "id": "t2", "name": "weather", "input": {"city": "Oslo"}},
    ]
    results = [
        {"type": "text", "text": "Here."},
        {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "image", "source": PNG}]},
        {"type": "tool_result", "tool_use_id": "t1", "content": "no such city", "is_error": True},
    ]
    messages = chat(messages=[user("Hi"), {"role": "assistant", "content": uses}, user(results)])["messages"]
    assert messages == [
        user("Hi"),
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Both.",
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
                {"id": "t2", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "t2", "content": "What it returned follows."},
        {"role": "tool", "tool_call_id": "t1", "content": "Error:\nno such city"},
        user(
            [
                {"type": "text", "text": "Here."},
                {"type": "text", "text": "Returned by the call t2:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
            ]
        ),
    ]


def test_blocks_as_sdks_send_them_back_are_known() -> None:
    said = [{**TEXT, "citations": None}, {**USE, "caller": {"type": "direct"}, "toolset_name": None}]
    returned = [{**RETURNED, "content": None, "is_error": None}]
    messages = chat(messages=[user("Hi"), {"role": "assistant", "content": said}, user(returned)])["messages"]
    assert (messages[1]["content"], messages[2]["content"]) == ("x", "")
    assert len(messages[1]["tool_calls"]) == 1


@pytest.mark.parametrize("signature", [SIGNATURE, "a provider's own"])
def test_thinking_of_turns_that_are_over_and_of_others_is_dropped(signature: str) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": signature}
    said = {"role": "assistant", "content": [thought, {"type": "text", "text": "Hello."}]}
    assert chat(messages=[user("Hi"), said, user("And now?")])["messages"][1] == {**said, "content": "Hello."}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"guided_json": CITY}, "guided_json"),
        ({"temperature": 1.5}, "temperature"),
        ({"messages": [user("Hi"), {"role": "assistant", "content": "Well, "}]}, "messages.1"),
        ({"messages": [user([{"type": "search_result"}])]}, "messages.0.content.0"),
        ({"messages": [user([{"type": "image", "source": {"type": "file", "file_id": "f"}}])]}, "messages.0.content.0"),
        ({"messages": [user([{"type": "tool_result", "content": "21"}])]}, "messages.0.content.0.tool_use_id"),
        ({"messages": [user([{"type": "document", "citations": []}])]}, "messages.0.content.0"),
        *(
            ({"messages": [user([{**RETURNED, "content": wrong}])]}, "messages.0.content.0.content")
            for wrong in (0, 5, False, {}, {"type": "text", "text": "x"}, ["x"])
        ),
        *(
            ({"messages": [user([{**RETURNED, "is_error": wrong}])]}, "messages.0.content.0.is_error")
            for wrong in ("false", "no", 0, [])
        ),
        *(
            ({"messages": [user([{**block, "nonesuch": 0}])]}, "messages.0.content.0.nonesuch")
            for block in ({"type": "text", "text": "x"}, {"type": "image", "source": PNG}, RETURNED)
        ),
        (
            {"messages": [user([{"type": "image", "source": {**PNG, "detail": "low"}}])]},
            "messages.0.content.0.source.detail",
        ),
        ({"messages": [user([{**RETURNED, "content": [{**TEXT, "x": 1}]}])]}, "messages.0.content.0.content.0.x"),
        ({"messages": [user([{**TEXT, "citations": [{}]}])]}, "messages.0.content.0.citations"),
        ({"messages": [user([{**NOTES, "title": 3}])]}, "messages.0.content.0.title"),
        ({"messages": [user([{**NOTES, "source": PNG, "context": "x"}])]}, "messages.0.content.0.context"),
        (
            {
                "messages": [
                    user("Hi"),
                    {"role": "assistant", "content": [{**USE, "caller": {"type": "x"}}]},
                    user("So?"),
                ]
            },
            "messages.1.content.0.caller",
        ),
        ({"system": [{**TEXT, "nonesuch": 0}]}, "system.0.nonesuch"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
    ],
)
def test_what_a_chat_cannot_say_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as raised:
        chat(**fields)
    assert (raised.value.status, raised.value.param) == (400, param)


@pytest.mark.parametrize("fields", [{"top_k": 5}, {"thinking": {"type": "enabled", "budget_tokens": 5000}}])
def test_a_model_that_runs_here_is_not_asked_for_what_it_would_ignore(fields: dict[str, Any]) -> None:
    asked = read({**BASE, "messages": [user("Hi")], **fields}, is_count=False)
    with pytest.raises(ApiError, match=next(iter(fields))):
        as_chat(asked, served("smollm2"))


# -- Answers -----------------------------------------------------------------------------------------------------------

texts = st.text('ab{}"\\ é\n', max_size=8)
calls = st.lists(st.tuples(st.sampled_from(["weather", "news"]), st.dictionaries(texts, texts, max_size=2)), max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a chat's message as a server may give it."""
    given: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | texts)}
    if thought := draw(texts):
        given["reasoning_content"] = thought
    if called := draw(calls):
        given["tool_calls"] = [
            {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(value)}}
            for at, (name, value) in enumerate(called)
        ]
    return given


def pieces(given: dict[str, Any], size: int) -> list[dict[str, Any]]:
    """Return a message as the deltas of a stream."""
    found: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for name in ("reasoning_content", "content"):
        text = given.get(name) or ""
        found += [{name: text[at : at + size]} for at in range(0, len(text), size)]
    for index, call in enumerate(given.get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        found.append({"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]})
        found += [
            {"tool_calls": [{"index": index, "function": {"arguments": arguments[at : at + size]}}]}
            for at in range(0, len(arguments), size)
        ]
    return found


def sent(visit: RequestContext, *bodies: bytes, kind: Any = EVENTS) -> bytes:
    """Return what a client has of an answer whose parts are given."""
    out: list[bytes] = []

    async def send(part: dict[str, Any]) -> None:
        out.append(part.get("body", b""))

    async def run() -> None:
        reply = MessageConnection(visit, send, ("END",))
        await reply({"type": "http.response.start", "status": 200, "headers": [kind]})
        for at, body in enumerate(bodies, 1):
            await reply({"type": "http.response.body", "body": body, "more_body": at < len(bodies)})

    asyncio.run(run())
    return b"".join(out)


def gathered(data: bytes) -> dict[str, Any]:
    """Return the message that events make, put together as the SDKs do."""
    whole: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    for event in Reply(200, {}, data).events:
        match event["type"]:
            case "message_start":
                whole = event["message"]
            case "content_block_start":
                assert event["index"] == len(whole["content"])
                whole["content"].append(event["content_block"])
            case "content_block_delta":
                block, delta = whole["content"][event["index"]], event["delta"]
                assert event["index"] == len(whole["content"]) - 1, "a block that is over goes on"
                kind = delta.pop("type")
                if kind == "input_json_delta":
                    inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
                for name in delta.keys() - {"partial_json"}:
                    block[name] += delta[name]
            case "message_delta":
                whole |= event["delta"] | {"usage": event["usage"]}
            case kind:
                assert kind in ("content_block_stop", "message_stop")
    for at, text in inputs.items():
        whole["content"][at]["input"] = json.loads(text)
    return whole


@given(given_message=answers(), size=st.integers(1, 5), finish=st.sampled_from(["stop", "length", "tool_calls"]))
def test_events_make_the_message_that_a_whole_answer_is(given_message: Any, size: int, finish: str) -> None:
    visit = RequestContext("POST", "/v1/messages", b"x")
    choice = {"message": given_message, "finish_reason": finish}
    whole = message(visit, {"model": "served-1", "choices": [choice]}, ())
    deltas = [(delta, None) for delta in pieces(given_message, size)]
    chunks = [
        {"model": "served-1", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
        for delta, end in [*deltas, ({}, finish)]
    ]
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    assert gathered(sent(visit, *events, b": {}\n\ndata: [DONE]\n\n")) == whole
    blocks = [block["type"] for block in whole["content"]]
    assert blocks == sorted(blocks, key=["thinking", "text", "tool_use"].index)


def test_a_stop_that_the_server_names_is_told() -> None:
    visit = RequestContext("POST", "/v1/messages", b"x")
    choice = {"message": {"content": "Hi"}, "finish_reason": "stop", "stop_reason": "END"}
    data = json.dumps({"model": "m", "choices": [choice]}).encode()
    whole = json.loads(sent(visit, data, kind=JSON))
    assert (whole["stop_reason"], whole["stop_sequence"]) == ("stop_sequence", "END")


@pytest.mark.parametrize("arguments", ["[]", '{"a":' + "[" * 100_000])
def test_a_call_with_what_is_no_object_is_no_message(arguments: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    said = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    with pytest.raises(BadReply, match="no JSON object"):
        message(RequestContext("POST", "/v1/messages", b"x"), said, ())


# -- Through a sidecar -------------------------------------------------------------------------------------------------


def test_the_sdk_is_answered(client: anthropic.Anthropic, provider: fake_server.Server) -> None:
    provider.answers = [fake_server.Answer("Hello there.", thinking="Hm.")]
    answer = client.messages.create(
        model="m", max_tokens=9, system="Be kind.", messages=[{"role": "user", "content": "Hi"}]
    )
    assert [block.model_dump(exclude_none=True) for block in answer.content] == [
        {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE},
        {"type": "text", "text": "Hello there."},
    ]
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 11, 7)
    assert (answer._request_id or "").startswith("req-")
    (asked,) = provider.requests
    assert (asked.path, asked.body["max_tokens"]) == ("/v1/chat/completions", 9)
    assert asked.body["messages"][0] == {"role": "system", "content": "Be kind."}


def test_the_sdk_streams(client: anthropic.Anthropic, provider: fake_server.Server) -> None:
    provider.answers = [fake_server.Answer("Hello there.", thinking="Hm.")]
    with client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]) as stream:
        assert len(list(stream.text_stream)) > 1
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("end_turn", 11, 7)


def test_a_schema_is_met_or_asked_for_again(client: anthropic.Anthropic, provider: fake_server.Server) -> None:
    provider.answers = ["nope", '{"vendor": "ACME", "total": 3}']
    answer = client.messages.parse(
        model="m", max_tokens=99, messages=[{"role": "user", "content": "Read."}], output_format=Invoice
    )
    assert answer.parsed_output == Invoice(vendor="ACME", total=3)
    assert len(provider.requests) == 2


def test_a_strict_tool_is_called_as_its_schema_says(client: anthropic.Anthropic, provider: fake_server.Server) -> None:
    provider.answers = ['{"town": "Rome"}', '{"city": "Rome"}']
    tools: Any = [WEATHER]
    answer = client.messages.create(
        model="m", max_tokens=99, messages=[{"role": "user", "content": "How warm?"}], tools=tools
    )
    (block,) = answer.content
    assert block.type == "tool_use"
    assert (block.name, block.input, answer.stop_reason) == ("weather", {"city": "Rome"}, "tool_use")


def test_errors_have_anthropics_shape(
    client: anthropic.Anthropic, sidecar: Sidecar, provider: fake_server.Server
) -> None:
    with pytest.raises(anthropic.NotFoundError, match="no model"):
        client.messages.create(model="nonesuch", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
    reply = ask(sidecar, max_tokens=0)
    assert (reply.status, reply.json["type"], reply.json["error"]["type"]) == (400, "error", "invalid_request_error")
    assert reply.json["request_id"] == reply.headers["request-id"] == reply.headers["x-request-id"]
    provider.answers = ["nope"]
    form = {"format": {"type": "json_schema", "schema": CITY}}
    reply = ask(sidecar, output_config=form)
    assert (reply.status, reply.json["error"]["type"], reply.json["error"]["code"]) == (
        422,
        "api_error",
        "validation_failed",
    )
    assert reply.json["error"]["findings"]
    provider.answers = [fake_server.error(429, "slow down")]
    reply = ask(sidecar)
    assert (reply.status, reply.json["error"]["type"]) == (429, "rate_limit_error")


def test_a_stream_that_breaks_off_ends_in_an_error_event(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [fake_server.Answer("Hello there, all of you.", change=fake_server.halved())]
    events = ask(sidecar, stream=True).events
    assert events[0]["type"] == "message_start"
    assert (events[-1]["type"], events[-1]["error"]["type"]) == ("error", "api_error")


def test_tokens_are_estimated_where_the_model_does_not_count(client: anthropic.Anthropic, sidecar: Sidecar) -> None:
    few = client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "Hi"}]).input_tokens
    tools: Any = [WEATHER]
    many = client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "Hi"}], tools=tools)
    assert 0 < few < many.input_tokens
    body = {"model": "m", "messages": [user("Hi")]}
    assert sidecar.ask("POST", "/v1/messages/count_tokens", body).json["is_estimate"] is True


def test_models_are_listed_as_anthropic_does(client: anthropic.Anthropic, sidecar: Sidecar) -> None:
    assert [model.id for model in client.models.list()] == ["m", "again"]
    assert client.models.retrieve("m").display_name == "m"
    assert "has_more" not in sidecar.ask("GET", "/v1/models").json


def test_a_key_comes_in_either_header_but_not_two(tmp_path: Path, provider: fake_server.Server) -> None:
    _, text = keys.create(TraceStore.at(str(tmp_path / "trace.db")), "shop")
    with serving(tmp_path, model(provider.url)) as sidecar:
        assert ask(sidecar, headers={"x-api-key": text}).status == 200
        assert ask(sidecar, headers={"Authorization": f"Bearer {text}", "x-api-key": text}).status == 200
        assert ask(sidecar, headers={"Authorization": f"Bearer {text}", "x-api-key": "sk-guard-x"}).status == 400
        refused = ask(sidecar, headers={"x-api-key": "sk-guard-x"})
        assert (refused.status, refused.json["error"]["type"]) == (401, "authentication_error")


STRANGE = [
    {"content": 7},
    {"content": "x", "tool_calls": 7},
    {"tool_calls": [7]},
    {"tool_calls": [{"id": "c", "function": {"name": "weather", "arguments": 7}}]},
    {"tool_calls": [{"id": 7, "function": {"name": "weather", "arguments": "{}"}}]},
    {"tool_calls": [{"id": "c", "function": 7}]},
]


@pytest.mark.parametrize("strange", STRANGE, ids=str)
def test_a_strange_answer_is_a_bad_one(strange: Any, sidecar: Sidecar, provider: fake_server.Server) -> None:
    choice = {"index": 0, "message": strange, "finish_reason": "stop"}
    provider.answers = [fake_server.Answer(raw=json.dumps({"model": "m", "choices": [choice]}).encode())]
    reply = ask(sidecar)
    assert (reply.status, reply.json["error"]["code"]) == (502, "bad_reply")
    assert reply.json["error"]["call"]  # it is on record as that
    begun = {"index": 0, "delta": {"content": "Hi"}}
    ending = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks = [{"choices": [each]} for each in (begun, {"index": 0, "delta": strange}, ending)]
    events = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    provider.answers = [fake_server.Answer(raw=events + b"data: [DONE]\n\n")]
    last = ask(sidecar, stream=True).events[-1]
    assert (last["type"], last["error"]["code"]) == ("error", "bad_reply")


def _called(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"name": "f", "arguments": arguments}, **more}]}


@pytest.mark.parametrize(
    "deltas",
    [
        [_called(0, "", id="a"), {"content": "text"}, _called(0, "{}")],  # goes back to a call
        [{"content": "text"}, _called(-1, "{}", id="a")],
        [_called(0, '{"a":', id="a")],
        [_called(0, '{"a": 1}', id="a"), _called(0, '{"a": 2}', id="b")],
    ],
)
def test_calls_that_no_message_can_hold_end_a_stream_in_an_error(deltas: list[Any], tmp_path: Path) -> None:
    """They came as arguments in a block of text, or as ones that are no JSON: the SDKs fail at them."""
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    raw = b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks)
    with (
        fake_server.Server(fake_server.Answer(raw=raw)) as provider,
        serving(tmp_path, model(provider.url, validate_tools=False)) as sidecar,
        anthropic.Anthropic(base_url=sidecar.url.removesuffix("/v1"), api_key="x", max_retries=0) as client,
    ):
        asked: Any = {**BASE, "messages": [user("?")], "tools": [{"name": "f", "input_schema": {"type": "object"}}]}
        with pytest.raises(anthropic.APIStatusError, match="bad_reply"), client.messages.stream(**asked) as stream:
            list(stream)
        assert TraceStore.at(sidecar.trace).latest()[0].outcome == "BadReply"


def test_a_message_is_the_first_choice_alone(sidecar: Sidecar, provider: fake_server.Server) -> None:
    parts = [(0, "A", None), (1, "B", None), (0, "", "stop"), (1, "", "length")]
    chunks = [{"choices": [{"index": n, "delta": {"content": t}, "finish_reason": f}]} for n, t, f in parts]
    provider.answers = [
        fake_server.Answer(raw=b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks))
    ]
    events = ask(sidecar, messages=[user("?")], max_tokens=9, stream=True).events
    assert [e["delta"]["text"] for e in events if e["type"] == "content_block_delta"] == ["A"]
    assert [e["delta"]["stop_reason"] for e in events if e["type"] == "message_delta"] == ["end_turn"]
