"""Circuit breakers: what one client provokes is its own; a model that fails for several rests for all."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from sidecars import model, serving

from guard.errors import Unavailable
from guard.sidecar.circuit_breaker import CLOSED, OPEN, SENDER, Breaker
from guard.testing import fake_server


def lets_through(breaker: Breaker, sender: str) -> bool:
    """Whether a request of a client would be let through."""
    SENDER.set(sender)
    try:
        breaker.check()
    except Unavailable:
        return False
    return True


def fail(breaker: Breaker, senders: Sequence[str]) -> None:
    """Have requests fail, each of a client."""
    for sender in senders:
        SENDER.set(sender)
        breaker.failed()


def test_what_one_client_provokes_opens_it_for_that_client_alone() -> None:
    breaker = Breaker("m", 8, 60.0)
    fail(breaker, ["a"] * 100)
    assert not lets_through(breaker, "a")
    assert lets_through(breaker, "b")
    fail(breaker, ["b"] * 3)
    assert lets_through(breaker, "c")
    fail(breaker, ["b"])  # half of them are b's now
    assert not lets_through(breaker, "c")
    breaker.succeeded()
    assert all(lets_through(breaker, sender) for sender in "abc")


def test_one_request_tries_for_all_and_one_for_a_client() -> None:
    breaker = Breaker("m", 2, 0.05)
    fail(breaker, "ab")
    time.sleep(0.06)
    assert lets_through(breaker, "c")
    assert not lets_through(breaker, "d")
    fail(breaker, "c")
    assert not lets_through(breaker, "d")
    breaker.succeeded()
    fail(breaker, "aa")
    time.sleep(0.06)
    assert lets_through(breaker, "a")
    assert not lets_through(breaker, "a")
    assert lets_through(breaker, "b")


@given(st.integers(1, 9), st.lists(st.sampled_from("abcde?")))
def test_it_is_open_as_often_as_failures_in_a_row_say(most: int, told: list[str]) -> None:
    """The judge counts the failures since the last success ("?") anew at each step."""
    breaker, since = Breaker("m", most, 1e9), ""
    for one in told:
        if one == "?":
            breaker.succeeded()
            since = ""
        else:
            if not lets_through(breaker, one):
                continue
            fail(breaker, one)
            since += one
        counts = {sender: since.count(sender) for sender in since}
        for_all = len(counts) > 1 and sum(min(n, max(1, most // 2)) for n in counts.values()) >= most
        for sender in "abcde":
            assert lets_through(breaker, sender) == (not for_all and counts.get(sender, 0) < most)
        assert breaker.state == (OPEN if for_all or any(n >= most for n in counts.values()) else CLOSED)


def test_a_client_whose_requests_fail_closes_no_model_for_another(tmp_path: Path) -> None:
    def answered(request: fake_server.ClientRequest) -> str:
        words = request.body["messages"][-1]["content"]
        return "x" * 200_000 if words == "Much." else "Hello."

    with fake_server.Server(answered) as provider:
        toml = "response_bytes = 100_000\n"
        toml += model(provider.url, transport_retries=0, breaker_failures=3, breaker_seconds=60)
        with serving(tmp_path, toml) as sidecar:
            assert [sidecar.chat("Much.").status for _ in range(5)] == [502] * 5
            assert sidecar.chat().status == 502
            other = http.client.HTTPConnection(sidecar.host, sidecar.port, source_address=("127.0.0.2", 0))
            with contextlib.closing(other):
                body = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
                other.request("POST", "/v1/chat/completions", json.dumps(body))
                assert other.getresponse().status == 200
