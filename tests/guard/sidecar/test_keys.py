"""Keys: who may ask, how much, and that nothing of a key is kept or shown."""

from __future__ import annotations

import contextlib
import http.client
import json
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import traces
from sidecars import Sidecar, model, serving

from guard.sidecar import keys, rate_limits
from guard.sidecar.keys import Keyring
from guard.sidecar.rate_limits import Ledger
from guard.testing import fake_server
from guard.trace import TraceStore


def guard(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "guard", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def made(folder: Path, *arguments: str) -> tuple[str, str]:
    """Make a key in a folder's trace; returns its id and the key."""
    (folder / "guard.toml").write_text(f'trace = "{folder / "trace.db"}"\n')
    found = guard("keys", "create", *arguments, "--json", "--config", "guard.toml", folder=folder)
    assert found.returncode == 0, found.stderr
    key = json.loads(found.stdout)
    return key["id"], key["key"]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_key_is_made_listed_and_revoked_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    key_id, key = made(tmp_path, "shop", "--requests-per-minute", "60")
    assert key.startswith("sk-guard-")
    for path in tmp_path.glob("trace.db*"):
        assert key.encode() not in path.read_bytes()
        assert key.split("-", 3)[3].encode() not in path.read_bytes()  # the secret, which may have dashes
    listed = guard("keys", "list", "--json", "--config", "guard.toml", folder=tmp_path)
    row = json.loads(listed.stdout)
    assert (row["id"], row["name"], row["requests_per_minute"], row["revoked"]) == (key_id, "shop", 60, None)
    assert "digest" not in row
    assert key not in listed.stdout
    assert guard("keys", "revoke", key, "--config", "guard.toml", folder=tmp_path).returncode == 2
    assert guard("keys", "revoke", key_id, "--config", "guard.toml", folder=tmp_path).returncode == 0
    assert guard("keys", "revoke", key_id, "--config", "guard.toml", folder=tmp_path).returncode == 2
    assert "revoked" in guard("keys", "list", "--config", "guard.toml", folder=tmp_path).stdout


def test_where_a_key_was_ever_made_each_request_needs_one_and_operators_alone_see_traces(tmp_path: Path) -> None:
    key_id, key = made(tmp_path, "shop")
    _, operator = made(tmp_path, "boss", "--operator")
    with fake_server.Server("Hello.") as provider, serving(tmp_path, model(provider.url)) as sidecar:
        for headers in ({}, bearer("sk-guard-x-y"), bearer(key[:-1]), {"Authorization": f"Basic {key}"}, bearer("é")):
            reply = sidecar.chat(headers=headers)
            assert (reply.status, reply.json["error"]["code"]) == (401, "invalid_api_key")
        assert sidecar.ask("GET", "/v1/models").status == 401
        assert sidecar.ask("GET", "/health/ready").status == 200
        assert sidecar.chat(headers=bearer(key)).status == 200
        for path in ("/guard/traces", "/guard/live", "/guard/stats", "/guard/failures", "/metrics", "/guard/traces/1"):
            assert sidecar.ask("GET", path, headers=bearer(key)).status == 403
            assert sidecar.ask("GET", path, headers=bearer(operator)).status == 200
        assert len(provider.requests) == 1
        guard("keys", "revoke", key_id, "--config", "guard.toml", folder=tmp_path)
        sidecar.wait(lambda: sidecar.chat(headers=bearer(key)).status == 401)
        _, later = made(tmp_path, "later")
        sidecar.wait(lambda: sidecar.chat(headers=bearer(later)).status == 200)
        sidecar.end()
        text = (tmp_path / "access.jsonl").read_text() + "\n".join(sidecar.errors)
        assert not any(secret in text for secret in (key, operator, later))
        assert {line["key"] for line in sidecar.log} == {None, "shop", "boss", "later"}


def test_without_a_key_it_listens_on_loopback_only(tmp_path: Path) -> None:
    (tmp_path / "guard.toml").write_text(f'trace = "{tmp_path / "trace.db"}"\n')
    command = ("serve", "--config", "guard.toml", "--host", "0.0.0.0", "--port", "0")  # noqa: S104 (refused)
    refused = guard(*command, folder=tmp_path)
    assert refused.returncode == 2
    assert "there is no key yet" in refused.stderr
    key_id, _ = made(tmp_path, "shop")
    assert guard(*command, "--check", folder=tmp_path).returncode == 0
    guard("keys", "revoke", key_id, "--config", "guard.toml", folder=tmp_path)
    assert guard(*command, "--check", folder=tmp_path).returncode == 2


def test_a_web_page_of_elsewhere_can_not_use_a_sidecar_that_needs_no_key(sidecar: Sidecar) -> None:
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example:8080"}, 403),  # a name that was made to lead here
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"Host": "[::1].evil.example"}, 403),  # some readers of addresses call that ::1
    ):
        assert sidecar.chat(headers=headers).status == status, headers


def test_a_rate_is_kept_and_says_when_to_come_again(tmp_path: Path) -> None:
    _, key = made(tmp_path, "shop", "--requests-per-minute", "3")
    with fake_server.Server("Hello.") as provider, serving(tmp_path, model(provider.url)) as sidecar:
        _early_in_a_minute()
        replies = [sidecar.chat(headers=bearer(key)) for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert replies[-1].json["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(replies[-1].headers["retry-after"]) <= 60


@pytest.mark.parametrize("schema", [False, True])
def test_a_budget_is_kept_and_counts_every_attempt(tmp_path: Path, schema: bool) -> None:
    _, key = made(tmp_path, "shop", "--tokens-per-day", "30")
    fields: dict[str, Any] = {"response_format": {"type": "json_object"}} if schema else {}
    with fake_server.Server("{}", keeps_alive=True) as provider, serving(tmp_path, model(provider.url)) as sidecar:
        replies = [sidecar.chat(headers=bearer(key), **fields) for _ in range(3)]  # 18 tokens each
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[-1].json["error"]["code"] == "insufficient_quota"
    assert replies[-1].headers["x-should-retry"] == "false"


@pytest.mark.parametrize("way", ["buffered", "live"])
def test_a_budget_counts_what_was_spent_for_a_client_that_went_away(tmp_path: Path, way: str) -> None:
    _, key = made(tmp_path, "shop", "--tokens-per-day", "5")
    hanging = fake_server.Answer('{"a": "long"}', change=lambda body: [body[: len(body) // 2], fake_server.HANG])
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
        "stream": True,
    }
    headers = {**bearer(key), "x-guard-stream": way, "x-request-id": "left"}
    with fake_server.Server() as provider, serving(tmp_path, model(provider.url)) as sidecar:
        # Live there is one attempt, and part of its answer is there; buffered a whole one, which was not valid.
        provider.answers = [hanging] if way == "live" else ["nope", hanging]
        connection = http.client.HTTPConnection(sidecar.host, sidecar.port, timeout=60)
        connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
        if way == "live":
            connection.getresponse().read(1)
        sidecar.wait(lambda: len(provider.requests) == len(provider.answers))
        connection.close()
        sidecar.wait(lambda: any(line["id"] == "left" for line in sidecar.log))
        provider.answers = ["Hello."]
        reply = sidecar.chat(headers=bearer(key))
        assert (reply.status, reply.json["error"]["code"]) == (429, "insufficient_quota")


def test_a_budget_of_money_asks_no_model_without_a_known_price(tmp_path: Path) -> None:
    _, key = made(tmp_path, "shop", "--usd-per-day", "1")
    with fake_server.Server("Hello.") as provider, serving(tmp_path, model(provider.url)) as sidecar:
        for fields in ({}, {"stream": True}, {"response_format": {"type": "json_object"}}):
            reply = sidecar.chat(headers=bearer(key), **fields)
            assert (reply.status, reply.json["error"]["code"]) == (403, "no_price")
        assert provider.requests == []


def test_processes_share_a_rate_to_the_request(place: str) -> None:
    store = TraceStore.at(place)
    key, _ = keys.create(store, "shop", requests_per_minute=500)
    ledgers = [Ledger(TraceStore(place)) for _ in range(4)]
    admitted = [0] * len(ledgers)

    def work(number: int) -> None:
        ledger = ledgers[number]
        for _ in range(200):
            if ledger.take(key) or ledger.admit(key) is None:
                admitted[number] += 1

    _early_in_a_minute()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(ledgers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Never more; less only by portions that a ledger took and had no use for.
    assert 500 - len(ledgers) * (500 // rate_limits.PORTIONS) <= sum(admitted) <= 500


def test_processes_share_a_budget(place: str) -> None:
    key, _ = keys.create(TraceStore.at(place), "shop", usd_per_day=1.0, tokens_per_day=2**53)
    first, second = Ledger(TraceStore(place)), Ledger(TraceStore(place))
    assert second.admit(key) is None
    for ledger in (first, second):
        ledger.owe(key, 10, 0.6)
        ledger.charge()
    for ledger in (first, second):
        excess = ledger.admit(key)
        assert excess is not None
        assert (excess.what, excess.is_budget) == ("usd_per_day=1", True)


def test_keys_are_found_in_any_database(place: str) -> None:
    store = TraceStore.at(place)
    ring = Keyring(store)
    ring.refresh()
    assert not ring.is_used
    key, text = keys.create(store, "shop", is_operator=True, usd_per_day=0.5)
    ring.refresh()
    assert ring.find(text) == key
    assert ring.find(text + "x") is None
    assert keys.revoke(store, key.id)
    ring.refresh()
    assert (ring.find(text), ring.is_used, keys.are_there(store)) == (None, True, False)


def test_a_key_in_a_log_without_its_index_is_there(tmp_path: Path) -> None:
    """As after a kill, in a copy of the file and its log: the log was not read, so that there was none."""
    code = """
import os, sys
from guard.sidecar import keys
from guard.trace import TraceStore

store = TraceStore(sys.argv[1])
store.check_writable()
keys.create(store, "ci")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "t"], check=True)
    (tmp_path / "t-shm").unlink()
    assert (tmp_path / "t-wal").stat().st_size > 0
    assert keys.are_there(TraceStore(tmp_path / "t"))


def test_a_trace_that_an_older_guard_wrote_gets_the_tables(tmp_path: Path) -> None:
    place = tmp_path / "old.db"
    TraceStore(place).check_writable()
    with sqlite3.connect(place) as old:
        for statement in traces.to_version_5(place):
            old.execute(statement)
        old.execute("DROP TABLE keys")
        old.execute("DROP TABLE spending")
        old.execute("DROP TABLE totals")
        old.execute("DROP INDEX ix_calls_failed")
        old.execute("UPDATE guard_schema SET version = 3")
    old.close()
    key, text = keys.create(TraceStore(place), "shop")
    ring = Keyring(TraceStore(place))
    ring.refresh()
    assert ring.find(text) == key


def _early_in_a_minute() -> None:
    """Wait, where the minute is nearly over, for the next: a count by the minute begins anew in it."""
    left = 60 - time.time() % 60
    if left < 15:
        time.sleep(left + 0.05)


def test_that_keys_cant_be_read_is_said_once_and_those_known_before_are_kept(tmp_path: Path) -> None:
    """Each worker said so each second."""
    _, key = made(tmp_path, "shop")
    with fake_server.Server("prose") as provider, serving(tmp_path, model(provider.url)) as sidecar:
        assert sidecar.chat(headers=bearer(key)).status == 200
        for times in (1, 2):
            _rename(tmp_path / "trace.db", "keys", "gone")
            sidecar.wait(lambda times=times: _said(sidecar) == times)
            time.sleep(1.6 * keys.FRESH)
            assert _said(sidecar) == times
            assert sidecar.chat(headers=bearer(key)).status == 200
            _rename(tmp_path / "trace.db", "gone", "keys")
            time.sleep(1.6 * keys.FRESH)
        assert _said(sidecar) == 2


def _said(sidecar: Sidecar) -> int:
    return sum("the keys can't be read" in line for line in sidecar.errors)


def _rename(trace: Path, old: str, new: str) -> None:
    with contextlib.closing(sqlite3.connect(trace, timeout=30)) as connection:
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")
