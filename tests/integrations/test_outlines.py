"""Models of the outlines library as Guard's: local ones under outlines' masks, and its providers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any, Literal

import openai
import outlines
import pytest
import tiny
import torch
from pydantic import BaseModel, Field

import guard
from guard.errors import BudgetExceeded, ModelError
from guard.integrations.outlines import from_outlines
from guard.models.base import Model, Request
from guard.testing.fake_server import FAULTS, Answer, Server

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["invoice", "receipt"]}, "n": {"type": "integer"}},
    "required": ["kind", "n"],
    "additionalProperties": False,
}
TEXT = '{"kind": "invoice", "n": 3}'


def request(schema: Any = SCHEMA, **changes: Any) -> Request:
    compiled = None if schema is None else guard.compile(schema)
    return Request(({"role": "user", "content": "What is it?"},), compiled, **{"max_tokens": 60, **changes})


@pytest.fixture(autouse=True)
def no_kernel_is_compiled() -> Iterator[None]:
    """Compiling them takes longer than they run."""
    with torch._dynamo.config.patch(disable=True):
        yield


@pytest.mark.filterwarnings("ignore")  # outlines' and its engine's own
def test_a_local_model_of_outlines_answers_under_its_masks() -> None:
    model = from_outlines(outlines.from_transformers(tiny.llama(), tiny.tokenizer()))
    assert isinstance(model, Model)
    reply = model.generate(request({"enum": ["invoice", "receipt"]}))
    assert json.loads(reply.text) in ("invoice", "receipt")
    assert (reply.mode, reply.model, reply.finish) == ("native", "outlines:Transformers", "stop")
    assert reply.completion_tokens > 0
    assert reply.prompt_tokens > 0
    assert reply.cost is None
    cut = model.generate(request(None, max_tokens=5))
    assert (cut.finish, cut.mode) == ("length", "prompt")


class Letter(BaseModel):
    """What a letter is."""

    kind: Literal["refund", "replacement", "information"]
    n: int = Field(ge=0, le=99)


@pytest.mark.filterwarnings("ignore")
def test_a_local_model_of_outlines_answers_several_threads_as_it_answers_one() -> None:
    """They shared a logits processor, so that each was masked by where another was."""
    local = outlines.from_transformers(tiny.llama(), tiny.tokenizer())

    @guard.structured(model=from_outlines(local), retries=0, max_tokens=60)
    def read(letter: str) -> Letter:
        """Read the letter."""

    def answers(concurrency: int) -> list[Any]:
        results = guard.map(read, [f"{n} is broken. " * (n + 1) for n in range(6)], concurrency=concurrency)
        return [repr(result.error or result.value) for result in results]

    alone = answers(1)
    assert answers(6) == alone
    assert "kind=" in "".join(alone)


@pytest.mark.filterwarnings("ignore")
def test_who_waits_for_a_local_model_of_outlines_waits_until_the_deadline() -> None:
    local = outlines.from_transformers(tiny.llama(), tiny.tokenizer())
    is_at_it, may_end = threading.Event(), threading.Event()

    def held(_: Request) -> dict[str, Any]:
        is_at_it.set()
        assert may_end.wait(30)
        return {"max_new_tokens": 2}

    first = threading.Thread(target=from_outlines(local, options=held).generate, args=[request(None)])
    first.start()
    assert is_at_it.wait(30)
    other = from_outlines(local)  # the same model, wrapped again
    with pytest.raises(BudgetExceeded, match=r"within the 0\.1 s that were left"):
        other.generate(request(None, seconds=0.1))
    may_end.set()
    first.join(30)
    assert other.generate(request(None, max_tokens=2)).completion_tokens > 0


def test_a_provider_of_outlines_is_given_the_schema() -> None:
    with Server(Answer(TEXT)) as server, openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as client:
        model = from_outlines(outlines.from_openai(client, "m"), name="mine")
        reply = model.generate(request())
        assert (reply.text, reply.model, reply.mode) == (TEXT, "mine", "native")
        body = server.requests[0].body
        assert body["response_format"]["json_schema"]["schema"]["properties"] == SCHEMA["properties"]
        assert body["max_tokens"] == 60
        assert model.generate(request(None)).mode == "prompt"
        assert "response_format" not in server.requests[1].body


def test_an_async_model_of_outlines_is_asked_in_both_ways() -> None:
    with Server(Answer(TEXT)) as server:
        client = openai.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=0)
        model: Any = from_outlines(outlines.from_openai(client, "m"))
        assert model.generate(request()).text == TEXT
        assert asyncio.run(model.agenerate(request())).text == TEXT
        server.answers = [FAULTS["time-out"](Answer(TEXT))]
        with pytest.raises(BudgetExceeded):
            model.generate(request(seconds=0.3))


def test_what_fails_in_outlines_is_typed_and_tells_no_secret() -> None:
    failing = Server(FAULTS["500"](Answer(TEXT)))
    with failing as server, openai.OpenAI(base_url=server.url, api_key="sk-0123456789", max_retries=0) as client:
        with pytest.raises(ModelError, match="outlines:m failed") as caught:
            from_outlines(outlines.from_openai(client, "m")).generate(request())
        assert "sk-0" not in str(caught.value)
    with pytest.raises(ModelError, match="no model of outlines"):
        from_outlines(object())
