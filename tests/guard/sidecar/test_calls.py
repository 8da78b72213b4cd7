"""Calls of tools: checked by default, asked for again as calls, with what is said beside them."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sidecars import Reply, Sidecar, model, says, serving, serving_here

from guard.sidecar.endpoints import tool_calls
from guard.testing import fake_server
from guard.trace import TraceStore
from guard.turns.pieces import Spoken

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
TIME: Any = {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}}
OSLO, WRONG = '{"city": "Oslo"}', '{"city": 3}'


def called(reply: Reply) -> list[tuple[str, Any]]:
    assert reply.status == 200, reply.data
    if not reply.events:
        message = reply.json["choices"][0]["message"]
        return [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in message["tool_calls"]]
    deltas = [choice["delta"] for event in reply.events[:-1] for choice in event["choices"]]
    found = [call for delta in deltas for call in delta.get("tool_calls") or []]
    return [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in found]


def spoken(reply: Reply) -> str:
    return "".join(c["delta"].get("content") or "" for e in reply.events[:-1] for c in e["choices"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_call_is_shown_back_as_a_call_with_the_property_that_is_wrong(
    sidecar: Sidecar, provider: fake_server.Server, stream: bool
) -> None:
    provider.answers = [says(("weather", WRONG), ("time", "{}"), content="I look."), says(("weather", OSLO))]
    reply = sidecar.chat(tools=[WEATHER, TIME], stream=stream)
    assert called(reply) == [("weather", {"city": "Oslo"})]
    first, again = provider.requests[0].body, provider.requests[1].body
    assistant, weather, clock = again["messages"][len(first["messages"]) :]
    assert assistant["content"] == "I look."
    functions = [call["function"] for call in assistant["tool_calls"]]
    assert functions == [{"name": "weather", "arguments": WRONG}, {"name": "time", "arguments": "{}"}]
    assert [m["tool_call_id"] for m in (weather, clock)] == [call["id"] for call in assistant["tool_calls"]]
    assert weather["content"].splitlines()[:2] == [
        "weather was not called, because the call is not valid:",
        "- city: expected a value of type string, got 3",
    ]
    assert "another call was not valid" in clock["content"]
    assert (first.get("tool_choice"), again["tool_choice"]) == (None, "required")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("whether", OSLO), "- there is no function whether; there is weather, time"),
        (("weather", '{"city": '), "- the arguments: expected a value of type object"),
        (("weather", "{}"), "- the arguments: expected the property 'city', got {}"),
    ],
)
def test_whatever_is_wrong_with_a_call_is_said_by_name(
    sidecar: Sidecar, provider: fake_server.Server, call: tuple[str, str], said: str
) -> None:
    provider.answers = [says(call), says(("weather", OSLO))]
    assert called(sidecar.chat(tools=[WEATHER, TIME])) == [("weather", {"city": "Oslo"})]
    assert said in provider.requests[1].body["messages"][-1]["content"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_asked_for_again_never_comes_back_as_words(
    sidecar: Sidecar, provider: fake_server.Server, stream: bool
) -> None:
    provider.answers = [says(("weather", WRONG)), says(content=OSLO), says(("weather", OSLO))]
    reply = sidecar.chat(tools=[WEATHER], stream=stream)
    assert called(reply) == [("weather", {"city": "Oslo"})]
    assert not stream or spoken(reply) == ""
    assert "expected a call of weather" in provider.requests[2].body["messages"][-1]["content"]
    provider.requests.clear()
    provider.answers = [says(("weather", WRONG)), says(content=OSLO)]
    assert sidecar.chat(tools=[WEATHER]).json["error"]["code"] == "validation_failed"


def test_a_call_that_stays_wrong_is_422_with_the_property(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [says(("weather", WRONG))]
    error = sidecar.chat(tools=[WEATHER]).json["error"]
    assert error["findings"][0]["at"] == "/0/arguments/city"
    assert error["findings"][0]["expected"] == "a value of type string"


def test_tools_go_through_as_they_are_where_the_settings_say_so(tmp_path: Path) -> None:
    with fake_server.Server(says(("weather", WRONG))) as provider:
        toml = model(provider.url) + model(provider.url, "raw", validate_tools=False, retries=0)
        with serving(tmp_path, toml) as sidecar:
            assert sidecar.chat(tools=[WEATHER]).status == 422
            before = len(provider.requests)
            assert called(sidecar.chat(model="raw", tools=[WEATHER])) == [("weather", {"city": 3})]
            assert len(provider.requests) == before + 1
            strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
            assert sidecar.chat(model="raw", tools=[strict]).status == 422
            custom = {"type": "custom", "custom": {"name": "sql", "format": {"type": "grammar", "grammar": {}}}}
            reply = sidecar.chat(tools=[custom])
            assert (reply.status, reply.json["error"]["param"]) == (400, "tools.0.custom.format")
            assert sidecar.chat(model="raw", tools=[custom]).status == 200


def test_words_beside_tools_stream_while_they_come_and_calls_whole(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    def slowly(request: fake_server.ClientRequest) -> fake_server.Answer:
        answer = says(("weather", OSLO), content="one two three")(request)
        first, second, rest = answer.raw.split(b"\n\n", 2)
        return fake_server.Answer(raw=answer.raw, change=lambda _: [first + b"\n\n", 1.0, second + b"\n\n", 1.0, rest])

    provider.answers = [slowly]
    with openai.OpenAI(base_url=sidecar.url, api_key="unused", max_retries=0) as client:
        began = time.monotonic()
        messages: Any = [{"role": "user", "content": "?"}]
        stream = client.chat.completions.create(model="m", messages=messages, tools=[WEATHER], stream=True)
        times = {}
        for chunk in stream:
            delta = chunk.choices[0].delta
            for name in ("content", "tool_calls"):
                if getattr(delta, name):
                    times.setdefault(name, time.monotonic() - began)
    assert times["content"] < 1.0 < 1.9 < times["tool_calls"]


def deltas(*given: Any, finish: str = "tool_calls", is_whole: bool = True) -> fake_server.Answer:
    """Stream deltas of a chat, then its end unless it breaks off."""
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in given]
    choices += [{"index": 0, "delta": {}, "finish_reason": finish}] if is_whole else []
    return fake_server.Answer(
        raw=b"".join(b"data: %s\n\n" % json.dumps({"choices": [one]}).encode() for one in choices)
    )


def piece(index: Any, arguments: str, name: str = "weather", id: str | None = "a") -> Any:  # noqa: A002 (the protocol's)
    return {"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}


def test_calls_that_a_server_all_numbers_0_are_told_apart_by_their_ids(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    """They were taken for one call, of the tool weatherweather."""
    provider.answers = [deltas(piece(0, OSLO), piece(0, '{"city": ', id="b"), piece(0, '"Rome"}', "", None))]
    assert called(sidecar.chat(tools=[WEATHER], stream=True)) == [
        ("weather", {"city": "Oslo"}),
        ("weather", {"city": "Rome"}),
    ]


def test_an_index_that_is_no_number_breaks_the_protocol(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [deltas(piece("0", OSLO), piece(1, OSLO))]
    reply = sidecar.chat(tools=[WEATHER], stream=True)
    assert (reply.status, reply.json["error"]["code"]) == (502, "bad_reply")


def test_a_call_that_breaks_off_was_paid_for(sidecar: Sidecar, provider: fake_server.Server) -> None:
    """Nothing of a call is sent before it is whole: of one that broke off, no token was on record."""
    provider.answers = [deltas(piece(0, '{"city": "' + 400 * "x"), is_whole=False)]
    assert sidecar.chat(tools=[WEATHER], stream=True).status == 502
    record = TraceStore.at(sidecar.trace).latest()[0]
    assert (record.outcome, record.is_estimate, record.completion_tokens > 100) == ("Unavailable", True, True)


def test_words_of_a_second_attempt_are_not_put_after_those_of_the_first(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = [says(("weather", WRONG), content="Let me."), says(("weather", OSLO), content="Other.")]
    reply = sidecar.chat(tools=[WEATHER], stream=True)
    assert (spoken(reply), called(reply)) == ("Let me.", [("weather", {"city": "Oslo"})])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("ending", ["refusal", "filter", "filter midway"])
def test_a_refusal_is_an_answer_in_a_live_stream_too(
    sidecar: Sidecar, provider: fake_server.Server, path: str, ending: str
) -> None:
    """It was an error there, though not in a whole answer."""
    said = {"refusal": [{"refusal": "No."}], "filter": [], "filter midway": [{"content": "So"}]}[ending]
    provider.answers = [deltas(*said, finish="stop" if ending == "refusal" else "content_filter")]
    body = {"model": "m", "stream": True, **IN_PROTOCOLS[path]}
    reply = sidecar.ask("POST", path, body)
    assert reply.status == 200, reply.data
    events = reply.events
    if path == "/v1/chat/completions":
        told = [event["choices"][0] for event in events[:-1]]
        assert "".join(one["delta"].get("refusal") or "" for one in told) == ("No." if ending == "refusal" else "")
        assert told[-1]["finish_reason"] == ("stop" if ending == "refusal" else "content_filter")
    elif path == "/v1/responses":
        last = events[-1]["response"]
        texts = [part.get("refusal") or part["text"] for item in last["output"] for part in item["content"]]
        assert texts == {"refusal": ["No."], "filter": [], "filter midway": ["So"]}[ending]
        assert last["status"] == ("completed" if ending == "refusal" else "incomplete")
    else:
        assert [e["delta"]["stop_reason"] for e in events if e["type"] == "message_delta"] == ["refusal"]
    assert TraceStore.at(sidecar.trace).latest()[0].outcome == ("Refused" if ending == "refusal" else "ContentFiltered")


ASKED: Any = [{"role": "user", "content": "?"}]
IN_PROTOCOLS: Any = {
    "/v1/chat/completions": {"messages": ASKED, "tools": [WEATHER]},
    "/v1/responses": {"input": "?", "tools": [{"type": "function", **WEATHER["function"]}]},
    "/v1/messages": {
        "messages": ASKED,
        "max_tokens": 99,
        "tools": [{"name": "weather", "input_schema": PARAMETERS}],
    },
}


@pytest.mark.parametrize("path", IN_PROTOCOLS)
@pytest.mark.parametrize("content", ["Let me look.", None])
def test_thinking_beside_tools_streams_while_it_comes(
    sidecar: Sidecar, provider: fake_server.Server, path: str, content: str | None
) -> None:
    def slowly(request: fake_server.ClientRequest) -> fake_server.Answer:
        answer = says(("weather", OSLO), content=content, reasoning_content="Hm, weather.")(request)
        first, rest = answer.raw.split(b"\n\n", 1)
        return fake_server.Answer(raw=answer.raw, change=lambda _: [first + b"\n\n", 1.0, rest])

    provider.answers = [slowly]
    connection = http.client.HTTPConnection(sidecar.host, sidecar.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps({"model": "m", "stream": True, **IN_PROTOCOLS[path]}))
        began, seen = time.monotonic(), b""
        response = connection.getresponse()
        while b"Hm, weather." not in seen:
            piece = response.read1()
            assert piece
            seen += piece
        assert time.monotonic() - began < 0.9
        seen += response.read()
    text = seen.decode()
    assert text.index("Hm, weather.") < (text.index("Let ") if content else text.index("Oslo"))
    if path == "/v1/responses":  # each item says what it is, and stands where it was said to
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
        whole = events[-1]["response"]
        done = {e["output_index"]: e["item"] for e in events if e["type"] == "response.output_item.done"}
        assert [done[index] for index in range(len(done))] == whole["output"]
        kinds = [item["type"] for item in whole["output"]]
        assert kinds == ["reasoning", *(["message"] if content else []), "function_call"]
        assert [e["sequence_number"] for e in events] == list(range(len(events)))
    else:
        assert text.count("weather.") == 1


def test_content_and_reasoning_beside_calls_survive(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [says(("weather", OSLO), content="Let me look.", reasoning_content="Hm, weather.")]
    message = sidecar.chat(tools=[WEATHER]).json["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Let me look.", "Hm, weather.")
    reply = sidecar.chat(tools=[WEATHER], stream=True)
    assert (spoken(reply), called(reply)) == ("Let me look.", [("weather", {"city": "Oslo"})])
    deltas = [c["delta"] for e in reply.events[:-1] for c in e["choices"]]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "Hm, weather."
    provider.answers = [fake_server.Answer('{"a": 1}', thinking="Hm.")]
    for wanted in ({"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}):
        message = sidecar.chat(response_format=wanted).json["choices"][0]["message"]
        assert message["reasoning_content"] == "Hm."
        events = sidecar.chat(response_format=wanted, stream=True).events
        assert "Hm." in [c["delta"].get("reasoning_content") for e in events[:-1] for c in e["choices"]]


def test_the_older_words_for_tools_are_checked_too(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [says(("weather", WRONG)), says(("weather", OSLO))]
    history = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": OSLO}},
        {"role": "function", "name": "weather", "content": "rain"},
    ]
    fields: Any = {"functions": [WEATHER["function"]], "function_call": {"name": "weather"}, "messages": history}
    choice = sidecar.chat(**fields).json["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "weather", "arguments": OSLO}
    sent = provider.requests[0].body
    assert sent["tool_choice"]["function"]["name"] == "weather"
    assert sent["messages"][2]["tool_call_id"] == sent["messages"][1]["tool_calls"][0]["id"]
    provider.answers = [says(("weather", OSLO))]
    events = sidecar.chat(**fields, stream=True).events
    deltas = [c["delta"] for e in events[:-1] for c in e["choices"]]
    assert [d["function_call"]["arguments"] for d in deltas if "function_call" in d] == [OSLO]


def test_the_older_words_for_tools_hold_a_model_here(here: Sidecar) -> None:
    city = {"enum": ["Oslo", "Rome"]}  # it ends within the budget, whatever the model likes
    parameters = {"type": "object", "properties": {"city": city}, "required": ["city"], "additionalProperties": False}
    functions = [{"name": "weather", "parameters": parameters}]
    fields: Any = {"functions": functions, "function_call": {"name": "weather"}, "max_tokens": 60}
    choice = here.chat(**fields).json["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert json.loads(choice["message"]["function_call"]["arguments"])["city"] in city["enum"]


def test_only_allowed_tools_may_be_called(sidecar: Sidecar, provider: fake_server.Server) -> None:
    allowed = {"type": "function", "function": {"name": "time"}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [allowed]}}
    provider.answers = [says(("weather", OSLO)), says(("time", "{}"))]
    assert called(sidecar.chat(tools=[WEATHER, TIME], tool_choice=choice)) == [("time", {})]
    assert provider.requests[0].body["tool_choice"] == choice
    assert provider.requests[1].body["tool_choice"]["allowed_tools"]["mode"] == "required"


def test_a_stop_text_ends_what_is_said_and_no_value(here: Sidecar) -> None:
    schema = {"type": "object", "properties": {"a": {"const": "x}y"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    for stream in (False, True):
        reply = here.chat(response_format=wanted, stop=["}", "x"], stream=stream)
        text = spoken(reply) if stream else reply.json["choices"][0]["message"]["content"]
        assert json.loads(text)["a"] == "x}y"
        body = {"model": "m", "prompt": "?", "guided_json": schema, "stop": "}", "max_tokens": 60, "stream": stream}
        reply = here.ask("POST", "/v1/completions", body)
        choices = [e["choices"][0] for e in reply.events[:-1]] if stream else reply.json["choices"]
        assert json.loads("".join(choice["text"] for choice in choices))["a"] == "x}y"
    whole = here.chat(tools=[WEATHER], max_tokens=60, stop="\u0000").json["choices"][0]["message"]
    if whole["content"]:
        stop = whole["content"][3:5]
        cut = here.chat(tools=[WEATHER], max_tokens=60, stop=stop).json["choices"][0]["message"]
        assert cut["content"] == whole["content"][: whole["content"].index(stop)]


def test_a_model_here_streams_its_words_beside_tools(here: Sidecar) -> None:
    found = set()
    for seed in range(6):
        fields: Any = {"tools": [WEATHER], "max_tokens": 60, "temperature": 1.5, "seed": seed}
        whole = here.chat(**fields).json["choices"][0]["message"]
        reply = here.chat(**fields, stream=True)
        if whole["content"] is None:
            assert called(reply) == [("weather", json.loads(c["function"]["arguments"])) for c in whole["tool_calls"]]
        else:
            assert spoken(reply) == whole["content"]
        found.add(whole["content"] is None)
    assert found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Start a sidecar whose model decodes here."""
    with serving_here(tmp_path_factory.mktemp("local")) as sidecar:
        yield sidecar


@given(st.text(), st.lists(st.integers(1, 9), min_size=1))
def test_what_is_said_is_read_out_of_the_value_in_any_pieces(content: str, sizes: list[int]) -> None:
    for is_ascii in (True, False):
        text = json.dumps({"content": content}, ensure_ascii=is_ascii)
        spoken, found, at, turn = Spoken(), "", 0, 0
        while at < len(text):
            size = sizes[turn % len(sizes)]
            found += spoken.feed(text[at : at + size])
            assert content.startswith(found)
            at, turn = at + size, turn + 1
        assert found == content
    assert Spoken().feed('[{"name": "content"') == ""


def test_a_call_is_read_as_it_is_written() -> None:
    """Numbers that no float holds stay what they are, and a key that stands twice is no object."""
    said = {"tool_calls": [{"function": {"name": "act", "arguments": '{"a": 1e-999, "b": 12345678901234567890.5}'}}]}
    assert tool_calls.value_of(said, has_schema=False) == (
        '[{"name": "act", "arguments": {"a": 1e-999, "b": 12345678901234567890.5}}]'
    )
    twice = {"content": "Well.", "tool_calls": [{"function": {"name": "act", "arguments": '{"a": 1, "a": 2}'}}]}
    assert json.loads(tool_calls.value_of(twice, has_schema=False)) == {
        "content": "Well.",
        "calls": [{"name": "act", "arguments": '{"a": 1, "a": 2}'}],
    }


@pytest.mark.parametrize("form", [None, {"type": "json_object"}])
@pytest.mark.parametrize(
    ("message", "param"),
    [({"role": "boss", "content": "Hi."}, "messages.1.role"), ({"role": "user"}, "messages.1.content")],
)
def test_a_model_here_is_asked_no_message_that_is_none(here: Sidecar, message: Any, param: str, form: Any) -> None:
    more = {} if form is None else {"response_format": form}
    refused = here.chat(messages=[{"role": "user", "content": "Hello."}, message], max_tokens=5, **more)
    assert (refused.status, refused.json["error"]["param"]) == (400, param)
