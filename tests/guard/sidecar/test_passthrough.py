"""What goes through: byte for byte where it may, checked all the same, on record always."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import socket
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sidecars import Sidecar, model, serving

from guard.testing import fake_server

#: Faults of plain text: what is said is nobody's business, and what never ends is another test's.
PLAIN = fake_server.FAULTS.keys() - {
    *("wrong type", "extra key", "prose around", "length stop", "refusal", "content filter", "empty answer"),
    *("time-out", "slow drip"),
}


def calls(sidecar: Sidecar) -> list[tuple[str, str]]:
    with sqlite3.connect(f"file:{sidecar.trace}?mode=ro", uri=True) as trace:
        return list(
            trace.execute("SELECT outcome, coalesce(text, '') FROM calls JOIN attempts ON call = id ORDER BY id")
        )


def test_a_body_and_its_answer_go_through_byte_for_byte(tmp_path: Path) -> None:
    answer = b'{"choices": [{"message": {"content": "Hi", "new": 1.50}, "finish_reason": "stop"}],  "x": "\\u00e9"}'
    asked = b'{"model":"served-1",  "messages":[{"role":"user","content":"caf\\u00e9"}], "future": [1.0, 1e2]}'
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen: list[bytes] = []

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                data = b""
                while not data.endswith(asked):
                    data += connection.recv(65_536)
                seen.append(data.partition(b"\r\n\r\n")[2])
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
                connection.sendall(head.encode() + answer)

        serving_one = threading.Thread(target=serve)
        serving_one.start()
        toml = model(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", "served-1")
        with serving(tmp_path, toml) as sidecar:
            reply = sidecar.ask("POST", "/v1/chat/completions", asked)
        serving_one.join()
    assert (seen, reply.data) == ([asked], answer)


def test_only_the_body_goes_through_no_header_does(sidecar: Sidecar, provider: fake_server.Server) -> None:
    headers = {"Authorization": "Bearer of-the-client", "Cookie": "a=b", "X-Forwarded-For": "10.0.0.1", "X-Evil": "1"}
    assert sidecar.chat(headers=headers).status == 200
    (request,) = provider.requests
    assert request.headers.keys() == {"host", "content-type", "accept-encoding", "content-length"}


def test_the_model_is_asked_for_by_its_own_name(sidecar: Sidecar, provider: fake_server.Server) -> None:
    assert sidecar.chat(future={"kept": [1, None]}).status == 200
    body = provider.requests[0].body
    assert (body["model"], body["future"]) == ("served-1", {"kept": [1, None]})


def test_a_stream_goes_through_as_it_comes_without_the_usage_that_nobody_asked_for(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    reply = sidecar.chat(stream=True)
    text = "".join(c["delta"].get("content", "") for e in reply.events[:-1] for c in e["choices"])
    assert (text, reply.events[-1], reply.headers["x-guard-stream"]) == ("Hello.", "[DONE]", "live")
    assert all("usage" not in event for event in reply.events[:-1])
    reply = sidecar.chat(stream=True, stream_options={"include_usage": True})
    assert reply.events[-2]["usage"] == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    assert [(outcome, text) for outcome, text in calls(sidecar)][-2:] == [("valid", "Hello.")] * 2


def test_a_provider_that_knows_no_stream_options_is_asked_without(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    def strict(request: fake_server.ClientRequest) -> Any:
        if "stream_options" in request.body:
            return fake_server.error(400, "Unrecognized request argument: stream_options")
        return "Hello."

    provider.answers = [strict]
    for _ in range(2):
        assert sidecar.chat(stream=True, model="again").events[-1] == "[DONE]"
    assert ["stream_options" in request.body for request in provider.requests] == [True, False, False]


def test_who_has_a_provider_refuse_in_such_words_ends_it_for_nobody(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    """A provider quotes what was wrong: from then on no stream of anybody's told what it used."""

    def quoting(request: fake_server.ClientRequest) -> Any:
        user = request.body.get("user")
        return fake_server.error(400, f"unknown user {user}") if user else "Hello."

    provider.answers = [quoting]
    assert sidecar.chat(stream=True, user="stream_options").status == 400
    assert sidecar.chat(stream=True).events[-1] == "[DONE]"
    assert ["stream_options" in request.body for request in provider.requests] == [True, False, True]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", sorted(PLAIN))
def test_no_fault_of_a_provider_passes_for_an_answer(
    sidecar: Sidecar, provider: fake_server.Server, fault: str, stream: bool
) -> None:
    good = '{"a": "' + "x" * 60 + '"}'
    provider.answers = [fake_server.FAULTS[fault](fake_server.Answer(good))]
    before = len(calls(sidecar))
    reply = sidecar.chat(stream=stream)
    if reply.status == 200 and stream:
        events = [event for event in reply.events if "choices" in event]
        text = "".join(choice["delta"].get("content", "") for event in events for choice in event["choices"])
        assert text == good if reply.events[-1] == "[DONE]" else "error" in reply.events[-1]
    elif reply.status == 200:
        assert reply.json["choices"][0]["message"]["content"] == good
    else:
        assert reply.status in (429, 502, 504)
        assert reply.json["error"]["message"]
    assert len(calls(sidecar)) == before + 1


def test_a_broken_connection_is_tried_again_and_the_record_counts_it(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = [fake_server.FAULTS["reset mid-body"](fake_server.Answer("Hello.")), "Hello."]
    assert sidecar.chat(model="again").status == 200
    assert len(provider.requests) == 2


def test_a_model_that_fails_hands_over_to_the_next_tier_and_its_breaker_opens(tmp_path: Path) -> None:
    with fake_server.Server(fake_server.error(500, "broke")) as bad, fake_server.Server("Hello.") as good:
        toml = model(bad.url, "m", escalate_to=["big"], transport_retries=0, breaker_failures=2, breaker_seconds=60)
        with serving(tmp_path, toml + model(good.url, "big")) as sidecar:
            for stream in (False, True, False, True):
                reply = sidecar.chat(stream=stream)
                assert reply.status == 200
                if not stream:
                    assert (reply.headers["x-guard-tier"], reply.headers["x-guard-attempts"]) == ("1", "2")
            assert len(bad.requests) == 2  # after that it is left alone
            assert sidecar.ask("GET", "/health/ready").json["breakers"] == {"m": "open", "big": "closed"}


def test_a_breaker_lets_one_request_try_and_closes_when_that_went_well(tmp_path: Path) -> None:
    with fake_server.Server(fake_server.error(500, "broke"), "Hello.") as provider:
        toml = model(provider.url, transport_retries=0, breaker_failures=1, breaker_seconds=0.3)
        with serving(tmp_path, toml) as sidecar:
            assert sidecar.chat().status == 502
            refused = sidecar.chat()
            assert (refused.status, len(provider.requests)) == (502, 1)
            time.sleep(0.35)
            assert sidecar.chat().status == 200
            assert sidecar.ask("GET", "/health/ready").json["breakers"] == {"m": "closed"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("schema", [False, True])
def test_a_provider_that_gives_nothing_is_given_up(tmp_path: Path, stream: bool, schema: bool) -> None:
    with fake_server.Server(fake_server.FAULTS["time-out"](fake_server.Answer(""))) as provider:
        toml = model(provider.url, transport_retries=0, first_token_seconds=0.5, total_seconds=1)
        with serving(tmp_path, toml) as sidecar:
            fields: dict[str, Any] = {"response_format": {"type": "json_object"}} if schema else {}
            reply = sidecar.chat(stream=stream, **fields)
    assert (reply.status, reply.json["error"]["code"]) == (504, "timeout")


def test_what_a_provider_refuses_is_handed_on_and_not_asked_of_another(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = [fake_server.error(400, "max_tokens is too large: 999999")]
    reply = sidecar.chat()
    assert reply.status == 400
    assert "max_tokens is too large" in reply.json["error"]["message"]
    assert len(provider.requests) == 1


def test_a_providers_own_401_is_not_the_clients(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [fake_server.error(401, "Incorrect API key provided: sk-aaaabbbbccccdddd")]
    reply = sidecar.chat()
    assert reply.status == 502
    assert b"aaaabbbb" not in reply.data


def test_a_client_that_vanishes_ends_the_providers_work_and_is_on_record(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = [fake_server.Answer("x" * 300, change=lambda body: [body[:-300], 30, body[-300:]])]
    provider.left.clear()
    for stream in (False, True):
        before = len(calls(sidecar))
        connection = http.client.HTTPConnection(sidecar.host, sidecar.port, timeout=10)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": stream})
        connection.request("POST", "/v1/chat/completions", body)
        if stream:
            connection.getresponse().read1()
        else:
            sidecar.wait(lambda: provider.requests)
        connection.close()
        assert provider.left.wait(10)
        provider.left.clear()
        sidecar.wait(lambda before=before: len(calls(sidecar)) == before + 1)
        sidecar.wait(lambda: sidecar.log and sidecar.log[-1]["status"] == 499)
        outcome, text = calls(sidecar)[-1]
        assert outcome == "CancelledError"
        assert bool(text) == stream  # what there was
        provider.requests.clear()
    assert sidecar.ask("GET", "/guard/live").json["requests"] == []


def test_older_completions_and_embeddings_go_through(sidecar: Sidecar, provider: fake_server.Server) -> None:
    completion = {"id": "1", "model": "x", "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}]}
    provider.answers = [fake_server.Answer(raw=json.dumps(completion).encode())]
    assert sidecar.ask("POST", "/v1/completions", {"model": "m", "prompt": "Say hi"}).json == completion
    embedding = {"data": [{"index": 0, "embedding": [0.25, -1.0]}], "model": "x", "usage": {"prompt_tokens": 2}}
    provider.answers = [fake_server.Answer(raw=json.dumps(embedding).encode())]
    assert sidecar.ask("POST", "/v1/embeddings", {"model": "m", "input": "Hi"}).json == embedding
    assert [request.path for request in provider.requests] == ["/v1/completions", "/v1/embeddings"]
    provider.answers = [fake_server.Answer(raw=b'{"object": "list"}')]
    assert sidecar.ask("POST", "/v1/embeddings", {"model": "m", "input": "Hi"}).status == 502


def test_every_call_is_on_record_before_its_answer_is_out_also_after_a_kill(tmp_path: Path) -> None:
    with fake_server.Server("Hello.", keeps_alive=True) as provider, serving(tmp_path, model(provider.url)) as sidecar:
        for number in range(20):
            assert sidecar.chat(stream=number % 2 == 0).status == 200
        sidecar.process.kill()
        sidecar.process.wait()
        assert len(calls(sidecar)) == 20


def test_a_trace_that_can_not_be_written_fails_the_request(tmp_path: Path) -> None:
    with fake_server.Server("Hello.") as provider, serving(tmp_path, model(provider.url)) as sidecar:
        with sqlite3.connect(sidecar.trace) as trace:
            trace.execute("DROP TABLE attempts")
        trace.close()
        for stream in (False, True):
            reply = sidecar.chat(stream=stream)
            if stream:
                assert reply.events[-1]["error"]["code"] == "trace_unavailable"
            else:
                assert (reply.status, reply.json["error"]["code"]) == (503, "trace_unavailable")


@pytest.mark.parametrize("store", [True, False])
def test_a_streamed_response_is_completed_once_it_is_on_record(tmp_path: Path, store: bool) -> None:
    """With `store: false`, `response.completed` was out before the record failed: a call that nobody has."""
    with fake_server.Server("Hello.") as provider, serving(tmp_path, model(provider.url)) as sidecar:
        body = {"model": "m", "input": "x", "stream": True, "store": store}
        kinds = [said["type"] for said in sidecar.ask("POST", "/v1/responses", body).events]
        assert kinds[-1] == "response.completed"
        with sqlite3.connect(sidecar.trace) as trace:
            trace.execute("DROP TABLE attempts")
        trace.close()
        events = sidecar.ask("POST", "/v1/responses", body).events
        assert [said["type"] for said in events] == [*kinds[:-1], "error"]
        error = events[-1]["error"]
        assert error["code"] == "trace_unavailable"
        named = {name: error[name] for name in ("code", "message", "param")}  # the protocol's own form of the event
        assert events[-1] == {"type": "error", "sequence_number": len(events) - 1, **named, "error": error}


def test_the_models_are_listed_by_the_names_that_clients_ask_for(sidecar: Sidecar) -> None:
    listed = sidecar.ask("GET", "/v1/models").json
    assert [entry["id"] for entry in listed["data"]] == ["m", "again"]
    assert sidecar.ask("GET", "/v1/models/m").json["owned_by"] == "openai"


# -- Answers that end, or say, something else than an answer -----------------------------------------------------------


def spent(sidecar: Sidecar) -> list[tuple[str, str | None, int, int, int]]:
    """Return of each call its outcome, how the answer ended, its tokens, and whether these are an estimate."""
    with sqlite3.connect(f"file:{sidecar.trace}?mode=ro", uri=True) as trace:
        query = (
            "SELECT outcome, finish, prompt_tokens, completion_tokens, is_estimate FROM calls"
            " JOIN attempts ON call = id ORDER BY id"
        )
        return list(trace.execute(query))


def event(data: Any, name: str = "") -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


DELTA = {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
DONE = event(b"[DONE]")
NO_ANSWERS = {
    "only [DONE]": DONE,
    "nothing": b"",
    "a comment and [DONE]": b": alive\n\n" + DONE,
    "usage and [DONE]": event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}) + DONE,
    "no end": event(DELTA),
    "one of two choices ends": event(DELTA) + event({"choices": [{"index": 1, "delta": {}}]}) + event(FINISH),
    "an error": event({"error": {"message": "it broke"}}) + DONE,
    "an event of the type error": event({"message": "it broke"}, "error") + DONE,
    "an event of the type error that is no JSON": event(b"it broke", "error") + DONE,
    "an error after a piece": event(DELTA) + event({"type": "error", "message": "it broke"}, "error") + DONE,
    "an error as the end": event({"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}) + DONE,
    "an end that is no text": event({"choices": [{"index": 0, "delta": {}, "finish_reason": 5}]}) + DONE,
}
FAILED = {"status": "failed", "error": {"message": "broke"}}
RESPONSES = {
    "response.failed": event({"type": "response.failed", "response": FAILED}),
    "response.failed without words": event({"type": "response.failed", "response": {**FAILED, "error": None}}),
    "response.cancelled": event({"type": "response.cancelled", "response": {"status": "cancelled"}}),
    "an error": event({"type": "error", "code": "server_error", "message": "broke"}, "error"),
    "an error without its type's name": event({"type": "error", "code": "server_error", "message": "broke"}),
    "no end": event({"type": "response.output_text.delta", "delta": "Hi"}),
    "only [DONE]": DONE,
}


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_a_stream_that_is_no_whole_answer_is_not_taken_for_one(
    sidecar: Sidecar, provider: fake_server.Server, what: str
) -> None:
    provider.answers = [fake_server.Answer(raw=NO_ANSWERS[what])]
    for fields in ({}, {"stream_options": {"include_usage": True}}):
        reply = sidecar.chat(stream=True, **fields)
        if reply.status == 200:
            assert "error" in reply.events[-1]
        else:
            assert (reply.status, reply.json["error"]["code"]) in ((502, "bad_reply"), (502, "unavailable"))
        assert calls(sidecar)[-1][0] in ("BadReply", "Unavailable")


@pytest.mark.parametrize("what", RESPONSES)
def test_a_streamed_response_that_failed_is_not_taken_for_one(
    sidecar: Sidecar, provider: fake_server.Server, what: str
) -> None:
    provider.answers = [fake_server.Answer(raw=RESPONSES[what])]
    reply = sidecar.ask("POST", "/v1/responses", {"model": "m", "input": "x", "stream": True})
    assert "error" in reply.events[-1] if reply.status == 200 else reply.status == 502
    assert calls(sidecar)[-1][0] in ("BadReply", "Unavailable")


def test_a_response_that_is_not_whole_is_handed_on_and_recorded_as_cut(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    for reason, finish in (("max_output_tokens", "length"), ("content_filter", "content_filter")):
        whole = {"object": "response", "status": "incomplete", "incomplete_details": {"reason": reason}, "output": []}
        provider.answers = [fake_server.Answer(raw=event({"type": "response.incomplete", "response": whole}))]
        reply = sidecar.ask("POST", "/v1/responses", {"model": "m", "input": "x", "stream": True})
        assert (reply.status, reply.events[-1]["type"]) == (200, "response.incomplete")
        assert spent(sidecar)[-1][:2] == ("valid", finish)
        provider.answers = [fake_server.Answer(raw=json.dumps(whole).encode())]
        assert sidecar.ask("POST", "/v1/responses", {"model": "m", "input": "x"}).json == whole
        assert spent(sidecar)[-1][:2] == ("valid", finish)
    for status in ("failed", "cancelled", "in_progress", "queued"):
        provider.answers = [fake_server.Answer(raw=json.dumps({**whole, "status": status}).encode())]
        assert sidecar.ask("POST", "/v1/responses", {"model": "m", "input": "x"}).status == 502
        assert calls(sidecar)[-1][0] in ("BadReply", "Unavailable")


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        {"object": "chat.completion.chunk", "choices": []},
        {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "error"}]},
        {"choices": [None]},
        {"choices": {}},
        {},
    ],
    ids=json.dumps,
)
def test_an_answer_without_a_choice_is_none(sidecar: Sidecar, provider: fake_server.Server, body: Any) -> None:
    provider.answers = [fake_server.Answer(raw=json.dumps(body).encode())]
    schema = {"response_format": {"type": "json_object"}}
    tools = {"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {}}}]}
    for fields in ({}, schema, tools):
        reply = sidecar.chat(**fields)
        assert (reply.status, reply.json["error"]["code"]) == (502, "bad_reply")
        assert calls(sidecar)[-1][0] == "BadReply"
    if body.get("choices") == []:
        assert sidecar.ask("POST", "/v1/completions", {"model": "m", "prompt": "x"}).status == 502
        assert calls(sidecar)[-1][0] == "BadReply"


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 7])
def test_a_stream_is_the_same_however_it_is_cut_and_its_lines_end(
    sidecar: Sidecar, provider: fake_server.Server, ends: str, size: int
) -> None:
    def cut(body: bytes) -> list[Any]:
        body = body.replace(b"\n", ends.encode())
        return [part for at in range(0, len(body), size) for part in (body[at : at + size], 0.0001)]

    provider.answers = [fake_server.Answer("Hello, all!", change=cut)]
    for fields in ({}, {"response_format": {"type": "json_object"}}):
        if fields:
            provider.answers = [fake_server.Answer('{"a": "é"}', change=cut)]
        reply = sidecar.chat(stream=True, headers={"x-guard-stream": "live"}, **fields)
        text = "".join(choice["delta"].get("content") or "" for e in reply.events[:-1] for choice in e["choices"])
        assert (text, reply.events[-1]) == ('{"a": "é"}' if fields else "Hello, all!", "[DONE]")


@pytest.mark.parametrize("used", [2**31, 2**63, 2**64, 10**30, -1, 1.5, "7", True])
def test_counts_that_can_not_be_are_recorded_as_estimates(
    sidecar: Sidecar, provider: fake_server.Server, used: Any
) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    for fields in ({}, {"response_format": {"type": "json_object"}}, {"response_format": schema}):
        for stream in (False, True):
            provider.answers = [fake_server.Answer('{"a": 1}', usage=(used, used))]
            assert sidecar.chat(stream=stream, **fields).status == 200
            outcome, _, prompt, completion, is_estimate = spent(sidecar)[-1]
            assert (outcome, is_estimate) == ("valid", 1)
            assert 0 < prompt < 1000
            assert 0 < completion < 1000
    provider.answers = [fake_server.Answer('{"a": 1}', usage=(10**8, 3))]
    assert sidecar.chat().json["usage"]["prompt_tokens"] == 10**8
    assert spent(sidecar)[-1] == ("valid", "stop", 10**8, 3, 0)


@pytest.mark.parametrize("text", ['{"a": "\ud800"}', '{"a": "\\ud800"}', '{"\\uDC00": 1}', "\udfff"], ids=ascii)
def test_half_of_a_surrogate_pair_is_no_answer_and_nothing_breaks_of_it(
    sidecar: Sidecar, provider: fake_server.Server, text: str
) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    tools = [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}]
    wanted: list[dict[str, Any]] = [{"response_format": {"type": "json_object"}}, {"response_format": schema}]
    for fields in [*wanted, {"tools": tools, "tool_choice": "required"}, {}]:
        for stream in (False, True):
            provider.answers = [fake_server.Answer(text)]
            reply = sidecar.chat(stream=stream, **fields)
            if not fields and text.isascii():
                assert reply.status == 200  # plain text of which nobody says that it is JSON
                continue
            assert (reply.status in (422, 502)) or "error" in reply.events[-1]
            assert calls(sidecar)[-1][0] in ("ValidationFailed", "BadReply")
    provider.answers = [fake_server.Answer('{"a": 1}', model="\ud800")]
    for fields in [*wanted, {}]:
        assert sidecar.chat(**fields).status == 502
    provider.answers = [fake_server.error(400, "no \ud800 here")]
    assert sidecar.chat().status in (400, 502)
    assert sidecar.chat(response_format=schema).status in (400, 502)
    assert sidecar.ask("GET", "/guard/traces").status == 200
    assert sidecar.ask("GET", "/metrics").status == 200
    assert not any("Traceback" in line for line in sidecar.errors)


# -- One answer to one request -----------------------------------------------------------------------------------------


def crossed() -> bytes:
    message = {"role": "assistant", "content": '{"a": "of another"}'}
    body = json.dumps({"model": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body


LEFT_OVER: dict[str, tuple[Any, ...]] = {
    "another answer": (crossed(),),
    "another answer in a segment of its own": (0.05, crossed()),
    "half of another answer in a segment of its own": (0.05, crossed()[:-5]),
    "what is no HTTP": (b"more",),
    "what is no HTTP in a segment of its own": (0.05, b"more"),
}


@pytest.mark.parametrize("what", LEFT_OVER)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["text", "json", "schema", "tools"])
def test_what_is_left_over_on_a_connection_is_no_answer_to_the_next_client(
    sidecar: Sidecar, provider: fake_server.Server, what: str, stream: bool, kind: str
) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    fields: dict[str, Any] = {
        "text": {},
        "json": {"response_format": {"type": "json_object"}},
        "schema": {"response_format": schema},
        "tools": {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}]},
    }[kind]
    mine = '{"a": "mine"}'
    good = fake_server.Answer(mine, piece=100)
    provider.answers = [dataclasses.replace(good, beyond=LEFT_OVER[what]), good]
    sidecar.chat(stream=stream, **fields)
    time.sleep(0.15)
    before = provider.connections
    for _ in range(2):
        reply = sidecar.chat(stream=stream, **fields)
        assert reply.status == 200
        assert b"of another" not in reply.data
        assert b"mine" in reply.data
    assert provider.connections == before + 1  # none of the two waited at the door of the other


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_by_any_way(sidecar: Sidecar, provider: fake_server.Server, status: int) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    with fake_server.Server("Hello.") as elsewhere:
        location = {"Location": elsewhere.url + "/chat/completions"}
        provider.answers = [fake_server.Answer(raw=b"{}", status=status, headers=location)]
        for fields in ({}, {"response_format": {"type": "json_object"}}, {"response_format": schema}):
            for stream in (False, True):
                reply = sidecar.chat(stream=stream, **fields)
                assert (reply.status, reply.json["error"]["code"]) == (502, "bad_reply")
        assert elsewhere.requests == []
    assert len(provider.requests) == 6


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" + crossed(),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=range(8),
)
def test_what_is_no_answer_of_http_is_502_by_any_way(tmp_path: Path, head: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            while connection.recv(65_536):
                connection.sendall(head)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        toml = model(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", transport_retries=0, breaker_failures=1000)
        with serving(tmp_path, toml) as sidecar:
            for fields in ({}, {"response_format": {"type": "json_object"}}, {"response_format": schema}):
                for stream in (False, True):
                    reply = sidecar.chat(stream=stream, **fields)
                    assert reply.status == 502
                    assert b"of another" not in reply.data
