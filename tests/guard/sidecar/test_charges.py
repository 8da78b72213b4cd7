"""What a key is charged: everything that a provider may have been paid for, however a request ends."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sidecars import Sidecar, model, serving

from guard.models.base import Reply
from guard.sidecar import keys
from guard.sidecar.request_context import RequestContext
from guard.testing import fake_server
from guard.trace import TraceStore
from guard.trace.records import Attempt, Call

WORDS = "word " * 80  #: 400 bytes, so 100 tokens by estimate.
PROMPT = "Q " * 400  #: 200 tokens.
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
STREAM: dict[str, Any] = {**CHAT, "stream": True}


def key_of(folder: Path, name: str, **limits: Any) -> tuple[str, dict[str, str]]:
    """Make a key in a folder's trace; returns its id, and the headers of its requests."""
    key, text = keys.create(TraceStore.at(str(folder / "trace.db")), name, **limits)
    return key.id, {"Authorization": f"Bearer {text}"}


def early_in_a_minute() -> None:
    """Wait for the next minute where this one is about to end."""
    if (over := time.time() % 60) > 45:
        time.sleep(60 - over)


def charged(sidecar: Sidecar, key: str) -> tuple[int, float]:
    """Return the tokens and dollars that a key was charged today. A request is on the log once it is charged."""
    with sqlite3.connect(sidecar.trace) as connection:
        query = "SELECT tokens, usd FROM spending WHERE key = ? AND period LIKE 'day %'"
        found = connection.execute(query, (key,)).fetchone()
    return found or (0, 0.0)


def chunk(delta: Any, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": None}
    return b"data: %s\n\n" % json.dumps({"model": "served-1", "choices": [choice], **more}).encode()


def item(kind: str) -> bytes:
    said = {"type": f"response.{kind}.delta", "item_id": "x", "output_index": 0, "content_index": 0, "delta": WORDS}
    return b"event: response.%s.delta\ndata: %s\n\n" % (kind.encode(), json.dumps(said).encode())


def hangs(*events: bytes) -> fake_server.Answer:
    """Answer with some events, and never end."""
    return fake_server.Answer(raw=b"", change=lambda _: [*events, fake_server.HANG])


def left(sidecar: Sidecar, path: str, body: Any, headers: dict[str, str], is_there: Callable[[bytes], bool]) -> None:
    """Send a request, and go once so much of its answer is there."""
    before = len(sidecar.log)
    data = json.dumps(body).encode()
    with socket.create_connection((sidecar.host, sidecar.port), timeout=30) as connection:
        head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*head, "", ""]).encode() + data)
        got = b""
        while not is_there(got):
            got += connection.recv(65_536)
    sidecar.wait(lambda: len(sidecar.log) > before)


CALLED = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": WORDS}}]}
TOLD = {"usage": {"prompt_tokens": 200, "completion_tokens": 1}}
#: By what is written when the client goes: the path, the request, the events, and the tokens of prompt and answer.
CASES: dict[str, tuple[str, Any, tuple[bytes, ...], int]] = {
    "text": ("/v1/chat/completions", STREAM, (chunk({"content": WORDS}),), 300),
    "thinking": ("/v1/chat/completions", STREAM, (chunk({"reasoning_content": WORDS}),) * 3, 500),
    "thinking by both names": (
        *("/v1/chat/completions", STREAM),
        *((chunk({"reasoning_content": WORDS, "reasoning": WORDS}),), 300),
    ),
    "a refusal": ("/v1/chat/completions", STREAM, (chunk({"refusal": WORDS}),), 300),
    "a call": ("/v1/chat/completions", STREAM, (chunk(CALLED),), 301),
    "other choices": (
        *("/v1/chat/completions", {**STREAM, "n": 3}),
        *((chunk({"content": WORDS}, 1), chunk({"content": WORDS}, 2)), 400),
    ),
    "more than was told so far": (
        *("/v1/chat/completions", STREAM),
        *((chunk({"content": WORDS}, **TOLD), chunk({"content": WORDS})), 400),
    ),
    "other texts of a completion": (
        *("/v1/completions", {"model": "m", "prompt": PROMPT, "stream": True, "n": 2}),
        *((b'data: {"choices": [{"index": 1, "text": "%s"}, {"text": ""}]}\n\n' % WORDS.encode(),), 300),
    ),
    "a message's thinking": (
        *("/v1/messages", {**STREAM, "max_tokens": 900}),
        *((chunk({"reasoning_content": WORDS}),), 300),
    ),
    "a response's thinking": (
        *("/v1/responses", {"model": "m", "input": PROMPT, "stream": True}),
        *((item("reasoning_text"), item("function_call_arguments")), 400),
    ),
    "a response to instructions": (
        *("/v1/responses", {"model": "m", "input": "Q", "instructions": PROMPT, "stream": True}),
        *((item("output_text"),), 301),
    ),
}


def test_what_was_written_is_charged_whatever_it_is_when_a_client_goes(tmp_path: Path) -> None:
    """Only texts of the first choice counted: a client that left while a model thought was charged nothing.

    Nor was it for other choices, calls of a response, and what came after a first report of use.
    """
    held = {name: key_of(tmp_path, name, tokens_per_day=100_000) for name in CASES}
    with fake_server.Server() as provider, serving(tmp_path, model(provider.url, first_token_seconds=60)) as sidecar:
        for name, (path, body, events, _) in CASES.items():
            provider.answers = [hangs(*events)]
            words = sum(event.count(b"word ") for event in events)
            # A call's words, and thinking under two names, may come out otherwise: what is sent is all there by then.
            least = 1 if name in ("thinking by both names", "a call") else words
            left(sidecar, path, body, held[name][1], lambda got, least=least: got.count(b"word ") >= least)
        found = {name: charged(sidecar, held[name][0])[0] for name in CASES}
    assert found == {name: tokens for name, (*_, tokens) in CASES.items()}


def test_a_prompt_that_was_sent_is_charged_before_a_byte_came(tmp_path: Path) -> None:
    """A client that left before the answer was charged nothing, and nothing was for a time-out, whatever was tried."""
    gone, plain, streamed, thinking, again = (
        key_of(tmp_path, name, tokens_per_day=100_000) for name in ("gone", "plain", "streamed", "thinking", "again")
    )
    with fake_server.Server(hangs()) as provider:
        toml = model(provider.url, total_seconds=2, transport_retries=0, breaker_failures=100)
        toml += model(provider.url, "again", total_seconds=20, transport_retries=1, first_token_seconds=0.3)
        with serving(tmp_path, toml) as sidecar:
            sent = len(provider.requests)
            left(sidecar, "/v1/chat/completions", CHAT, gone[1], lambda _: len(provider.requests) > sent)
            for body, key, answer in (
                (CHAT, plain, hangs()),
                (STREAM, streamed, hangs()),
                (STREAM, thinking, hangs(chunk({"reasoning_content": WORDS}))),
                ({**STREAM, "model": "again"}, again, hangs()),
            ):
                provider.answers = [answer]
                sidecar.ask("POST", "/v1/chat/completions", body, key[1])
            sidecar.wait(lambda: len(sidecar.log) == 5)
            found = [charged(sidecar, key)[0] for key, _ in (gone, plain, streamed, thinking, again)]
    assert found == [200, 200, 200, 300, 400]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_an_answer_that_is_malformed_is_charged_as_its_provider_told(tmp_path: Path, path: str) -> None:
    """An answer without an end was a failure that cost nothing, though it told what it had used."""
    key, headers = key_of(tmp_path, "shop", tokens_per_day=100_000)
    usage = {"prompt_tokens": 30, "completion_tokens": 12}
    said = {"choices": [{"message": {"content": "Hi"}}], "output": 5, "usage": usage}
    answer = fake_server.Answer(raw=json.dumps(said).encode())
    with fake_server.Server(answer) as provider, serving(tmp_path, model(provider.url)) as sidecar:
        assert sidecar.ask("POST", path, {**CHAT, "input": "Hello."}, headers).status == 502
        sidecar.wait(lambda: sidecar.log)
        assert charged(sidecar, key)[0] == 42


def test_what_was_never_sent_costs_nothing(tmp_path: Path) -> None:
    """What a provider refuses by a status, or what reaches none, is paid for by nobody."""
    key, headers = key_of(tmp_path, "shop", tokens_per_day=100_000)
    with fake_server.Server(fake_server.error(400, "no")) as provider:
        toml = model(provider.url) + model("http://127.0.0.1:9/v1", "nowhere", transport_retries=0)
        with serving(tmp_path, toml) as sidecar:
            for more in ({}, {"stream": True}, {"model": "nowhere"}, {"model": "nowhere", "stream": True}):
                assert sidecar.chat(headers=headers, **more).status in (400, 502)
            sidecar.wait(lambda: len(sidecar.log) == 4)
            assert charged(sidecar, key) == (0, 0.0)


@pytest.mark.parametrize("name", ["served-1", "served-1-2026-11-01"])
def test_money_is_charged_by_whatever_name_a_provider_answers(tmp_path: Path, name: str) -> None:
    """A provider that answered under a name without a price cost nothing, so that the budget never ended."""
    key, headers = key_of(tmp_path, "shop", usd_per_day=100)
    form = {"response_format": {"type": "json_object"}}
    answers: tuple[tuple[Any, dict[str, Any]], ...] = (("Hello.", {}), ("Hello.", {"stream": True}), ("{}", form))
    here = {"PYTHONPATH": str(Path(__file__).parent)}
    with (
        fake_server.Server() as provider,
        serving(tmp_path, model(provider.url), program=["priced"], env=here) as sidecar,
    ):
        for number, (text, more) in enumerate(answers, 1):
            provider.answers = [fake_server.Answer(text, usage=(11, 7), model=name)]
            assert sidecar.chat(headers=headers, **more).status == 200
            assert charged(sidecar, key) == (number * 18, number * 18.0)


def test_an_attempt_without_a_price_is_charged_as_the_dearest_tier_and_leaves_the_others_theirs() -> None:
    """One attempt whose price was unknown made all attempts of its request free."""
    context = RequestContext("POST", "/v1/chat/completions", None)
    context.price = lambda prompt, completion: float(prompt + 2 * completion)
    replies = [Reply("", "stop", "known", 10, 10, cost=5.0), Reply("", "stop", "unknown", 100, 10)]
    attempts = tuple(Attempt(number, (), reply) for number, reply in enumerate(replies, 1))
    context.take(Call("", "text", "", "", "known", {}, 1.0, attempts=attempts))
    assert (context.cost, context.owed) == (None, 125.0)


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"requests_per_minute": 2}, "rate_limit_exceeded"), ({"tokens_per_day": 20}, "insufficient_quota")],
)
def test_the_playground_counts_as_other_requests_do(tmp_path: Path, limits: Any, code: str) -> None:
    """An operator's key could ask models without end there: its budget was charged, and never looked at."""
    _, headers = key_of(tmp_path, "shop", is_operator=True, **limits)
    with fake_server.Server("{}") as provider, serving(tmp_path, model(provider.url)) as sidecar:
        early_in_a_minute()
        body = {"model": "m", "prompt": "x"}
        replies = [sidecar.ask("POST", "/guard/playground", body, headers) for _ in range(3)]  # 18 tokens each
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert replies[-1].json["error"]["code"] == code
        assert sidecar.ask("GET", "/guard/live", headers=headers).status == 200
