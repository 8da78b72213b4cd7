"""The fake provider by the clients that read it: in each protocol, in pieces or whole, the same is said."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.testing.fake_server import Answer, Server

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
CALLS = st.lists(st.tuples(st.sampled_from(["one", "two"]), TEXTS.map(lambda t: json.dumps({"a": t}))), max_size=3)


@settings(max_examples=12, deadline=None)
@given(TEXTS, CALLS, st.integers(1, 9), st.booleans())
def test_a_response_is_the_same_whole_and_in_events(
    text: str, calls: list[tuple[str, str]], piece: int, declines: bool
) -> None:
    answer = Answer(text, piece=piece, calls=tuple(calls), refusal=text if declines else None)
    with Server(answer) as server, openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as client:
        whole = client.responses.create(model="m", input="?")
        with client.responses.stream(model="m", input="?") as events:
            pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
            last = events.get_final_response()
    assert whole.model_dump()["output"] == [_plain(item) for item in last.output]
    assert whole.status == last.status == "completed"
    called = [(item.name, item.arguments) for item in whole.output if item.type == "function_call"]
    if declines:
        assert (called, whole.output_text, pieces) == ([], "", [])
    elif calls:
        assert (called, pieces) == (calls, [])
    else:
        assert whole.output_text == "".join(pieces) == text
    assert whole.usage is not None
    assert whole.usage.total_tokens == 18


def _plain(item: Any) -> Any:
    return {key: value for key, value in item.model_dump().items() if not key.startswith("parsed")} | _contents(item)


def _contents(item: Any) -> dict[str, Any]:
    if item.type != "message":
        return {}
    return {
        "content": [{k: v for k, v in part.model_dump().items() if not k.startswith("parsed")} for part in item.content]
    }


def test_a_response_that_was_cut_off_is_incomplete() -> None:
    with (
        Server(Answer("abc", finish="length")) as server,
        openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as client,
    ):
        whole = client.responses.create(model="m", input="?")
        last = list(client.responses.create(model="m", input="?", stream=True))[-1]
    assert last.type == "response.incomplete"
    assert (whole.status, whole.incomplete_details) == ("incomplete", last.response.incomplete_details)
    assert (whole.output_text, last.response.output_text) == ("abc", "abc")


TOOL: Any = {"name": "note", "description": "A note.", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ('{"a": "x", "b": 2}', "stop", ("tool_use", {"a": "x", "b": 2})),
        ('{"a": "x", "b": ', "length", ("max_tokens", {"a": "x"})),  # Anthropic sends what is there, parsed
        ("I'm sorry.", "stop", ("end_turn", None)),  # no object is no call
        ('{"a": 1}\n{"a": 2}', "stop", ("end_turn", None)),
    ],
)
def test_a_call_in_anthropic_s_protocol_has_the_tool_s_name_and_what_can_be_read(
    text: str, finish: str, expected: tuple[str, Any]
) -> None:
    with Server(Answer(text, finish=finish)) as server:
        address = server.url.removesuffix("/v1")
        with anthropic.Anthropic(base_url=address, api_key="k", max_retries=0) as client:
            ask: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}], "tools": [TOOL]}
            whole = client.messages.create(**ask)
            with client.messages.stream(**ask) as events:
                streamed = events.get_final_message()
    found = [block.input for block in whole.content if block.type == "tool_use"]
    assert (whole.stop_reason, found[0] if found else None) == expected
    assert [block.name for block in streamed.content if block.type == "tool_use"] == ["note"] * len(found)
