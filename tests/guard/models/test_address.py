"""Whose credentials a provider's address is sent: those of whoever named it. What a URL holds of them is not shown."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from guard.errors import ModelError
from guard.models.base import Request
from guard.models.remote.address import address
from guard.models.remote.anthropic import AnthropicModel
from guard.models.remote.openai import OpenAIModel
from guard.testing.fake_server import Server, error

ENVIRONMENT = {
    "OPENAI_API_KEY": "canary-openai-key",
    "OPENAI_ADMIN_KEY": "canary-admin-key",
    "OPENAI_ORG_ID": "canary-organization",
    "OPENAI_PROJECT_ID": "canary-project",
    "OPENAI_CUSTOM_HEADERS": "X-Gateway: canary-gateway\nAuthorization: Bearer canary-custom",
    "ANTHROPIC_API_KEY": "canary-anthropic-key",
    "ANTHROPIC_AUTH_TOKEN": "canary-anthropic-token",
    "ANTHROPIC_CUSTOM_HEADERS": "X-Gateway: canary-gateway\nX-Api-Key: canary-custom",
}
KINDS: dict[str, Any] = {"openai": OpenAIModel, "anthropic": AnthropicModel}
REQUEST = Request(messages=({"role": "user", "content": "x"},), compiled=None, seconds=60.0)


def whole(model: Any) -> str:
    text: str = model.generate(REQUEST).text
    return text


def awaited(model: Any) -> str:
    text: str = asyncio.run(model.agenerate(REQUEST)).text
    return text


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("Hello.", keeps_alive=True) as server:
        yield server


def at(server: Server, kind: str, login: str = "") -> str:
    url = server.url if kind == "openai" else server.url.removesuffix("/v1")
    return url.replace("http://", f"http://{login}")


def sent(server: Server) -> str:
    return "\n".join(f"{name}: {value}" for request in server.requests for name, value in request.headers.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ask", [whole, awaited])
@pytest.mark.parametrize("key", [None, "given-key"])
def test_an_address_that_was_given_is_sent_nothing_of_the_environment_s(
    server: Server, kind: str, ask: Any, key: str | None
) -> None:
    assert ask(KINDS[kind]("m", base_url=at(server, kind), api_key=key)) == "Hello."
    assert "canary" not in sent(server)
    assert key is None or "given-key" in sent(server)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_repeated", [False, True])
def test_an_address_that_the_environment_names_is_sent_its_key(
    server: Server, kind: str, is_repeated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv(f"{kind.upper()}_BASE_URL", at(server, kind))
    whole(KINDS[kind]("m", base_url=at(server, kind) + "/" if is_repeated else None))
    assert f"canary-{kind}-key" in sent(server)


def test_the_default_address_is_the_environment_s_unless_it_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    default = "https://api.openai.com/v1"
    assert address(None, "OPENAI_BASE_URL", default).key(None, "OPENAI_API_KEY") == "canary-openai-key"
    assert address(default, "OPENAI_BASE_URL", default).key(None, "OPENAI_API_KEY") == "canary-openai-key"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway/v1")
    assert address(None, "OPENAI_BASE_URL", default).key(None, "OPENAI_API_KEY") == "canary-openai-key"
    assert address(default, "OPENAI_BASE_URL", default).key(None, "OPENAI_API_KEY") is None
    assert address(default, "OPENAI_BASE_URL", default).key("given", "OPENAI_API_KEY") == "given"


@pytest.mark.parametrize("ask", [whole, awaited])
@pytest.mark.parametrize("is_given", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_password_in_an_address_is_sent_and_nowhere_shown(
    server: Server,
    kind: str,
    ask: Any,
    is_given: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    url = at(server, kind, "user:pass%2Fword@")
    if not is_given:
        monkeypatch.setenv(f"{kind.upper()}_BASE_URL", url)
    model = KINDS[kind]("m", base_url=url if is_given else None, retries=0)
    server.answers = ["Hello.", error(400, "user:pass/word, dXNlcjpwYXNzL3dvcmQ=, " + url)]
    assert ask(model) == "Hello."
    assert server.requests[0].headers["authorization"] == "Basic dXNlcjpwYXNzL3dvcmQ="
    with pytest.raises(ModelError) as caught:
        ask(model)
    shown = f"{caught.value} {model.identity} {model!r} {vars(model)} {caplog.text}"
    for secret in ("pass/word", "pass%2Fword", "dXNlcjpwYXNzL3dvcmQ="):
        assert secret not in shown


def test_where_no_key_is_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match="set OPENAI_API_KEY"):
        OpenAIModel("m")


UNREADABLE = (
    "m can't be asked: its address, or a proxy of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY), is not a URL; "
    "write it as http://HOST:PORT, and / # ? @ of a password as %2F %23 %3F %40"
)
NEEDS_SOCKS = (
    "m can't be asked: a SOCKS proxy of the environment (ALL_PROXY, HTTP_PROXY, HTTPS_PROXY) needs socksio: "
    "pip install socksio"
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ask", [whole, awaited])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("http://user:hunter22/x@proxy:3128", UNREADABLE),
        ("http://user:hunter22#x@proxy:3128", UNREADABLE),
        ("http://user:hunter22?x@proxy:3128", UNREADABLE),
        ("bogus://user:hunter22@proxy:3128", UNREADABLE),
        ("bogus://hunter22#x@proxy:3128", UNREADABLE),
        ("socks5h://user:hunter22@proxy:1080", NEEDS_SOCKS),
    ],
)
def test_a_proxy_that_can_t_be_used_is_not_quoted(
    kind: str, ask: Any, variable: str, proxy: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(ModelError) as caught:
        ask(KINDS[kind]("m", base_url="http://model.example/v1", api_key="k"))
    assert str(caught.value) == f"{kind}:{words}"
    assert "hunter22" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ask", [whole, awaited])
@pytest.mark.parametrize("url", ["http://user:hunter22/x@h/v1", "http://user:hunter22#x@h/v1", "http://h:hunter22/v1"])
def test_an_address_that_can_t_be_read_is_not_quoted(
    kind: str, ask: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{kind.upper()}_BASE_URL", url)
    with pytest.raises(ModelError) as caught:
        ask(KINDS[kind]("m", api_key="k"))
    assert str(caught.value) == f"{kind}:{UNREADABLE}"
    assert "hunter22" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("kind", KINDS)
def test_certificates_that_can_t_be_read_are_told_behind_a_proxy_too(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    with pytest.raises(ModelError, match="the certificates to trust can't be read: No such file or directory"):
        whole(KINDS[kind]("m", base_url="http://model.example/v1", api_key="k"))
