"""What every plain request pays for takes few calls of Python, counted: seconds are another machine's."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from guard.models.base import Reply
from guard.models.remote import prices
from guard.sidecar import bodies, constraints, metrics
from guard.sidecar.request_context import RequestContext
from guard.trace.record_queue import weight_of
from guard.trace.records import Attempt, Call

BODY = {
    "model": "served-1",
    "messages": [{"role": "user", "content": "Say hello, please."}],
    "temperature": 0.5,
    "max_tokens": 100,
    "stream": False,
}
CALL = Call(
    function="/v1/chat/completions",
    target="text",
    schema_hash="",
    template="",
    model="openai:served-1",
    options={"tiers": ["openai:served-1"]},
    started=1.0,
    attempts=(Attempt(1, tuple(BODY["messages"]), Reply("Hello!", "stop", "served-1", 12, 8)),),
)


def visit() -> RequestContext:
    """Return a request that was answered."""
    made = RequestContext("POST", "/v1/chat/completions", None)
    made.model, made.status = "served-1", 200
    made.take(CALL)
    return made


def calls_of(work: Callable[[], Any]) -> int:
    """Count the calls of functions that some work makes, the second time."""
    found = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    work()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize(
    ("work", "most"),
    [
        (lambda: constraints.understood(BODY), 10),
        (lambda: bodies.parsed(json.dumps(BODY).encode()), 20),
        (lambda: weight_of(CALL), 10),
        (lambda: prices.cost("served-1", 12, 8, url="http://127.0.0.1:8000/v1"), 10),
        (lambda: metrics.observe(visit()), 110),
    ],
    ids=["what it asks for", "reading it", "its record's weight", "its price", "its metrics"],
)
def test_a_plain_request_takes_few_calls(work: Callable[[], Any], most: int) -> None:
    assert calls_of(work) <= most
