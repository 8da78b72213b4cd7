"""Who may ask from where: pages of origins that the settings name, and clients whose address lacks /v1."""

from __future__ import annotations

from pathlib import Path

import openai
from sidecars import Sidecar, model, serving

from guard.testing import fake_server

APP = "https://app.example"


def test_pages_of_configured_origins_may_ask_and_read_and_no_others(tmp_path: Path) -> None:
    with (
        fake_server.Server("Hello.") as provider,
        serving(tmp_path, f'origins = ["{APP}"]\n' + model(provider.url)) as sidecar,
    ):
        asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        path = "/v1/chat/completions"
        preflight = sidecar.ask("OPTIONS", path, headers={"origin": APP, **asks})
        assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (200, APP)
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        for fields in ({}, {"stream": True}, {"response_format": {"type": "json_object"}}):
            reply = sidecar.chat(headers={"origin": APP}, **fields)
            assert reply.headers["access-control-allow-origin"] == APP
            assert "x-guard-call" in reply.headers["access-control-expose-headers"]
        assert sidecar.chat(headers={"origin": APP}).status == 200
        for other in ("https://evil.example", "null", f"{APP}.evil.example", "http://app.example"):
            assert sidecar.ask("OPTIONS", path, headers={"origin": other, **asks}).status == 400
            reply = sidecar.chat(headers={"origin": other})
            assert (reply.status, reply.json["error"]["code"]) == (403, "origin_not_allowed")
            assert "access-control-allow-origin" not in reply.headers


def test_without_origins_nothing_is_said_of_them(sidecar: Sidecar) -> None:
    assert sidecar.ask("OPTIONS", "/v1/chat/completions", headers={"origin": APP}).status in (403, 405)
    assert "access-control-allow-origin" not in sidecar.chat(headers={"origin": "http://localhost:3000"}).headers


def test_a_client_whose_address_lacks_v1_is_answered(sidecar: Sidecar, provider: fake_server.Server) -> None:
    with openai.OpenAI(base_url=sidecar.url.removesuffix("/v1"), api_key="unused", max_retries=0) as client:
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}])
        assert answer.choices[0].message.content == "Hello."
        assert [model.id for model in client.models.list()] == ["m", "again"]
    assert provider.requests[-1].path == "/v1/chat/completions"
    assert sidecar.ask("GET", "/nowhere").status == 404
