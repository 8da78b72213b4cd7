"""What a provider refuses is its client's business alone: nobody else's request is weakened by it, and it stays 400."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from sidecars import Sidecar

import guard
from guard.models.base import Request
from guard.models.remote import remote_model
from guard.models.remote.errors import said_by
from guard.models.remote.openai import OpenAIModel
from guard.testing import fake_server

GOOD = '{"total": 3}'
SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "integer"}},
    "required": ["total"],
    "additionalProperties": False,
}
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "sum", "strict": True, "schema": SCHEMA}}
MESSAGES: Any = [{"role": "user", "content": "How much?"}]


def strict(request: fake_server.ClientRequest) -> fake_server.Answer:
    """Answer as OpenAI does, which names the field that it refuses, whatever it is."""
    body = request.body
    if body.get("service_tier") == "nonesuch":
        return fake_server.error(400, "Invalid value: 'nonesuch'.", param="service_tier", code="invalid_value")
    if body.get("temperature", 0) not in (0, 1):
        words = "Unsupported value: 'temperature' does not support 0.7 with this model."
        return fake_server.error(400, words, param="temperature", code="unsupported_value")
    if body.get("reasoning_effort") == "huge":  # as servers say it that give no param
        return fake_server.error(400, "reasoning_effort: 'huge' is not allowed with response_format")
    return fake_server.Answer(GOOD)


@pytest.fixture
def client(sidecar: Sidecar) -> Any:
    with openai.OpenAI(base_url=sidecar.url, api_key="unused", max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    ("field", "value", "param", "code"),
    [
        ("service_tier", "nonesuch", "service_tier", "invalid_value"),
        ("temperature", 0.7, "temperature", "unsupported_value"),
        ("reasoning_effort", "huge", None, "refused_upstream"),
    ],
)
def test_a_clients_own_error_stays_400_and_weakens_nobody(
    client: openai.OpenAI, provider: fake_server.Server, field: str, value: Any, param: str | None, code: str
) -> None:
    provider.answers = [strict]
    wrong: dict[str, Any] = {field: value}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="m", messages=MESSAGES, response_format=FORMAT, **wrong)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert len(provider.requests) == 1
    good: dict[str, Any] = {field: {"service_tier": "flex", "temperature": 1, "reasoning_effort": "low"}[field]}
    for more in (good, {}):
        assert (
            client.chat.completions.create(model="m", messages=MESSAGES, response_format=FORMAT, **more)
            .choices[0]
            .message.content
            == GOOD
        )
        sent = provider.requests[-1].body
        assert sent["response_format"]["type"] == "json_schema"
        assert sent.items() >= more.items()


def test_a_refused_schema_is_sent_the_weaker_way_for_that_schema_alone(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    def picky(request: fake_server.ClientRequest) -> fake_server.Answer:
        if "picky" in json.dumps(request.body.get("response_format")):
            return fake_server.error(400, "Invalid schema for response_format 'x'", param="response_format")
        return fake_server.Answer(GOOD)

    provider.answers = [picky]
    schema = {**SCHEMA, "properties": {"total": {"type": "integer"}, "picky": {"type": "null"}}}
    other = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    assert sidecar.chat(response_format=other).json["choices"][0]["message"]["content"] == GOOD
    assert ["tools" in request.body for request in provider.requests] == [False, True]
    sidecar.chat(response_format=FORMAT)
    assert "tools" not in provider.requests[-1].body


def test_what_was_refused_is_tried_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(remote_model, "AGAIN_S", 0.0)
    refused = fake_server.error(400, "Invalid schema for response_format", param="response_format")
    with fake_server.Server(refused, fake_server.Answer(GOOD)) as server:
        model = OpenAIModel("m", base_url=server.url)
        request = Request(({"role": "user", "content": "?"},), guard.compile(SCHEMA))
        monkeypatch.setattr(remote_model, "AGAIN_S", 1000.0)
        assert model.generate(request).mode == "tool"
        monkeypatch.setattr(remote_model, "AGAIN_S", 0.0)
        assert model.generate(request).mode == "native"


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (400, {"message": "This model's maximum context length is 8 tokens.", "code": "context_length_exceeded"}, None),
        (404, {"message": "The model does not exist", "code": "model_not_found"}, None),
        (413, {"message": "too large"}, "refused_upstream"),
        (422, {"message": "unprocessable"}, "refused_upstream"),
    ],
)
@pytest.mark.parametrize("how", [{}, {"response_format": FORMAT}, {"response_format": {"type": "json_object"}}])
def test_a_status_of_the_providers_stays_what_it_is(
    sidecar: Sidecar,
    provider: fake_server.Server,
    how: dict[str, Any],
    status: int,
    said: dict[str, Any],
    code: str | None,
) -> None:
    provider.answers = [fake_server.Answer(status=status, raw=json.dumps({"error": {"type": "x", **said}}).encode())]
    reply = sidecar.chat(**how)
    assert (reply.status, reply.json["error"]["code"]) == (status, code or said["code"])


def test_the_budget_of_tokens_is_sent_under_the_name_that_it_came_by(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = [GOOD]
    for name, other in (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")):
        for how in ({"response_format": FORMAT}, {"response_format": {"type": "json_object"}}, {}):
            sidecar.chat(**{name: 77}, **how)
            sent = provider.requests[-1].body
            assert sent[name] == 77
            assert other not in sent


def test_a_short_key_hides_no_part_of_a_word() -> None:

    assert said_by("the latest test of est", ("test",)) == "the latest [redacted] of est"
    assert said_by(f"key={'k' * 16}x", ("k" * 16,)) == "key=[redacted]x"


@pytest.mark.parametrize(
    ("given", "told"),
    [("7", "7"), ("3600", "3600"), ("999999999", "3600"), ("Fri, 31 Dec 9999 23:59:59 GMT", "3600"), ("-1", None)],
)
def test_a_provider_has_nobody_wait_longer_than_an_hour(
    sidecar: Sidecar, provider: fake_server.Server, given: str, told: str | None
) -> None:
    """Its Retry-After was passed on as it was: a client that heeds it would have slept for thirty years."""
    provider.answers = [fake_server.error(429, "slowly", {"Retry-After": given})]
    for fields in ({}, {"response_format": FORMAT}):
        reply = sidecar.chat(**fields)
        assert (reply.status, reply.headers.get("retry-after")) == (429, told)
