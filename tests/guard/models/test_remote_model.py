"""Models behind providers' APIs, against providers on this machine that fail in every way."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import clock
import pytest
from asked_four_ways import CLOSED, GOOD, OPEN, OPTIONAL, TEXT, Way, claude, every_way, model, request, streaming

from guard import models
from guard.errors import (
    BadReply,
    BudgetExceeded,
    CallError,
    ContentFiltered,
    ModelError,
    RateLimited,
    Truncated,
    Unavailable,
)
from guard.models.base import Model
from guard.models.event_loop import EVENT_LOOP
from guard.models.remote.anthropic import AnthropicModel
from guard.models.remote.openai import OpenAIModel
from guard.models.remote.remote_model import MODES
from guard.output import provider_schema
from guard.testing import fake_server
from guard.testing.fake_server import Answer, Server

pytestmark = pytest.mark.usefixtures("every_generator_is_closed", "no_leftovers")


# ---- Connections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [model, lambda server: AnthropicModel("m", base_url=server.url, api_key="none")])
@every_way
def test_a_connection_serves_one_answer_after_another(make: Callable[[Server], Any], ask: Way) -> None:
    with Server(GOOD, keeps_alive=True) as server:
        asked = make(server)
        assert [ask(asked, request(OPEN)).text for _ in range(3)] == [TEXT] * 3
        assert server.connections == 1


def test_nothing_is_waited_for_after_an_answer_s_end() -> None:
    """Some servers leave a stream open when all was said."""
    with Server(Answer(TEXT, change=lambda body: [body, fake_server.HANG])) as server:
        with clock.waiting() as wait:
            assert streaming(model(server), request()).text == TEXT
            assert server.left.wait(30)
        assert wait.seconds < 2


# ---- What is asked ---------------------------------------------------------------------------------------------------


@every_way
def test_the_strongest_mode_that_carries_the_schema_is_taken(ask: Way) -> None:
    recursive = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}}}
    with Server(Answer('{"total": 4}')) as server:
        for schema, mode in ((OPEN, "tool"), (CLOSED, "native"), (None, "prompt")):
            assert ask(model(server), request(schema)).mode == mode
        native = server.requests[1].body["response_format"]["json_schema"]
        assert native == {"name": "value", "strict": True, "schema": CLOSED}
        tool = server.requests[0].body
        assert tool["tools"][0]["function"]["parameters"] == OPEN
        assert tool["tool_choice"]["function"]["name"] == tool["tools"][0]["function"]["name"] == "value"
        assert not {"tools", "response_format"} & server.requests[2].body.keys()
    with Server(Answer(json.dumps({"value": {"n": {}}}))) as server:
        reply = ask(model(server), request(recursive))
        assert (json.loads(reply.text), reply.mode) == ({"n": {}}, "tool")


@every_way
@pytest.mark.parametrize("mode", MODES)
def test_a_mode_can_be_chosen(mode: str, ask: Way) -> None:
    with Server(GOOD) as server:
        reply = ask(model(server, mode=mode), request())
        assert (reply.text, reply.mode) == (TEXT, mode)
        body = server.requests[0].body
        system = body["messages"][0]["content"]
        assert system.startswith("Be exact.")
        assert (json.dumps(CLOSED) in system) == (mode == "prompt")
        assert body["messages"][1:] == [{"role": "user", "content": "What is 2 + 2?"}]


def test_a_chosen_mode_is_not_given_up() -> None:
    with Server(fake_server.error(400, "Invalid schema for response_format"), GOOD) as server:
        with pytest.raises(ModelError, match="Invalid schema"):
            model(server, mode="native").generate(request())
        with pytest.raises(ModelError, match=r"mode='native' can't carry the schema .* open to properties"):
            model(server, mode="native").generate(request(OPEN))
        with pytest.raises(ModelError, match="must be one of"):
            model(server, mode="grammar")


@every_way
def test_a_refused_schema_goes_the_next_weaker_way_and_is_remembered(ask: Way) -> None:
    refused = fake_server.error(400, "Invalid schema for response_format 'value': too complex", param="response_format")
    with Server(refused, GOOD) as server:
        asked = model(server)
        compiled = request()
        assert ask(asked, compiled).mode == "tool"
        assert ask(asked, compiled).mode == "tool"
        assert ask(asked, request({**CLOSED, "title": "Other"})).mode == "native"
        assert ["response_format" in r.body for r in server.requests] == [True, False, False, True]
        assert "retries" not in server.requests[0].body


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("Unsupported value: 'temperature' does not support 0 with this model.", "temperature"),
        ("seed: Extra inputs are not permitted", "seed"),
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"),
        ("Unknown parameter: parallel_tool_calls", "parallel_tool_calls"),
    ],
)
def test_a_refused_parameter_is_given_up_and_remembered(words: str, field: str) -> None:
    with Server(fake_server.error(400, words), GOOD) as server:
        asked = model(server)
        asked.generate(request(OPEN))
        asked.generate(request(OPEN))
        assert [field in r.body for r in server.requests] == [True, False, False]
        if field == "max_tokens":
            assert server.requests[1].body["max_completion_tokens"] == 512


def test_refused_stream_options_are_given_up() -> None:
    with Server(fake_server.error(400, "stream_options is not supported"), GOOD) as server:
        reply = streaming(model(server), request())
        assert ["stream_options" in r.body for r in server.requests] == [True, False]
        assert reply.completion_tokens == -(-len(TEXT) // 4)  # an estimate: this server does not tell


def test_budgets_go_with_the_request() -> None:
    with Server(GOOD) as server:
        asked = model(server)
        asked.generate(request(max_tokens=50, thinking=200, temperature=0.5, seed=2**40 + 3))
        body = server.requests[-1].body
        assert (body["max_tokens"], body["temperature"], body["seed"]) == (250, 0.5, 3)
        asked.generate(request(total_tokens=100))
        assert 0 < server.requests[-1].body["max_tokens"] < 100
        with pytest.raises(BudgetExceeded, match="of the 5 that are left"):
            asked.generate(request(total_tokens=5))
        assert len(server.requests) == 2


def test_messages_and_extras_are_sent_as_they_are() -> None:
    with Server(GOOD) as server:
        asked = request()
        before = json.dumps(asked.messages)
        model(server, extra={"top_k": 3, "seed": 5}, mode="prompt").generate(asked)
        assert json.dumps(asked.messages) == before
        assert (server.requests[0].body["top_k"], server.requests[0].body["seed"]) == (3, 5)
        assert server.requests[0].headers["authorization"] == "Bearer sk-local-0123456789"


def test_a_name_is_loaded_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(GOOD) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)  # servers of one's own want none
        loaded = models.load("openai:from-the-environment")
        assert isinstance(loaded, Model)
        assert loaded.name == "openai:from-the-environment"
        assert loaded.generate(request()).text == TEXT
        assert server.requests[0].body["model"] == "from-the-environment"
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(ModelError, match="set OPENAI_API_KEY"):
        OpenAIModel("m")


# ---- What is answered ------------------------------------------------------------------------------------------------


@every_way
def test_nulls_for_absent_properties_do_not_reach_the_caller(ask: Way) -> None:
    with Server(Answer('{"reason": "a \\u00e9 b", "total": null}')) as server:
        reply = ask(model(server), request(OPTIONAL))
        assert reply.text == '{"reason": "a é b"}'
        sent = server.requests[0].body["response_format"]["json_schema"]["schema"]
        assert sent["required"] == ["reason", "total"]
    with Server(Answer('{"value": 1.50}')) as server:
        assert ask(model(server), request({"type": "number"})).text == "1.50"


def test_a_wrapped_value_streams_as_it_comes() -> None:
    rows = {"type": "array", "items": {"type": "integer"}}
    with Server(Answer('{"value": [10, 20, 30]}')) as server:
        *pieces, reply = model(server).stream(request(rows))
        assert ("".join(pieces), reply.text) == ("[10, 20, 30]",) * 2
        assert len(pieces) > 3


@every_way
@pytest.mark.parametrize(
    ("text", "value", "finish"),
    [('{"value": 12', "12", "length"), ('{"value": 12}', "12", "stop"), ('{"value": 1} 2}', "1} 2", "stop")],
)
def test_a_value_whose_wrapper_has_no_end_is_not_whole(ask: Way, text: str, value: str, finish: str) -> None:
    """The 12 of a 123 passed for the whole answer. What is no JSON is told as such, not as cut."""
    with Server(Answer(text)) as server:
        reply = ask(model(server), request({"type": "integer"}))
        assert (reply.text, reply.finish) == (value, finish)


THOUGHTS = [
    (Answer(TEXT, thinking="Let me {see}."), "Let me {see}."),
    (Answer(f"<think>\nLet me {{see}}.\n</think>\n\n{TEXT}"), "Let me {see}."),
    (Answer(f"\n<think></think>{TEXT}"), ""),
    (Answer(f"Let me {{see}}.</think>{TEXT}"), "Let me {see}."),
]


@every_way
@pytest.mark.parametrize(("answer", "thought"), THOUGHTS)
def test_thoughts_never_reach_the_value(answer: Answer, thought: str, ask: Way) -> None:
    pieces = (1, 2, 3, 7, 100) if "streaming" in ask.__name__ else (1,)
    with Server(*(replace(answer, piece=piece) for piece in pieces)) as server:
        for _ in pieces:
            reply = ask(model(server), request(thinking=100))
            assert (reply.text, reply.thinking) == (TEXT, thought)
            assert reply.thinking_tokens == min(7, -(-len(thought) // 4))


@every_way
def test_thoughts_that_never_end_are_no_answer(ask: Way) -> None:
    with Server(Answer("<think>Let me see", finish="length")) as server:
        reply = ask(model(server), request())
        assert (reply.text, reply.finish, reply.thinking) == ("", "length", "Let me see")


@every_way
@pytest.mark.parametrize(
    "text", ['"</think>"', '{"a": "<think>"}', '"<think>x</think>"', "true", "12", "tru", "", " 1 "]
)
def test_values_that_look_like_thoughts_are_values(text: str, ask: Way) -> None:
    with Server(Answer(text, piece=1)) as server:
        assert ask(model(server, mode="prompt"), request({})).text == text


@pytest.mark.parametrize(
    ("status", "words", "error"),
    [
        (401, "Incorrect API key provided: sk-local-0123456789", ModelError),
        (403, "no", ModelError),
        (404, "The model `m` does not exist", ModelError),
        (400, "This model's maximum context length is 8192 tokens", Truncated),
        (400, "The response was filtered due to the prompt triggering content management policy", ContentFiltered),
        (400, "the user field is wrong", ModelError),
    ],
)
def test_terminal_errors_say_why_and_tell_no_secret(status: int, words: str, error: type[CallError]) -> None:
    with Server(fake_server.error(status, words)) as server:
        with pytest.raises(CallError) as caught:
            model(server).generate(request(None))
        assert type(caught.value) is error
        assert "sk-local" not in str(caught.value)
        assert words.split("sk-")[0] in str(caught.value)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "null",
        '{"choices": []}',
        '{"choices": [{"message": {"content": "x"}}]}',
        '{"choices": [{"finish_reason": "stop"}]}',
        '{"choices": [{"message": {"content": 3}, "finish_reason": "stop"}]}',
        '{"choices": [{"message": {"content": "x"}, "finish_reason": "because"}]}',
        '{"choices": [{"message": {"tool_calls": 3}, "finish_reason": "stop"}]}',
        '{"choices": [{"message": {"content": NaN}, "finish_reason": "stop"}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_answer_by_the_protocol_is_a_bad_reply(body: str) -> None:
    with Server(Answer(raw=body.encode())) as server, pytest.raises(BadReply):
        model(server).generate(request())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "overloaded", "type": "server_error"}, Unavailable),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, RateLimited),
        ({"message": "no", "code": "content_filter"}, ContentFiltered),
        ("it broke, sk-local-0123456789", Unavailable),
    ],
)
def test_an_error_inside_an_answer_is_one(error: Any, expected: type[CallError]) -> None:
    raw = json.dumps({"error": error})
    with Server(Answer(raw=raw.encode())) as server, pytest.raises(expected) as caught:
        model(server, retries=0).generate(request())
    assert "sk-local" not in str(caught.value)
    with Server(Answer(raw=f"data: {raw}\n\n".encode())) as server, pytest.raises(expected):
        list(model(server, retries=0).stream(request()))


def test_a_stream_that_stops_short_is_never_a_success() -> None:
    chunk = json.dumps({"choices": [{"index": 0, "delta": {"content": "12"}, "finish_reason": None}]})
    with Server(Answer(raw=f"data: {chunk}\n\n".encode())) as server, pytest.raises(Unavailable, match="broke off"):
        list(model(server, retries=0).stream(request({"type": "integer"})))


def events(*choices: dict[str, Any]) -> Answer:
    """Return a stream of these choices."""
    said = [json.dumps({"choices": [{"index": 0, "delta": {}, **choice}]}) for choice in choices]
    return Answer(raw=b"".join(f"data: {one}\n\n".encode() for one in (*said, "[DONE]")))


def test_a_later_reason_does_not_make_a_cut_answer_whole() -> None:
    """The last reason was taken, so that an answer which "length" had cut passed for a whole one."""
    with Server(events({"delta": {"content": TEXT}}, {"finish_reason": "length"}, {"finish_reason": "stop"})) as server:
        assert streaming(model(server), request()).finish == "length"
    with Server(events({"delta": {"content": TEXT}, "finish_reason": "stop"}, {"finish_reason": "length"})) as server:
        assert streaming(model(server), request()).finish == "length"


def test_a_stream_without_a_reason_of_its_end_is_a_bad_reply() -> None:
    """It was taken for a whole answer, as the same answer that comes whole never is."""
    with Server(events({"delta": {"content": TEXT}})) as server, pytest.raises(BadReply, match="no finish_reason"):
        streaming(model(server), request())


@pytest.mark.parametrize("index", [[1], {}, 1.5])
def test_an_index_of_a_call_that_is_none_is_a_bad_reply(index: Any) -> None:
    """A list was a bare TypeError."""
    call = {"index": index, "function": {"arguments": '{"total": 4}'}}
    answer = events({"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"})
    with Server(answer) as server, pytest.raises(BadReply, match="a call's index"):
        streaming(model(server), request(OPEN))


def test_a_call_whose_index_is_null_goes_on_by_its_place() -> None:
    """Its pieces were taken for two calls, where only the first had null."""
    first, then = (
        {"index": index, "function": {"arguments": part}} for index, part in ((None, '{"total"'), (0, ": 4}"))
    )
    last = {"delta": {"tool_calls": [then]}, "finish_reason": "tool_calls"}
    with Server(events({"delta": {"tool_calls": [first]}}, last)) as server:
        assert streaming(model(server), request(OPEN)).text == '{"total": 4}'


def test_two_calls_of_the_one_tool_are_no_value() -> None:
    call = {"function": {"name": "value", "arguments": '{"total": 4}'}}
    choice = {"message": {"tool_calls": [call, call]}, "finish_reason": "tool_calls"}
    with Server(Answer(raw=json.dumps({"choices": [choice]}).encode())) as server:
        assert model(server).generate(request(OPEN)).text == '{"total": 4}\n{"total": 4}'


def test_a_model_that_answers_beside_the_tool_has_answered() -> None:
    choice = {"message": {"content": '{"total": 4}'}, "finish_reason": "stop"}
    with Server(Answer(raw=json.dumps({"choices": [choice]}).encode())) as server:
        assert model(server).generate(request(OPEN)).text == '{"total": 4}'


def test_prices_are_known_by_provider_and_model() -> None:
    with Server(Answer(TEXT, model="gpt-5-mini-2025-08-07", usage=(1000, 10))) as server:
        assert model(server).generate(request()).cost is None  # this address is no provider's
        assert model(server, provider="openai").generate(request()).cost == pytest.approx(0.00027)


@every_way
def test_an_answer_under_another_name_costs_what_the_name_that_was_asked_does(ask: Way) -> None:
    """A name of the server's own has no price: the answer cost None, which a budget of money took for nothing."""
    with Server(Answer(TEXT, model="my-deployment", usage=(1000, 10))) as server:
        asked = OpenAIModel("gpt-5-mini", base_url=server.url, api_key="k", provider="openai")
        reply = ask(asked, request())
        assert (reply.model, reply.cost, reply.is_estimate) == ("my-deployment", pytest.approx(0.00027), True)
        unknown = ask(model(server, provider="openai"), request())
        assert (unknown.cost, unknown.is_estimate) == (None, False)


# ---- Hostile servers, interrupts, forks ------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 2, 5, 64])
@pytest.mark.parametrize("asked", [model, lambda server: claude(server)])
def test_events_mean_the_same_however_their_bytes_come(piece: int, asked: Callable[[Server], Any]) -> None:
    def cut(body: bytes) -> list[Any]:
        body = b": a comment\n\n" + body.replace(b"data: ", b"data:").replace(b"\n", b"\r\n")
        return [part for at in range(0, len(body), piece) for part in (body[at : at + piece], 0.0001)]

    text = '{"reason": "é 😀 \\u00e9", "total": 4}'
    with Server(Answer(text, change=cut)) as server:
        assert streaming(asked(server), request()).text == text


@functools.cache
def packed() -> bytes:
    return gzip.compress(b" " * 200_000_000)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_small_body_that_unpacks_to_a_huge_one_costs_little(status: int) -> None:
    with Server(Answer(status=status, raw=packed(), headers={"Content-Encoding": "gzip"})) as server:
        with clock.waiting() as wait, pytest.raises(ModelError):
            model(server, retries=0).generate(request())
        assert wait.seconds < 1


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe", b"[" * 100_000, b'{"error": [1]}', b'{"error": {"message": 3}}', b"null"]
)
@pytest.mark.parametrize("status", [400, 404, 429, 500, 599])
def test_an_error_s_body_may_be_anything(status: int, raw: bytes) -> None:
    expected = {429: RateLimited, 500: Unavailable, 599: Unavailable}.get(status, ModelError)
    with Server(Answer(status=status, raw=raw)) as server, pytest.raises(CallError) as caught:
        model(server, retries=0).generate(request(None))
    assert type(caught.value) is expected
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("url", ["http://", "nonsense", "ftp://x/", "http://user:secret-password@127.0.0.1:9/v1"])
def test_an_address_that_can_t_be_asked_is_said_without_its_password(url: str) -> None:
    with pytest.raises(ModelError) as caught:
        model(url, retries=0).generate(request())
    assert "secret-password" not in str(caught.value)


PROGRAM = """
import os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
from guard.testing.fake_server import FAULTS, Answer, Server
from guard.models.base import Request
from guard.models.remote.openai import OpenAIModel

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that puts the tests into the background ignores it

request = Request(({"role": "user", "content": "?"},), None, seconds=20)
with Server(Answer("first"), Answer("child"), Answer("parent"), keeps_alive=True) as server:
    model = OpenAIModel("m", base_url=server.url)
    print(model.generate(request).text, flush=True)
    if (child := os.fork()) == 0:
        print(model.generate(request).text, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print(model.generate(request).text, flush=True)
    assert server.connections == 2  # one of the parent's and one of the child's
for ask in (lambda m: m.generate(request), lambda m: list(m.stream(request))):
    with Server(FAULTS["time-out"](Answer("never"))) as server:
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            ask(OpenAIModel("m", base_url=server.url))
        except KeyboardInterrupt:
            print("interrupted", server.left.wait(5), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forks_and_interrupts() -> None:
    """A child asks over connections of its own; an interrupt ends the request, not only the wait for it."""
    tests = str(Path(fake_server.__file__).parent)
    command = [sys.executable, "-c", PROGRAM, tests]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = ["first", "child", "parent", "interrupted True", "interrupted True"]
    assert done.stdout.splitlines() == said, done.stderr


def test_a_new_schema_is_not_translated_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 2 KB, which counts as small, held the loop for a third of a second when it was first sent."""
    threads: list[str] = []
    translate = provider_schema.strict

    def noted(*given: Any, **more: Any) -> provider_schema.Sent:
        threads.append(threading.current_thread().name)
        return translate(*given, **more)

    monkeypatch.setattr(provider_schema, "strict", noted)
    with Server(GOOD) as server:
        asked, small = model(server), request(CLOSED)
        assert [asyncio.run(asked.agenerate(small)).text for _ in range(2)] == [TEXT] * 2
    (thread,) = threads  # the second request finds it translated
    assert thread.startswith("asyncio_")


def test_a_request_on_guard_s_own_loop_can_t_block_it() -> None:
    async def nested() -> None:
        with pytest.raises(RuntimeError, match="use the async methods"):
            model(fake_server.refused_url()).generate(request())

    EVENT_LOOP.run(nested())


class AtOpenAI(OpenAIModel):
    """A model at OpenAI's own address, as far as what is asked goes."""

    _is_openai = True


def test_openai_s_own_models_are_told_how_much_to_think() -> None:
    refused = [
        fake_server.error(400, f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model.")
        for effort in ("none", "minimal")
    ]
    with Server(*refused, GOOD) as server:
        asked = AtOpenAI("gpt-5-mini", base_url=server.url, api_key="k")
        assert asked.generate(request(max_tokens=70)).text == TEXT
        asked.generate(request())
        asked.generate(request(thinking=100, max_tokens=70))
        bodies = [r.body for r in server.requests]
        assert [body.get("reasoning_effort") for body in bodies] == ["none", "minimal", "low", "low", None]
        assert (bodies[0]["max_completion_tokens"], bodies[4]["max_completion_tokens"]) == (70, 170)
        assert not any("max_tokens" in body for body in bodies)


def test_a_model_s_identity_and_price_are_those_of_its_address() -> None:
    one, other = (OpenAIModel("gpt-5-mini", base_url=url, api_key="k") for url in ("http://a/v1", "http://b/v1"))
    assert one.identity != other.identity
    assert one.identity != OpenAIModel("gpt-5-mini", base_url="http://a/v1", api_key="k", mode="tool").identity
    assert one.price(1000, 10) is None
    known = OpenAIModel("gpt-5-mini", base_url="https://api.openai.com/v1", api_key="k")
    assert known.price(1000, 10) == pytest.approx(0.00027)
    assert AnthropicModel("claude-sonnet-4-5", api_key="k").price(1000, 10) == pytest.approx(0.00315)
