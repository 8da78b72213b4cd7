"""What was used is told as the provider told it, caches included: in each protocol, whole and streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sidecars import Sidecar, model, serving

from guard.testing import fake_server

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
ASKED = [{"role": "user", "content": "How many?"}]
STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
CHAT: dict[str, Any] = {"messages": ASKED}
WRAPPED = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
FORMAT = {"type": "json_schema", "schema": SCHEMA}
MESSAGE: dict[str, Any] = {"messages": ASKED, "max_tokens": 9}


@pytest.fixture(scope="module")
def provider() -> Iterator[fake_server.Server]:
    with fake_server.Server(fake_server.Answer('{"n": 3}', usage=(11, 7), cached=4)) as server:
        yield server


@pytest.fixture(scope="module")
def sidecar(provider: fake_server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    own = f'[serve.models.own]\nmodel = "anthropic:served-1"\nbase_url = "{provider.url.removesuffix("/v1")}"\n'
    with serving(tmp_path_factory.mktemp("usage"), model(provider.url) + own) as sidecar:
        yield sidecar


def used(reply: Any, *path: str) -> Any:
    """Return the last usage that an answer, or its events, tell of."""
    assert reply.status == 200, reply.data
    told = None
    for said in reply.events if reply.data.startswith((b"event:", b"data:")) else [reply.json]:
        at = said
        for name in path:
            at = at.get(name) if isinstance(at, dict) else None
        told = at or told
    return told


@pytest.mark.parametrize("name", ["m", "own"])
@pytest.mark.parametrize("more", [{}, STREAMED], ids=["whole", "streamed"])
@pytest.mark.parametrize("wanted", [{}, {"response_format": WRAPPED}], ids=["plain", "schema"])
def test_chats_tell_what_a_cache_had(sidecar: Sidecar, name: str, more: Any, wanted: Any) -> None:
    told = used(sidecar.ask("POST", "/v1/chat/completions", {"model": name, **CHAT, **wanted, **more}), "usage")
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (11, 7, 18)
    assert told["prompt_tokens_details"]["cached_tokens"] == 4


@pytest.mark.parametrize("name", ["m", "own"])
@pytest.mark.parametrize("more", [{}, {"stream": True}], ids=["whole", "streamed"])
@pytest.mark.parametrize("wanted", [{}, {"output_config": {"format": FORMAT}}], ids=["plain", "schema"])
def test_messages_tell_what_a_cache_had(sidecar: Sidecar, name: str, more: Any, wanted: Any) -> None:
    told = used(sidecar.ask("POST", "/v1/messages", {"model": name, **MESSAGE, **wanted, **more}), "usage")
    assert (told["input_tokens"], told["cache_read_input_tokens"], told["output_tokens"]) == (7, 4, 7)


@pytest.mark.parametrize("name", ["m", "own"])
@pytest.mark.parametrize("more", [{}, {"stream": True}], ids=["whole", "streamed"])
def test_responses_tell_what_a_cache_had(sidecar: Sidecar, name: str, more: Any) -> None:
    body = {"model": name, "input": "How many?", "text": {"format": {**FORMAT, "name": "x"}}, **more}
    told = used(sidecar.ask("POST", "/v1/responses", body), *(("response", "usage") if more else ("usage",)))
    assert (told["input_tokens"], told["input_tokens_details"]["cached_tokens"], told["output_tokens"]) == (11, 4, 7)


def test_a_provider_that_tells_nothing_of_a_cache_has_none_told_of(sidecar: Sidecar, provider: Any) -> None:
    provider.answers = [fake_server.Answer('{"n": 3}')]
    told = used(
        sidecar.ask("POST", "/v1/chat/completions", {"model": "m", **CHAT, "response_format": WRAPPED}), "usage"
    )
    assert told == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
