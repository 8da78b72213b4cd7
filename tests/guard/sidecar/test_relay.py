"""What goes through: byte for byte where it may, checked all the same, on record always."""

from __future__ import annotations

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

from guard.testing import servers

#: Faults of plain text: what is said is nobody's business, and what never ends is another test's.
PLAIN = servers.FAULTS.keys() - {
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


def test_only_the_body_goes_through_no_header_does(sidecar: Sidecar, provider: servers.Server) -> None:
    headers = {"Authorization": "Bearer of-the-client", "Cookie": "a=b", "X-Forwarded-For": "10.0.0.1", "X-Evil": "1"}
    assert sidecar.chat(headers=headers).status == 200
    (request,) = provider.requests
    assert request.headers.keys() == {"host", "content-type", "accept-encoding", "content-length"}


def test_the_model_is_asked_for_by_its_own_name(sidecar: Sidecar, provider: servers.Server) -> None:
    assert sidecar.chat(future={"kept": [1, None]}).status == 200
    body = provider.requests[0].body
    assert (body["model"], body["future"]) == ("served-1", {"kept": [1, None]})


def test_a_stream_goes_through_as_it_comes_without_the_usage_that_nobody_asked_for(
    sidecar: Sidecar, provider: servers.Server
) -> None:
    reply = sidecar.chat(stream=True)
    text = "".join(c["delta"].get("content", "") for e in reply.events[:-1] for c in e["choices"])
    assert (text, reply.events[-1], reply.headers["x-guard-stream"]) == ("Hello.", "[DONE]", "live")
    assert all("usage" not in event for event in reply.events[:-1])
    reply = sidecar.chat(stream=True, stream_options={"include_usage": True})
    assert reply.events[-2]["usage"] == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    assert [(outcome, text) for outcome, text in calls(sidecar)][-2:] == [("valid", "Hello.")] * 2


def test_a_provider_that_knows_no_stream_options_is_asked_without(sidecar: Sidecar, provider: servers.Server) -> None:
    def strict(request: servers.Request) -> Any:
        if "stream_options" in request.body:
            return servers.error(400, "Unrecognized request argument: stream_options")
        return "Hello."

    provider.answers = [strict]
    for _ in range(2):
        assert sidecar.chat(stream=True, model="again").events[-1] == "[DONE]"
    assert ["stream_options" in request.body for request in provider.requests] == [True, False, False]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", sorted(PLAIN))
def test_no_fault_of_a_provider_passes_for_an_answer(
    sidecar: Sidecar, provider: servers.Server, fault: str, stream: bool
) -> None:
    good = '{"a": "' + "x" * 60 + '"}'
    provider.answers = [servers.FAULTS[fault](servers.Answer(good))]
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
    sidecar: Sidecar, provider: servers.Server
) -> None:
    provider.answers = [servers.FAULTS["reset mid-body"](servers.Answer("Hello.")), "Hello."]
    assert sidecar.chat(model="again").status == 200
    assert len(provider.requests) == 2


def test_a_model_that_fails_hands_over_to_the_next_tier_and_its_breaker_opens(tmp_path: Path) -> None:
    with servers.Server(servers.error(500, "broke")) as bad, servers.Server("Hello.") as good:
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
    with servers.Server(servers.error(500, "broke"), "Hello.") as provider:
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
    with servers.Server(servers.FAULTS["time-out"](servers.Answer(""))) as provider:
        toml = model(provider.url, transport_retries=0, first_token_seconds=0.5, total_seconds=1)
        with serving(tmp_path, toml) as sidecar:
            fields: dict[str, Any] = {"response_format": {"type": "json_object"}} if schema else {}
            reply = sidecar.chat(stream=stream, **fields)
    assert (reply.status, reply.json["error"]["code"]) == (504, "timeout")


def test_what_a_provider_refuses_is_handed_on_and_not_asked_of_another(
    sidecar: Sidecar, provider: servers.Server
) -> None:
    provider.answers = [servers.error(400, "max_tokens is too large: 999999")]
    reply = sidecar.chat()
    assert reply.status == 400
    assert "max_tokens is too large" in reply.json["error"]["message"]
    assert len(provider.requests) == 1


def test_a_providers_own_401_is_not_the_clients(sidecar: Sidecar, provider: servers.Server) -> None:
    provider.answers = [servers.error(401, "Incorrect API key provided: sk-aaaabbbbccccdddd")]
    reply = sidecar.chat()
    assert reply.status == 502
    assert b"aaaabbbb" not in reply.data


def test_a_client_that_vanishes_ends_the_providers_work_and_is_on_record(
    sidecar: Sidecar, provider: servers.Server
) -> None:
    provider.answers = [servers.Answer("x" * 300, change=lambda body: [body[:-300], 30, body[-300:]])]
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
        sidecar.wait(lambda before=before: len(calls(sidecar)) == before + 1)  # type: ignore[misc]
        sidecar.wait(lambda: sidecar.log and sidecar.log[-1]["status"] == 499)
        outcome, text = calls(sidecar)[-1]
        assert outcome == "CancelledError"
        assert bool(text) == stream  # what there was
        provider.requests.clear()
    assert sidecar.ask("GET", "/guard/live").json["requests"] == []


def test_older_completions_and_embeddings_go_through(sidecar: Sidecar, provider: servers.Server) -> None:
    completion = {"id": "1", "model": "x", "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}]}
    provider.answers = [servers.Answer(raw=json.dumps(completion).encode())]
    assert sidecar.ask("POST", "/v1/completions", {"model": "m", "prompt": "Say hi"}).json == completion
    embedding = {"data": [{"index": 0, "embedding": [0.25, -1.0]}], "model": "x", "usage": {"prompt_tokens": 2}}
    provider.answers = [servers.Answer(raw=json.dumps(embedding).encode())]
    assert sidecar.ask("POST", "/v1/embeddings", {"model": "m", "input": "Hi"}).json == embedding
    assert [request.path for request in provider.requests] == ["/v1/completions", "/v1/embeddings"]
    provider.answers = [servers.Answer(raw=b'{"object": "list"}')]
    assert sidecar.ask("POST", "/v1/embeddings", {"model": "m", "input": "Hi"}).status == 502


def test_every_call_is_on_record_before_its_answer_is_out_also_after_a_kill(tmp_path: Path) -> None:
    with servers.Server("Hello.", keeps_alive=True) as provider, serving(tmp_path, model(provider.url)) as sidecar:
        for number in range(20):
            assert sidecar.chat(stream=number % 2 == 0).status == 200
        sidecar.process.kill()
        sidecar.process.wait()
        assert len(calls(sidecar)) == 20


def test_a_trace_that_can_not_be_written_fails_the_request(tmp_path: Path) -> None:
    with servers.Server("Hello.") as provider, serving(tmp_path, model(provider.url)) as sidecar:
        with sqlite3.connect(sidecar.trace) as trace:
            trace.execute("DROP TABLE attempts")
        trace.close()
        for stream in (False, True):
            reply = sidecar.chat(stream=stream)
            if stream:
                assert reply.events[-1]["error"]["code"] == "trace_unavailable"
            else:
                assert (reply.status, reply.json["error"]["code"]) == (503, "trace_unavailable")


def test_the_models_are_listed_by_the_names_that_clients_ask_for(sidecar: Sidecar) -> None:
    listed = sidecar.ask("GET", "/v1/models").json
    assert [entry["id"] for entry in listed["data"]] == ["m", "again"]
    assert sidecar.ask("GET", "/v1/models/m").json["owned_by"] == "openai"
