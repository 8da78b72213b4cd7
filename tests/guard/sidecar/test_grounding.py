"""Values that a client's schema wants from the user's messages: held to them, here and at an upstream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sidecars import Sidecar, model, serving, serving_here

from guard.testing import fake_server

SCHEMA = {
    "type": "object",
    "properties": {"order": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$", "x-guard-from": "input"}},
    "required": ["order"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "order", "schema": SCHEMA, "strict": True}}
SAID = "My order TH-559027 arrived broken, and TH-100233 did not."


@pytest.mark.parametrize(("answer", "status"), [("TH-559027", 200), ("TH-999999", 422)])
def test_what_an_upstream_invents_is_found(tmp_path: Any, answer: str, status: int) -> None:
    provider = fake_server.Server(json.dumps({"order": answer}))
    with provider, serving(tmp_path, model(f"{provider.url}/v1", retries=0)) as sidecar:
        reply = sidecar.chat(SAID, response_format=FORM)
    assert reply.status == status, reply.data
    if status == 422:
        assert "quoted" in reply.data.decode()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Start a sidecar whose model decodes here."""
    with serving_here(tmp_path_factory.mktemp("local")) as sidecar:
        yield sidecar


@pytest.mark.parametrize("seed", range(4))
def test_a_model_here_can_write_nothing_else(here: Sidecar, seed: int) -> None:
    reply = here.chat(SAID, response_format=FORM, seed=seed, temperature=1.0, max_tokens=60)
    assert reply.status == 200, reply.data
    assert json.loads(reply.json["choices"][0]["message"]["content"])["order"] in ("TH-559027", "TH-100233")


def test_where_nothing_is_said_no_model_is_asked(here: Sidecar) -> None:
    reply = here.chat("Nothing to see.", response_format=FORM)
    assert reply.status == 422
    assert "not stated" in reply.data.decode()
