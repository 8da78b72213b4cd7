"""The newer way to ask, as far as it is one answer to one input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sidecars import Sidecar, serving

from guard.testing import fake_server

SCHEMA = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
FORMAT = {"format": {"type": "json_schema", "name": "sum", "schema": SCHEMA}}
TOOL = {"type": "function", "name": "add", "strict": True, "parameters": SCHEMA}


def ask(sidecar: Sidecar, **fields: Any) -> Any:
    return sidecar.ask("POST", "/v1/responses", {"model": "m", "input": "How much?", **fields})


def test_plain_text_goes_through_to_the_providers_own(sidecar: Sidecar, provider: fake_server.Server) -> None:
    part = {"type": "output_text", "text": "Three."}
    whole = {"id": "r", "model": "x", "output": [{"type": "message", "content": [part]}], "usage": {"input_tokens": 2}}
    provider.answers = [fake_server.Answer(raw=json.dumps(whole).encode())]
    assert ask(sidecar, reasoning={"effort": "low"}).json == whole
    assert (provider.requests[0].path, provider.requests[0].body["reasoning"]) == ("/v1/responses", {"effort": "low"})


def test_a_schema_is_kept_as_in_a_chat(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = ["{}", '{"total": 3}']
    whole = ask(sidecar, text=FORMAT, instructions="Be brief.").json
    assert whole["output"][0]["content"][0]["text"] == '{"total": 3}'
    assert (whole["status"], whole["usage"]["total_tokens"]) == ("completed", 36)
    first = provider.requests[0].body["messages"]
    assert [message["role"] for message in first] == ["system", "user"]
    provider.answers = ["{}"]
    assert ask(sidecar, text=FORMAT).status == 422


def test_a_conversation_with_calls_is_asked_as_one(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = ['{"total": "three"}', '{"total": 4}']
    conversation = [
        {"role": "user", "content": [{"type": "input_text", "text": "Add."}]},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"total": 3}'},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
    ]
    choice = {"type": "function", "name": "add"}
    whole = ask(sidecar, input=conversation, tools=[TOOL], tool_choice=choice).json
    (call,) = whole["output"]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "add", '{"total": 4}')
    sent = provider.requests[0].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[0]["content"] == [{"type": "text", "text": "Add."}]


def test_a_stream_has_the_protocols_events_in_order(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = ['{"total": 3}']
    events = ask(sidecar, text=FORMAT, stream=True).events
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(9))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1", "text": FORMAT}, "previous_response_id"),
        ({"input": [{"type": "computer_call"}], "text": FORMAT}, "input.0.type"),
        ({"input": 3}, "input"),
        ({"n": 3, "text": FORMAT}, "n"),
        ({"n": "x", "text": FORMAT}, "n"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
        ({"tools": [{"type": "web_search"}], "text": FORMAT}, "tools.0.type"),
    ],
)
def test_what_can_not_be_asked_so_is_400(
    sidecar: Sidecar, provider: fake_server.Server, fields: dict[str, Any], param: str
) -> None:
    reply = ask(sidecar, **fields)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.data
    assert provider.requests == []


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/embeddings"])
def test_a_number_of_answers_is_the_providers_where_the_protocol_has_none(
    sidecar: Sidecar, provider: fake_server.Server, path: str
) -> None:
    """It was taken for a chat's: a text was answered with 500."""
    provider.answers = [fake_server.Answer(raw=b'{"output": [], "data": []}')]
    for n in ("x", ["message"], 3):
        assert sidecar.ask("POST", path, {"model": "m", "input": "Hello.", "n": n}).status == 200
        assert provider.requests[-1].body["n"] == n
    assert len(provider.requests) == 3


def test_a_response_of_a_translated_model_is_asked_for_once(tmp_path: Path) -> None:
    """Each of the answers that `n` names was paid for, and one was delivered."""
    with fake_server.Server("Hello.") as provider:
        table = f'[serve.models.m]\nmodel = "anthropic:claude-x"\nbase_url = "{provider.url.removesuffix("/v1")}"\n'
        with serving(tmp_path, table, env={"ANTHROPIC_API_KEY": "sk-ant-x"}) as sidecar:
            refused = ask(sidecar, n=3)
            assert (refused.status, refused.json["error"]["param"]) == (400, "n")
            assert provider.requests == []
            assert ask(sidecar, n=1).status == 200
            assert len(provider.requests) == 1


def test_an_answer_that_would_come_later_is_refused(sidecar: Sidecar) -> None:
    """A provider that speaks responses said "queued", which counted as its failure."""
    answer = sidecar.ask("POST", "/v1/responses", {"model": "m", "input": "Hello.", "background": True})
    assert (answer.status, answer.json["error"]["param"]) == (400, "background")
