"""Four sidecars on one PostgreSQL: what one knows, the others know, and the limits of keys are those of all."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
import replicas
import sidecars

from guard.sidecar import keys
from guard.testing import fake_server
from guard.trace import TraceStore

RATE = 300
NEVER = 1_000_000  #: Failures that open no breaker by themselves.


@pytest.fixture(scope="module")
def fleet(
    postgres_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[sidecars.Sidecar], str]]:
    place = postgres_server.place()
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = unused.getsockname()[1]
    toml = "needs_key = true\n"
    keys.create(TraceStore.at(place), "first")
    with fake_server.Server("{}", keeps_alive=True) as provider:
        toml += sidecars.model(provider.url)
        tomls = [
            toml + sidecars.model(f"http://127.0.0.1:{nobody}/v1", "gone", transport_retries=0, breaker_failures=most)
            for most in (3, NEVER, NEVER, NEVER)
        ]
        with replicas.serving(tmp_path_factory.mktemp("fleet"), place, tomls) as started:
            yield started, place


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def test_a_key_is_good_everywhere_as_soon_as_it_is_made_and_soon_nowhere_once_it_is_revoked(
    fleet: tuple[list[sidecars.Sidecar], str],
) -> None:
    started, place = fleet
    store = TraceStore.at(place)
    for _ in range(3):
        _, text = keys.create(store, "shop")
        assert [each.chat(headers=bearer(text)).status for each in started] == [200] * len(started)
        assert [each.chat(headers=bearer(text + "x")).status for each in started] == [401] * len(started)
    key, text = keys.create(store, "left")
    assert keys.revoke(store, key.id)
    for each in started:
        each.wait(lambda each=each: each.chat(headers=bearer(text)).status == 401)


def test_a_rate_is_one_of_all_replicas_to_the_request(fleet: tuple[list[sidecars.Sidecar], str]) -> None:
    started, place = fleet
    is_one_minute = False
    while not is_one_minute:
        _, text = keys.create(TraceStore.at(place), "fast", requests_per_minute=RATE)
        replicas.early_in_a_minute(30)
        outcome, minute = replicas.Outcome(), int(time.time() // 60)
        replicas.used_up(started, text, outcome)
        is_one_minute = int(time.time() // 60) == minute  # unless the machine is very slow
    assert outcome.statuses == {200: RATE, 429: len(started)}
    assert replicas.lost(place, outcome.calls) == set()


def test_a_response_can_be_read_and_gone_on_from_anywhere(fleet: tuple[list[sidecars.Sidecar], str]) -> None:
    (first, second, third, fourth), place = fleet
    _, text = keys.create(TraceStore.at(place), "talker")
    _, other = keys.create(TraceStore.at(place), "stranger")

    def ask(sidecar: sidecars.Sidecar, **fields: object) -> sidecars.Reply:
        schema = {"type": "json_schema", "name": "any", "schema": {"type": "object"}}
        asked = {"model": "m", "text": {"format": schema}, **fields}
        return sidecar.ask("POST", "/v1/responses", asked, bearer(text))

    made = ask(first, input="Hello.")
    assert made.status == 200
    name = made.json["id"]
    read = second.ask("GET", f"/v1/responses/{name}", headers=bearer(text))
    assert (read.status, read.json) == (200, made.json)
    assert ask(third, input="And then?", previous_response_id=name).status == 200
    assert fourth.ask("GET", f"/v1/responses/{name}", headers=bearer(other)).status == 404
    assert fourth.ask("DELETE", f"/v1/responses/{name}", headers=bearer(text)).status == 200
    assert first.ask("GET", f"/v1/responses/{name}", headers=bearer(text)).status == 404


def test_a_model_that_fails_at_one_is_given_up_at_the_first_failure_elsewhere(
    fleet: tuple[list[sidecars.Sidecar], str],
) -> None:
    (first, *others), place = fleet
    _, text = keys.create(TraceStore.at(place), "unlucky")

    def state(sidecar: sidecars.Sidecar) -> str:
        return str(sidecar.ask("GET", "/health/ready").json["breakers"]["gone"])

    for _ in range(3):
        assert state(first) == "closed"
        first.chat(model="gone", headers=bearer(text))
    assert state(first) == "open"
    assert [state(each) for each in others] == ["closed"] * 3  # a hint by itself opens nothing
    for each in others:

        def is_open(each: sidecars.Sidecar = each) -> bool:
            each.chat(model="gone", headers=bearer(text))
            return state(each) == "open"

        each.wait(is_open)


def test_a_budget_holds_while_postgresql_dies_and_comes_back_and_a_replica_is_killed(
    tmp_path: Path, postgres_binaries: Path
) -> None:
    with postgres.running(postgres_binaries) as server:
        _, figures = replicas.harmed(tmp_path, server, 500)
    assert figures["lost"] == 0
    assert 1 <= figures["counted"] <= 1.01, figures
    assert 0.99 <= figures["asked"] <= 1.01, figures
