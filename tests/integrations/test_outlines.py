"""Models of the outlines library as Guard's: local ones under outlines' masks, and its providers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import outlines
import pytest
import tiny
import torch

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


@pytest.mark.filterwarnings("ignore")  # outlines' and its engine's own
def test_a_local_model_of_outlines_answers_under_its_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._dynamo.config, "disable", True)  # it compiles its kernels for longer than they run
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
