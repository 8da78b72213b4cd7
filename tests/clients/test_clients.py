"""A slice of `make clients`: the SDKs that the test extra has anyway, and the upstream with its rules."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from clients import rules
from clients.run import SCRIPTS, SEEN, serving, tried
from clients.upstream import ASKED, INVOICE, Upstream

from guard.testing import fake_server

USER = {"role": "user", "content": "How warm?"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
ASKING = {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "call_2"}]}
RETURNED = {"role": "tool", "tool_call_id": "call_1", "content": "21"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.mark.parametrize("script", ["openai_chat.py", "openai_responses.py", "anthropic_messages.py"])
def test_a_client_sees_what_it_should(script: str, tmp_path: Path) -> None:
    upstream = Upstream()
    with serving(tmp_path, upstream) as sidecar:
        verdicts = tried(sidecar, [sys.executable, str(SCRIPTS / script)])
    assert {v.feature: v.words for v in verdicts if not v.is_right} == {}
    assert [verdict.feature for verdict in verdicts] == list(SEEN)
    assert upstream.broken == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"messages": [USER, ASKING, RETURNED, {**RETURNED, "tool_call_id": "call_2"}], "tools": [TOOL]}, None),
        ({"guided_json": {}}, "Unrecognized request argument supplied: guided_json"),
        ({"messages": []}, "Invalid 'messages': empty array"),
        ({"messages": [USER, ASKING, RETURNED]}, "did not have response messages: call_2"),
        ({"messages": [USER, ASKING, USER, RETURNED]}, "did not have response messages: call_1, call_2"),
        ({"messages": [USER, RETURNED]}, "must be a response to a preceeding message"),
        ({"messages": [{**USER, "id": "x"}]}, "('id' was unexpected)"),
        ({"messages": [{"role": "assistant", "content": None}]}, "expected a string, got null"),
        ({"messages": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]}, "'input_text'"),
        ({"tool_choice": "auto"}, "only allowed when 'tools' are specified"),
        ({"parallel_tool_calls": True}, "only allowed when 'tools' are specified"),
        ({"stream_options": {"include_usage": True}}, "only allowed when 'stream' is enabled"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "at the same time"),
        ({"tools": []}, "Invalid 'tools': empty array"),
        ({"response_format": {"type": "json_object"}}, "must contain the word 'json'"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}},
                }
            },
            "'additionalProperties' is required",
        ),
    ],
)
def test_the_upstream_holds_clients_to_the_rules(changes: dict[str, Any], words: str | None) -> None:
    found = rules.broken_chat({"model": "m", "messages": [USER], **changes})
    assert (found is None) if words is None else (found is not None and words in found[0])


def test_the_upstream_keeps_responses_and_refuses_what_it_does_not_have() -> None:
    upstream = Upstream()

    def ask(**fields: Any) -> fake_server.Answer:
        return upstream(fake_server.ClientRequest("/v1/responses", {}, {"model": "m", **fields}))

    first = json.loads(ask(input=ASKED["first turn"]).raw or b"")
    again = json.loads(ask(input=ASKED["second turn"], previous_response_id=first["id"]).raw or b"")
    assert again["output"][0]["content"][0]["text"] == "Ada."
    assert ask(input=[{"type": "item_reference", "id": "msg_none"}]).status == 400
    assert ask(input=[{"type": "function_call_output", "call_id": "call_x", "output": ""}]).status == 400


def test_the_model_answers_a_schema_rightly_once_it_was_told_what_was_wrong() -> None:
    upstream = Upstream()
    form = {"type": "json_object"}
    messages = [{"role": "user", "content": f"{ASKED['schema']} As JSON."}]

    def ask() -> Any:
        body = {"model": "m", "messages": messages, "response_format": form}
        answer = upstream(fake_server.ClientRequest("/v1/chat/completions", {}, body))
        return json.loads(json.loads(answer.raw or b"")["choices"][0]["message"]["content"])

    assert ask() == {"vendor": "ACME", "total": "three"}
    messages += [
        {"role": "assistant", "content": json.dumps(ask())},
        {"role": "user", "content": "total: expected a number"},
    ]
    assert ask() == INVOICE
