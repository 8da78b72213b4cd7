"""A model that decodes here thinks before it answers, where its chat template has a form for that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from sidecars import Reply, Sidecar, model, serving_here

from guard.decoding.reasoning import Reasoning
from guard.models.base import Request
from guard.sidecar import efforts
from guard.sidecar.endpoints.message_answers import SIGNATURE
from guard.testing import fake_server

USER = {"role": "user", "content": "Hello."}
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "n": {"enum": [1, 2]}},
    "required": ["ok", "n"],
    "additionalProperties": False,
}
LAMP = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": False}
FUNCTION = {"name": "lamp", "parameters": LAMP}
LIMIT = 120  #: Tokens of thinking and answer.
CHAT, RESPONSE, MESSAGE = "/v1/chat/completions", "/v1/responses", "/v1/messages"
#: For each path: how little and much thinking is asked for, how a schema, and how a call.
FIELDS: dict[str, dict[str, Any]] = {
    CHAT: {
        "body": {"messages": [USER], "max_tokens": LIMIT, "stream_options": {"include_usage": True}},
        "medium": {"reasoning_effort": "medium"},
        "none": {"reasoning_effort": "none"},
        "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
        "call": {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"},
    },
    RESPONSE: {
        "body": {"input": "Hello.", "max_output_tokens": LIMIT},
        "medium": {"reasoning": {"effort": "medium"}},
        "none": {"reasoning": {"effort": "none"}},
        "schema": {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}},
        "call": {"tools": [{"type": "function", **FUNCTION}], "tool_choice": "required"},
    },
    MESSAGE: {
        "body": {"messages": [USER], "max_tokens": LIMIT},
        "medium": {"thinking": {"type": "enabled", "budget_tokens": LIMIT // 2}},
        "none": {"thinking": {"type": "disabled"}},
        "schema": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        "call": {"tools": [{"name": "lamp", "input_schema": LAMP}], "tool_choice": {"type": "any"}},
    },
}


#: Tags that are texts, in a prompt that opens them, and tags that are tokens, which the model's place has.
MODELS = {"texts": (tiny.OPENED_TOOLS, ()), "tokens": (tiny.THINKING_TOOLS, ("<think>", "</think>"))}


@pytest.fixture(scope="module", params=MODELS)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Start a sidecar whose model has tags to think between."""
    template, tags = MODELS[request.param]
    with serving_here(tmp_path_factory.mktemp("local"), template=template, tags=tags) as sidecar:
        yield sidecar


def ask(sidecar: Sidecar, path: str, *kinds: str, **fields: Any) -> Reply:
    body = {"model": "m", **FIELDS[path]["body"], **fields}
    for kind in kinds:
        body |= FIELDS[path].get(kind, {})
    if not fields.get("stream"):
        body.pop("stream_options", None)
    return sidecar.ask("POST", path, body)


def parts(path: str, reply: Reply) -> tuple[str, str, list[Any], int]:
    """Return the thinking, the text, the arguments of calls, and the number of tokens written."""
    assert reply.status == 200, reply.data
    said = reply.json
    if path == CHAT:
        message, used = said["choices"][0]["message"], said["usage"]["completion_tokens"]
        calls = [json.loads(call["function"]["arguments"]) for call in message.get("tool_calls", ())]
        return message.get("reasoning_content", ""), message["content"] or "", calls, used
    if path == RESPONSE:
        texts: dict[str, list[str]] = {"reasoning": [], "message": []}
        for item in said["output"]:
            if item["type"] in texts:
                texts[item["type"]] += [part["text"] for part in item["content"]]
        calls = [json.loads(item["arguments"]) for item in said["output"] if item["type"] == "function_call"]
        return "".join(texts["reasoning"]), "".join(texts["message"]), calls, said["usage"]["output_tokens"]
    blocks = said["content"]
    assert all(block["signature"] == SIGNATURE for block in blocks if block["type"] == "thinking")
    told = ["".join(block[kind] for block in blocks if block["type"] == kind) for kind in ("thinking", "text")]
    return told[0], told[1], [b["input"] for b in blocks if b["type"] == "tool_use"], said["usage"]["output_tokens"]


def pieces(path: str, reply: Reply) -> tuple[list[str], list[str], str]:
    """Return what streams: thinking and text in pieces, and the arguments of calls."""
    assert reply.status == 200, reply.data
    thoughts, texts, arguments = [], [], []
    for event in reply.events:
        if path == CHAT and event != "[DONE]":
            for choice in event["choices"]:
                delta = choice["delta"]
                thoughts += [delta.get("reasoning_content", "")]
                texts += [delta.get("content") or ""]
                arguments += [call["function"].get("arguments", "") for call in delta.get("tool_calls", ())]
                assert not (delta.get("reasoning_content") and any(texts))  # thinking comes first
        elif path == RESPONSE:
            where = {"reasoning_text": thoughts, "output_text": texts, "function_call_arguments": arguments}
            kind, _, end = event["type"].removeprefix("response.").partition(".")
            if end == "delta":
                where[kind].append(event["delta"])
        elif path == MESSAGE and event["type"] == "content_block_delta":
            delta = event["delta"]
            thoughts += [delta.get("thinking", "")]
            texts += [delta.get("text", "")]
            arguments += [delta.get("partial_json", "")]
    return [*filter(None, thoughts)], [*filter(None, texts)], "".join(arguments)


@pytest.mark.parametrize("kind", ["text", "schema", "call"])
@pytest.mark.parametrize("path", FIELDS)
def test_thinking_comes_before_the_answer_and_within_the_limit(here: Sidecar, path: str, kind: str) -> None:
    thought, text, calls, used = parts(path, ask(here, path, "medium", kind))
    assert thought
    assert "think>" not in thought + text
    assert used <= LIMIT
    if kind == "call":
        assert [call.keys() for call in calls] == [{"on"}] * len(calls) != []
    elif kind == "schema":
        assert json.loads(text).keys() == {"ok", "n"}
    streamed, texts, arguments = pieces(path, ask(here, path, "medium", kind, stream=True))
    assert "".join(streamed) == thought
    assert len(streamed) > 1  # as it is written
    assert "".join(texts) == text
    assert arguments == "".join(json.dumps(call) for call in calls)
    silent = parts(path, ask(here, path, "none", kind))
    assert silent[0] == ""
    assert parts(path, ask(here, path, kind))[:3] == silent[:3]  # which is the default


def test_an_effort_is_a_share_of_the_limit_and_the_answer_has_the_rest(here: Sidecar) -> None:
    most = {}
    for effort, share in efforts.SHARES.items():
        reply = ask(here, CHAT, "schema", reasoning_effort=effort)
        used = reply.json["usage"]
        most[effort] = used.get("completion_tokens_details", {}).get("reasoning_tokens", 0)
        assert most[effort] <= share * LIMIT
        assert used["completion_tokens"] <= LIMIT
        assert json.loads(reply.json["choices"][0]["message"]["content"]).keys() == {"ok", "n"}
    assert 0 < most["low"] < most["medium"] < most["high"]


def test_a_budget_is_kept_to_the_token(here: Sidecar) -> None:
    for budget in (20, 33):
        thinking = {"type": "enabled", "budget_tokens": budget}
        context = ask(here, CHAT, thinking=thinking).json["usage"]["completion_tokens_details"]
        assert 0 < context["reasoning_tokens"] <= budget
    for path in (CHAT, MESSAGE):
        reply = ask(here, path, thinking={"type": "enabled", "budget_tokens": LIMIT})
        error = reply.json["error"]
        assert (reply.status, error["param"]) == (400, "thinking.budget_tokens")
        assert f"from 1 to {LIMIT - 1}" in error["message"]


def test_adaptive_thinking_is_thinking(here: Sidecar) -> None:
    for fields in ({"thinking": {"type": "adaptive"}}, {"output_config": {"effort": "low"}}):
        assert parts(MESSAGE, ask(here, MESSAGE, **fields))[0]
    both = {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}
    assert parts(MESSAGE, ask(here, MESSAGE, **both))[0] == ""


def test_tokens_are_counted_with_the_place_to_think_in(here: Sidecar) -> None:
    for thinking in (FIELDS[MESSAGE]["medium"], FIELDS[MESSAGE]["none"]):
        body = {"model": "m", "messages": [USER], **thinking}
        counted = here.ask("POST", "/v1/messages/count_tokens", body).json["input_tokens"]
        assert counted == ask(here, MESSAGE, **thinking).json["usage"]["input_tokens"]


@pytest.mark.parametrize("path", FIELDS)
def test_a_second_turn_goes_back_with_its_thinking(here: Sidecar, path: str) -> None:
    said = ask(here, path, "medium", "call").json
    if path == CHAT:
        message = said["choices"][0]["message"]
        results: list[Any] = [
            {"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in message["tool_calls"]
        ]
        fields: Any = {"messages": [USER, message, *results]}
    elif path == RESPONSE:
        results = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "done"}
            for item in said["output"]
            if item["type"] == "function_call"
        ]
        fields = {"input": [USER, *said["output"], *results]}
    else:
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": "done"}
            for block in said["content"]
            if block["type"] == "tool_use"
        ]
        turn = {"role": "assistant", "content": said["content"]}
        fields = {"messages": [USER, turn, {"role": "user", "content": results}]}
    body = {
        "model": "m",
        **FIELDS[path]["body"],
        **fields,
        **FIELDS[path]["medium"],
        "tools": FIELDS[path]["call"]["tools"],
    }
    body.pop("stream_options", None)
    assert parts(path, here.ask("POST", path, body))[0]


def test_a_template_that_shows_earlier_thinking_gets_it(here: Sidecar) -> None:
    sizes = []
    for thought in ("", "I have turned it on already."):
        said = {"role": "assistant", "content": "On.", "reasoning_content": thought}
        messages = [USER, said, {"role": "user", "content": "And?"}]
        sizes.append(ask(here, CHAT, "call", messages=messages).json["usage"]["prompt_tokens"])
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"reasoning_effort": ["low"]}, "reasoning_effort"),
        ({"reasoning_effort": "low", "thinking": {"type": "enabled", "budget_tokens": 9}}, "reasoning_effort"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": True}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "always"}}, "thinking.type"),
        ({"thinking": "yes"}, "thinking.type"),
        ({"chat_template_kwargs": {"enable_thinking": True}}, "chat_template_kwargs"),
    ],
)
def test_what_says_nothing_about_thinking_is_refused(here: Sidecar, fields: dict[str, Any], param: str) -> None:
    reply = ask(here, CHAT, **fields)
    assert (reply.status, reply.json["error"]["param"]) == (400, param)


def test_a_completion_has_no_place_for_thinking(here: Sidecar) -> None:
    for more in ({}, {"guided_json": SCHEMA}):
        body = {"model": "m", "prompt": "Hello.", "reasoning_effort": "low", **more}
        reply = here.ask("POST", "/v1/completions", body)
        assert (reply.status, reply.json["error"]["param"]) == (400, "reasoning_effort")


@pytest.mark.parametrize("stream", [False, True])
def test_a_template_without_tags_is_never_asked_to_think(
    tmp_path_factory: pytest.TempPathFactory, stream: bool
) -> None:
    names = {CHAT: "reasoning_effort", RESPONSE: "reasoning.effort", MESSAGE: "thinking"}
    with serving_here(tmp_path_factory.mktemp("plain"), template=tiny.TOOLS) as sidecar:
        for path, param in names.items():
            for kind in ("text", "schema", "call"):
                reply = ask(sidecar, path, "medium", kind, stream=stream)
                error = reply.json["error"]
                assert (reply.status, error["param"]) == (400, param)
                assert error["message"] == (
                    f"{param}: m does not think: its chat template has no tags for that; leave it out, or ask a model"
                    " whose template has them"
                )
        reply = ask(sidecar, MESSAGE, output_config={"effort": "low"})
        assert (reply.status, reply.json["error"]["param"]) == (400, "output_config.effort")


def test_where_a_model_here_may_escalate_a_budget_becomes_an_effort(tmp_path_factory: pytest.TempPathFactory) -> None:
    with fake_server.Server("There.") as provider:
        toml = model(provider.url, "there")
        folder = tmp_path_factory.mktemp("both")
        table = (
            f'[serve.models.both]\nmodel = "transformers:{folder / "tiny"}"\nescalate_to = ["there"]\nmax_tokens = 60\n'
        )
        with serving_here(folder, toml + table, template=tiny.THINKING_TOOLS) as sidecar:
            body = {"model": "both", "max_tokens": LIMIT, "messages": [USER]}
            for thinking in ({"type": "enabled", "budget_tokens": 20}, {"type": "adaptive"}):
                assert parts(MESSAGE, sidecar.ask("POST", MESSAGE, {**body, "thinking": thinking}))[0]
            off = {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}
            assert parts(MESSAGE, sidecar.ask("POST", MESSAGE, {**body, **off}))[0] == ""
        assert not provider.requests


# -- Without a sidecar -------------------------------------------------------------------------------------------------


@given(
    text=st.text(" \nab<>/think", max_size=30),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    is_closed=st.booleans(),
)
def test_pieces_of_thinking_make_all_of_it(text: str, sizes: list[int], is_closed: bool) -> None:
    """However tokens come, and wherever white space and beginnings of the tag stand."""
    encode = tiny.tokenizer().encode
    reasoning = Reasoning(("<think>", "</think>"), tiny.vocabulary(), encode)
    thinking = reasoning.thinking(200)
    assert thinking is not None
    written = [*encode(text), *(encode("\n</think>\n\n") if is_closed else ())]
    found, at, turn = [], 0, 0
    while at < len(written):
        at, turn = min(len(written), at + sizes[turn % len(sizes)]), turn + 1
        found.append(thinking.fresh(written, at))
    whole = thinking.text(written)
    assert whole.startswith("".join(found))
    if "</think>" in text or is_closed:
        assert "".join(found) == whole


@given(limit=st.integers(1, 10_000), effort=st.sampled_from([*efforts.SHARES]))
def test_an_effort_leaves_something_for_the_answer(limit: int, effort: str) -> None:
    request = Request(({"role": "user", "content": "?"},), None, max_tokens=limit)
    made = efforts.asked({"reasoning_effort": effort}, request)
    assert made.thinking < limit == made.output_tokens
    assert efforts.asked({"reasoning_effort": "none"}, request) is request
