"""Running it: settings, health, metrics, the access log, draining, reloading, workers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import postgres
import pytest
import sqlalchemy as sa
from sidecars import Sidecar, model, serving

from guard.errors import SettingError
from guard.sidecar import keys, process, settings
from guard.testing import fake_server
from guard.trace import TraceStore

SLOW = fake_server.Answer("Hello.", change=lambda body: [1.5, body])


def busy(sidecar: Sidecar, provider: fake_server.Server, **fields: Any) -> tuple[threading.Thread, list[Any]]:
    """Have a request under way; its reply comes into the list."""
    replies: list[Any] = []
    before = len(provider.requests)
    thread = threading.Thread(target=lambda: replies.append(sidecar.chat(**fields)))
    thread.start()
    sidecar.wait(lambda: len(provider.requests) > before)
    return thread, replies


def test_a_term_signal_drains_ready_turns_503_and_what_runs_finishes(tmp_path: Path) -> None:
    with fake_server.Server(SLOW) as provider, serving(tmp_path, model(provider.url)) as sidecar:
        assert sidecar.ask("GET", "/health/ready").status == 200
        thread, replies = busy(sidecar, provider)
        sidecar.process.send_signal(signal.SIGTERM)
        sidecar.wait(lambda: sidecar.ask("GET", "/health/ready").status == 503)
        assert sidecar.ask("GET", "/health/live").status == 200
        refused = sidecar.chat()
        assert (refused.status, refused.json["error"]["code"]) == (503, "draining")
        assert int(refused.headers["retry-after"]) >= 1
        thread.join()
        assert replies[0].status == 200
        assert sidecar.process.wait(30) == 0
        assert len(provider.requests) == 1


def test_what_does_not_finish_in_the_time_to_drain_is_ended_and_on_record(tmp_path: Path) -> None:
    hanging = fake_server.FAULTS["time-out"](fake_server.Answer(""))
    toml = "drain_seconds = 0.3\n"
    with fake_server.Server(hanging) as provider, serving(tmp_path, toml + model(provider.url)) as sidecar:
        connection = http.client.HTTPConnection(sidecar.host, sidecar.port, timeout=30)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]})
        connection.request("POST", "/v1/chat/completions", body)
        sidecar.wait(lambda: provider.requests)
        assert sidecar.end() == 0
        connection.close()
    with sqlite3.connect(tmp_path / "trace.db") as trace:
        assert trace.execute("SELECT outcome FROM calls").fetchall() == [("CancelledError",)]
    trace.close()


def test_above_the_number_in_flight_it_is_503_with_when_to_come_again(tmp_path: Path) -> None:
    toml = "in_flight = 1\n"
    with fake_server.Server(SLOW) as provider, serving(tmp_path, toml + model(provider.url)) as sidecar:
        thread, replies = busy(sidecar, provider)
        refused = sidecar.chat()
        assert (refused.status, refused.json["error"]["code"], refused.headers["retry-after"]) == (503, "busy", "1")
        assert sidecar.ask("GET", "/health/live").status == 200
        thread.join()
        assert replies[0].status == 200
        assert sidecar.chat().status == 200


def test_a_model_answers_no_more_at_once_than_it_may(tmp_path: Path) -> None:
    at_once: list[int] = []
    inside = 0
    lock = threading.Lock()

    def counted(_: fake_server.ClientRequest) -> fake_server.Answer:
        nonlocal inside
        with lock:
            inside += 1
            at_once.append(inside)

        def change(body: bytes) -> list[Any]:
            return [0.1, body]

        time.sleep(0.1)
        with lock:
            inside -= 1
        return fake_server.Answer("Hello.", change=change)

    with fake_server.Server(counted) as provider, serving(tmp_path, model(provider.url, concurrency=2)) as sidecar:
        fields: list[dict[str, Any]] = [{}, {"stream": True}, {"response_format": {"type": "json_object"}}] * 3
        threads = [threading.Thread(target=lambda f=f: sidecar.chat(**f)) for f in fields]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert max(at_once) == 2


def test_a_hangup_reads_the_settings_again_and_refuses_a_file_that_is_wrong(tmp_path: Path) -> None:
    with fake_server.Server("Hello.") as provider, serving(tmp_path, model(provider.url)) as sidecar:
        config = tmp_path / "guard.toml"
        good = config.read_text()
        config.write_text(good + model(provider.url, "second"))
        sidecar.process.send_signal(signal.SIGHUP)
        sidecar.wait(lambda: sidecar.chat(model="second").status == 200)
        config.write_text(good + "[serve.models.third]\nmodel = 3\n")
        sidecar.process.send_signal(signal.SIGHUP)
        sidecar.wait(lambda: any("not reloaded" in line for line in sidecar.errors))
        (line,) = [line for line in sidecar.errors if "not reloaded" in line]
        assert f"line {len(good.splitlines()) + 2}, serve.models.third.model" in line
        assert sidecar.chat(model="second").status == 200
        assert sidecar.chat(model="third").status == 404


def test_a_key_under_any_name_that_a_provider_echoes_is_in_no_record(tmp_path: Path) -> None:
    key = "correct-horse-battery"
    with (
        fake_server.Server(json.dumps({"a": key}), keeps_alive=True) as provider,
        serving(tmp_path, model(provider.url, api_key="env:MY_PROVIDER"), env={"MY_PROVIDER": key}) as sidecar,
    ):
        assert sidecar.chat(response_format={"type": "json_object"}).status == 200
        assert provider.requests[0].headers["authorization"] == f"Bearer {key}"
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(b"[redacted]" in file.read_bytes() for file in files)
    assert not any(key.encode() in file.read_bytes() for file in files)


def test_metrics_tell_of_calls_attempts_and_tokens_on_a_port_of_their_own_too(tmp_path: Path) -> None:
    with (
        fake_server.Server("nope", "{}", "Hello.") as provider,
        serving(tmp_path, "metrics_port = 0\n" + model(provider.url)) as sidecar,
    ):
        sidecar.chat(response_format={"type": "json_object"})
        sidecar.chat()
        text = sidecar.ask("GET", "/metrics").data.decode()
        connection = http.client.HTTPConnection("127.0.0.1", sidecar.metrics_port, timeout=10)
        connection.request("GET", "/metrics")
        apart = connection.getresponse().read().decode()
        connection.close()
    for line in (
        'guard_requests_total{model="m",path="/v1/chat/completions",status="200"} 2.0',
        'guard_calls_total{model="m",outcome="valid"} 2.0',
        'guard_attempts_total{model="m"} 3.0',
        'guard_re_asks_total{model="m"} 1.0',
        'guard_tokens_total{kind="completion",model="m"} 21.0',
    ):
        assert line in text
        assert line in apart


def test_the_access_log_is_lines_of_json_without_what_was_asked_unless_that_is_opted_into(tmp_path: Path) -> None:
    for number, opted in enumerate((False, True)):
        folder = tmp_path / str(number)
        folder.mkdir()
        toml = f"log_prompts = {str(opted).lower()}\n"
        with fake_server.Server("An answer.") as provider, serving(folder, toml + model(provider.url)) as sidecar:
            reply = sidecar.chat("my secret question", headers={"x-request-id": "abc-1"})
            sidecar.chat("my secret question", headers={"x-request-id": "no good\tid"}, response_format={"type": "xml"})
            sidecar.end()
            first, second = sidecar.log
            said = (folder / "access.jsonl").read_text() + "\n".join(sidecar.errors)
        assert reply.headers["x-request-id"] == "abc-1"
        assert (first["id"], first["status"], first["model"], first["outcome"]) == ("abc-1", 200, "m", "valid")
        assert (first["tokens"], first["attempts"], first["call"]) == (18, 1, 1)
        assert second["id"].startswith("req-")
        assert second["status"] == 400
        assert ("my secret question" in said, "An answer." in said) == (opted, False)


def test_workers_share_the_port_the_trace_the_metrics_and_a_reload(tmp_path: Path) -> None:
    toml = "workers = 2\nmetrics_port = 0\n"
    with fake_server.Server("Hello.") as provider, serving(tmp_path, toml + model(provider.url)) as sidecar:
        sidecar.wait(lambda: sidecar.ask("GET", "/health/live").status == 200)
        for _ in range(30):
            assert sidecar.chat().status == 200
        counted = 'guard_requests_total{model="m",path="/v1/chat/completions",status="200"} 30.0'
        # The last one is counted by its worker once its answer is out.
        sidecar.wait(lambda: counted in sidecar.ask("GET", "/metrics").data.decode())
        connection = http.client.HTTPConnection("127.0.0.1", sidecar.metrics_port, timeout=10)
        connection.request("GET", "/metrics")
        assert counted in connection.getresponse().read().decode()
        connection.close()
        config = tmp_path / "guard.toml"
        config.write_text(config.read_text() + model(provider.url, "second"))
        sidecar.process.send_signal(signal.SIGHUP)
        sidecar.wait(lambda: all(sidecar.chat(model="second").status == 200 for _ in range(10)))
        assert sidecar.end() == 0
    with sqlite3.connect(tmp_path / "trace.db") as trace:
        assert trace.execute("SELECT count(*) FROM calls WHERE function = '/v1/chat/completions'").fetchone()[0] >= 40
    trace.close()


def test_the_trace_may_lie_in_postgresql(tmp_path: Path, postgres_server: postgres.Server) -> None:
    env = {"GUARD_TRACE": postgres_server.place()}
    with fake_server.Server("{}") as provider, serving(tmp_path, model(provider.url), env=env) as sidecar:
        assert sidecar.chat().status == 200
        assert sidecar.chat(response_format={"type": "json_object"}).headers["x-guard-call"] == "2"
        assert sidecar.chat(stream=True).events[-1] == "[DONE]"
        listed = sidecar.ask("GET", "/guard/traces").json["calls"]
        assert [call["outcome"] for call in listed] == ["valid"] * 3
        (points,) = sidecar.ask("GET", "/guard/stats").json["models"].values()
        assert sum(point["calls"] for point in points) == 3
        assert sidecar.end() == 0


def test_a_stranger_is_not_told_where_the_trace_is_that_fails(tmp_path: Path, postgres_binaries: Path) -> None:
    with fake_server.Server("Hello.") as provider, postgres.running(postgres_binaries) as server:
        trace = server.url.replace("//postgres@", "//postgres:hush-hush@")
        with serving(tmp_path, model(provider.url), env={"GUARD_TRACE": trace}) as it:
            assert it.chat().status == 200
            server.die()
            failed = it.chat()
            assert (failed.status, failed.json["error"]["code"]) == (503, "trace_unavailable")
            assert failed.headers["retry-after"] == "1"
            it.wait(lambda: it.ask("GET", "/health/ready").status == 503)
            said = [failed, it.chat(), it.chat(stream=True), it.ask("GET", "/health/ready")]
            for words in (reply.data.decode() for reply in said):
                assert "the trace can't be " in words
                assert "postgres" not in words
                assert "guard-pg" not in words
            it.wait(lambda: any("postgresql://postgres:***@/postgres" in line for line in it.errors))
            assert not any("hush-hush" in line for line in it.errors)
            server.rise()
            it.wait(lambda: it.chat().status == 200)


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    with fake_server.Server("Hello.") as provider, serving(tmp_path, "workers = 2\n" + model(provider.url)) as sidecar:
        sidecar.wait(lambda: sidecar.ask("GET", "/health/live").status == 200)
        os.kill(workers_of(sidecar)[0], signal.SIGKILL)
        sidecar.wait(lambda: any("another begins" in line for line in sidecar.errors))
        assert all(sidecar.chat().status == 200 for _ in range(10))
        assert sidecar.end() == 0


def test_a_worker_that_can_not_take_anothers_place_is_tried_again_with_the_trace_of_the_start(tmp_path: Path) -> None:
    """One that died while PostgreSQL was away, or the file was wrong, ended all the others."""
    with fake_server.Server("Hello.") as provider, serving(tmp_path, "workers = 2\n" + model(provider.url)) as sidecar:
        sidecar.process.send_signal(signal.SIGHUP)
        sidecar.wait(lambda: sum("reloaded" in line for line in sidecar.errors) == 2)  # both serve
        config = tmp_path / "guard.toml"
        good = config.read_text()
        config.write_text("[serve\n")
        first, second = workers_of(sidecar)
        os.kill(first, signal.SIGKILL)
        sidecar.wait(lambda: any("ended with 1; another begins" in line for line in sidecar.errors))
        assert all(sidecar.chat().status == 200 for _ in range(10))
        config.write_text(good.replace("trace.db", "other.db"))
        os.kill(second, signal.SIGKILL)
        sidecar.wait(lambda: sidecar.chat().status == 200, 60)
        assert not (tmp_path / "other.db").exists()
        assert sidecar.end() == 0


def test_a_reload_that_comes_while_workers_begin_waits_until_they_serve(tmp_path: Path) -> None:
    """SIGHUP ended them, and a process alone."""
    with fake_server.Server("Hello.") as provider, serving(tmp_path, "workers = 2\n" + model(provider.url)) as sidecar:
        sidecar.process.send_signal(signal.SIGHUP)
        sidecar.wait(lambda: sum("reloaded" in line for line in sidecar.errors) == 2)
        assert not any("ended" in line for line in sidecar.errors)
        assert sidecar.end() == 0


def workers_of(sidecar: Sidecar) -> list[int]:
    """Return the two workers of a sidecar."""
    children = Path(f"/proc/{sidecar.process.pid}/task/{sidecar.process.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 2
    return workers


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_drains_workers(tmp_path: Path, sig: int) -> None:
    """A worker took the parent's word for a second signal: Ctrl-C cut off what ran, with 503."""
    with fake_server.Server(SLOW) as provider, serving(tmp_path, "workers = 2\n" + model(provider.url)) as sidecar:
        sidecar.wait(lambda: sidecar.ask("GET", "/health/live").status == 200)
        thread, replies = busy(sidecar, provider)
        for pid in (*workers_of(sidecar), sidecar.process.pid):
            os.kill(pid, sig)
        thread.join()
        assert replies[0].status == 200
        assert sidecar.process.wait(30) == 0


def test_a_second_signal_ends_workers_at_once(tmp_path: Path) -> None:
    hanging = fake_server.FAULTS["time-out"](fake_server.Answer(""))
    with fake_server.Server(hanging) as provider, serving(tmp_path, "workers = 2\n" + model(provider.url)) as sidecar:
        thread, replies = busy(sidecar, provider)
        sidecar.process.send_signal(signal.SIGINT)
        sidecar.wait(lambda: any("draining" in line for line in sidecar.errors))
        sidecar.process.send_signal(signal.SIGINT)
        assert sidecar.process.wait(10) == 0
        thread.join()
        assert replies[0].json["error"]["code"] == "draining"


def test_workers_whose_parent_was_killed_finish_what_runs_and_end(tmp_path: Path) -> None:
    """They lived on, held the port, and nobody was left to end them."""
    with fake_server.Server(SLOW) as provider, serving(tmp_path, "workers = 2\n" + model(provider.url)) as sidecar:
        workers = workers_of(sidecar)
        thread, replies = busy(sidecar, provider)
        sidecar.process.kill()
        thread.join()
        try:
            assert replies[0].status == 200
            sidecar.wait(lambda: is_free(sidecar))
        except BaseException:  # they would outlive the test
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            raise


def is_free(sidecar: Sidecar) -> bool:
    """Whether nobody listens on the port."""
    with socket.socket() as client:
        return client.connect_ex((sidecar.host, sidecar.port)) != 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[serve]\nport = 1\nprot = 3\n", "line 3, serve.prot: there is no such key"),
        ("[serve]\n\nport = 'x'\n", "line 3, serve.port: must be a whole number"),
        ("[serve.models.a]\nmodel = 'openai:x'\napi_key = 'sk-12345678'\n", "line 3, serve.models.a.api_key: a secret"),
        ("[serve.models.a]\nmodel = 'openai:x'\napi_key = 'env:NOPE'\n", "line 3, serve.models.a.api_key: the environ"),
        ("[serve.models.a]\nmodel = 'openai:x'\nescalate_to = ['b']\n", "line 3, serve.models.a.escalate_to: models.a"),
        ("[serve.models.a]\nmodel = 'smollm2'\nbase_url = 'http://x'\n", "line 1, serve.models.a: base_url belongs to"),
        ("[serve.models.a]\nmodel = 'openai:x'\nbase_url = 'ftp://x'\n", "line 3, serve.models.a.base_url"),
        ("[serve\n", "(at line 1, column 7)"),
        ("serve = 3\n", "serve must be a table"),
        ("[serve.models.a]\nmodel = 'gpt-5'\n", "line 2, serve.models.a.model: unknown model 'gpt-5'; did"),
    ],
)
def test_what_is_wrong_with_the_settings_is_said_with_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(text)
    with pytest.raises(SettingError) as raised:
        settings.load(file)
    assert said in str(raised.value)
    assert "sk-12345678" not in str(raised.value)


def test_variables_of_the_environment_override_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "guard.toml"
    file.write_text("[serve]\nport = 1\n[serve.models.fast]\nmodel = 'openai:x'\nretries = 4\n")
    monkeypatch.setenv("GUARD_SERVE__PORT", "4242")
    monkeypatch.setenv("GUARD_SERVE__MODELS__FAST__CONCURRENCY", "7")
    found, _ = settings.load(file)
    fast = found.models["fast"]
    assert (found.port, fast.concurrency, fast.retries) == (4242, 7, 4)
    monkeypatch.setenv("GUARD_SERVE__PORT", "none")
    with pytest.raises(SettingError, match=r"^GUARD_SERVE__PORT: "):
        settings.load(file)


def test_a_variable_is_of_the_model_whose_name_differs_in_capitals_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "guard.toml"
    file.write_text("[serve.models.A]\nmodel = 'openai:x'\nretries = 4\n[serve.models.b]\nmodel = 'smollm2'\n")
    monkeypatch.setenv("GUARD_SERVE__MODELS__A__CONCURRENCY", "5")
    monkeypatch.setenv("GUARD_SERVE__MODELS__C__MODEL", "openai:y")
    found, _ = settings.load(file)
    assert {name: (m.model, m.retries, m.concurrency) for name, m in found.models.items()} == {
        "A": ("openai:x", 4, 5),
        "b": ("smollm2", 2, None),
        "c": ("openai:y", 2, None),
    }
    monkeypatch.setenv("GUARD_SERVE__MODELS__A__CONCURRENCY", "none")
    with pytest.raises(SettingError, match=r"^GUARD_SERVE__MODELS__A__CONCURRENCY: must be a whole number"):
        settings.load(file)
    monkeypatch.setenv("GUARD_SERVE__MODELS__A__CONCURRENCY", "5")
    file.write_text("[serve.models.FAst]\nmodel = 'openai:x'\n[serve.models.faST]\nmodel = 'smollm2'\n")
    monkeypatch.setenv("GUARD_SERVE__MODELS__FAST__CONCURRENCY", "5")
    with pytest.raises(SettingError, match="FAst and faST differ in capitals alone, which no variable can tell"):
        settings.load(file)


def test_without_settings_it_is_smollm2_on_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found, _ = settings.load()
    assert (found.host, found.port, {n: m.model for n, m in found.models.items()}) == (
        "127.0.0.1",
        8080,
        {"smollm2": "smollm2"},
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_model_that_can_not_be_loaded_ends_the_start_with_its_reason(tmp_path: Path, workers: str) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(
        f'trace = "{tmp_path / "t.db"}"\n[serve]\nport = 0\n[serve.models.a]\nmodel = "llamacpp:/nonesuch.gguf"\n'
    )
    command = [sys.executable, "-m", "guard", "serve", "--workers", workers, "--config", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 4
    assert "guard: " in run.stderr
    assert "Traceback" not in run.stderr


def test_check_says_whether_it_could_start(tmp_path: Path) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(f'trace = "{tmp_path / "t.db"}"\n' + model("http://127.0.0.1:1/v1", "fast"))
    command = [sys.executable, "-m", "guard", "serve", "--check", "--config", str(file)]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout.splitlines()[0]) == (0, "fast: openai:served-1")
    file.write_text("[serve]\nport = 70000\n")
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert bad.stderr.startswith(f"guard: {file}, line 2, serve.port: ")


def checked(folder: Path, lines: str = "", *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Return what `guard serve --check` says of the trace below `folder`, with one model."""
    config = folder / "guard.toml"
    config.write_text(
        f'trace = "{folder / "a/b/t.db"}"\n[serve]\nport = 0\n{lines}\n[serve.models.m]\nmodel = "smollm2"\n'
    )
    command = [sys.executable, "-m", "guard", "serve", "--check", "--config", str(config), *options]
    plain = {name: value for name, value in os.environ.items() if name != "GUARD_TRACE"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**plain, **env})


def test_check_makes_no_trace(tmp_path: Path) -> None:
    assert checked(tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["guard.toml"]


@pytest.mark.parametrize("has_key", [True, False])
def test_check_leaves_an_older_trace_as_it_is(tmp_path: Path, has_key: bool) -> None:
    place = tmp_path / "a" / "b" / "t.db"
    store = TraceStore(place)
    if has_key:
        keys.create(store, "shop")
    store.check_writable()
    with store.begin() as connection:
        connection.execute(sa.text("UPDATE guard_schema SET version = 9"))
    store.close()
    before = place.read_bytes(), sorted(place.parent.iterdir())
    done = checked(tmp_path, 'host = "0.0.0.0"')
    assert done.returncode == (0 if has_key else 2), done.stderr
    assert ("there is no key yet" in done.stderr) is not has_key
    assert (place.read_bytes(), sorted(place.parent.iterdir())) == before


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda place: place.mkdir(), "it is a folder"),
        (lambda place: os.mkfifo(place), "is neither a file nor a new one's name"),
        (
            lambda place: place.write_text("Not a database, and longer than a header of one." * 9),
            "file is not a database",
        ),
        (
            lambda place: sqlite3.connect(place).execute("CREATE TABLE calls (x)").connection.close(),
            "another program's",
        ),
    ],
)
def test_check_says_why_a_trace_can_not_be_written(tmp_path: Path, spoil: Any, said: str) -> None:
    place = tmp_path / "a" / "b" / "t.db"
    place.parent.mkdir(parents=True)
    spoil(place)
    done = checked(tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
    assert list(place.parent.iterdir()) == [place]


def test_check_says_that_a_folder_of_the_trace_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    done = checked(tmp_path)
    assert f"{tmp_path / 'a'} is no folder" in done.stderr


@pytest.mark.parametrize("lines", ["", '[serve.models.t]\nmodel = "tuned:x"'])
def test_check_knows_which_models_were_tuned(tmp_path: Path, lines: str) -> None:
    done = checked(tmp_path, lines, GUARD_REGISTRY=str(tmp_path / "models"))
    assert (done.returncode, "no model of x was tuned" in done.stderr) == ((4, True) if lines else (0, False))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('model = "transformers:/nonesuch"\n', "the setting model='transformers:/nonesuch': no such folder: /nonesuch"),
        ("[serve]\nport = 18123\nmetrics_port = 18123\n", "metrics_port=18123 is also the port; name another"),
        (
            "[serve]\nport = 18123\nmetrics_port = 18123\nmetrics_host = '0.0.0.0'\n",
            "metrics_port=18123 is also the port; name another",
        ),
        (
            "[serve]\nmetrics_port = 0\nmetrics_host = 'nohost.invalid'\n",
            "can't listen on metrics_host='nohost.invalid', metrics_port=0: ",
        ),
        ("[serve]\nhost = 'nohost.invalid'\n", "can't listen on host='nohost.invalid', port=8080: "),
        ("[serve]\nhost = '192.0.2.1'\n", "can't listen on host='192.0.2.1', port=8080: Cannot assign requested"),
        ("[serve]\naccess_log = '/'\n", "access_log='/' can't be written: it is a folder"),
        ('[serve]\naccess_log = "a\\u0000b"\n', "access_log='a\\x00b' can't be written: no file has such a name"),
        ("[serve]\naccess_log = '/nonesuch/a'\n", "access_log='/nonesuch/a' can't be written: there is no folder"),
    ],
)
def test_settings_that_no_server_can_start_with_are_named_by_the_check_and_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, said: str
) -> None:
    monkeypatch.delenv("GUARD_TRACE", raising=False)
    (tmp_path / "guard.toml").write_text(f'trace = "{tmp_path / "t.db"}"\n{lines}')
    keys.create(TraceStore(tmp_path / "t.db"), "x")  # a host beyond loopback needs one
    start = process.Start(tmp_path / "guard.toml")
    for begun in (process.check, process.run):
        with pytest.raises(SettingError) as raised:
            begun(start)
        assert str(raised.value).startswith(said)


def test_the_check_passes_while_a_server_runs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = tmp_path / "guard.toml"
        log = tmp_path / "access.jsonl"
        lines = f"port = {port}\nmetrics_port = {port}\nmetrics_host = '127.0.0.2'\naccess_log = '{log}'\n"
        file.write_text(f'trace = "{tmp_path / "t.db"}"\n[serve]\n{lines}')
        assert process.check(process.Start(file)).port == port
        assert not log.exists()
        with pytest.raises(SettingError, match=f"^can't listen on 127.0.0.1:{port}: Address already in use"):
            process.run(process.Start(file))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "PROT",
            "the environment variable GUARD_SERVE__PROT: there is no such setting; did you mean GUARD_SERVE__PORT?",
        ),
        ("PORT__X", "the environment variable GUARD_SERVE__PORT__X: there is no such setting; did you mean GUARD_SER"),
        ("MODEL__FAST__MODEL", "the environment variable GUARD_SERVE__MODEL__FAST__MODEL: there is no such setting;"),
        ("MODELS__FAST__FOO", "GUARD_SERVE__MODELS__FAST__FOO: there is no such key; known are model, "),
        ("MODELS__FAST__RETRIES", "GUARD_SERVE__MODELS__FAST__RETRIES, serve.models.fast.model: Field required"),
    ],
)
def test_a_variable_that_is_no_setting_of_the_sidecar_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"GUARD_SERVE__{name}", "1")
    with pytest.raises(SettingError) as raised:
        settings.load()
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(
    ("name", "value"),
    [("ORIGINS", "https://a.example"), ("MODELS", '{"a":'), ("MODELS__A", "x"), ("MODELS__A__ESCALATE_TO", "b")],
)
def test_a_variable_that_must_be_json_and_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARD_SERVE__MODELS__A__MODEL", "smollm2")
    monkeypatch.setenv(f"GUARD_SERVE__{name}", value)
    with pytest.raises(SettingError) as raised:
        settings.load()
    assert str(raised.value).startswith(f"GUARD_SERVE__{name}")


def test_a_variable_with_one_underscore_is_refused_and_an_unknown_one_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARD_SERVE__FOO", "1")
    monkeypatch.setattr("guard.settings._told", set())
    for _ in range(2):
        settings.load()
    (told,) = caplog.messages
    assert told.startswith(
        "the environment variable GUARD_SERVE__FOO is no setting of Guard's; there are GUARD_SERVE__A"
    )
    monkeypatch.setenv("GUARD_SERVE_PORT", "1")
    with pytest.raises(SettingError, match=r"GUARD_SERVE_PORT: there is no such setting; did you mean GUARD_SERVE__P"):
        settings.load()


# -- Credentials -------------------------------------------------------------------------------------------------------

SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
WAYS: list[dict[str, Any]] = [{}, {"response_format": {"type": "json_object"}}, {"response_format": SCHEMA}]


@pytest.mark.parametrize("is_given", [False, True])
def test_a_models_own_address_is_not_sent_the_environments_key(tmp_path: Path, is_given: bool) -> None:
    canaries = {"OPENAI_API_KEY": "canary-key", "OPENAI_ORG_ID": "canary-org", "GIVEN": "given-key"}
    own = {"api_key": "env:GIVEN"} if is_given else {}
    with (
        fake_server.Server('{"a": 1}') as provider,
        serving(tmp_path, model(provider.url, **own), env=canaries) as sidecar,
    ):
        for fields in WAYS:
            for stream in (False, True):
                assert sidecar.chat(stream=stream, **fields).status == 200
        assert len(provider.requests) == 6
        for request in provider.requests:
            assert "canary" not in str(request.headers)
            assert ("given-key" in str(request.headers)) == is_given


def test_a_password_in_the_environments_address_is_sent_and_nowhere_shown(tmp_path: Path) -> None:
    secret = "hunter2hunter2"
    answers = ['{"a": 1}'] * 6 + [fake_server.error(400, f"not for user:{secret}")]
    with fake_server.Server(*answers) as provider:
        env = {"OPENAI_BASE_URL": provider.url.replace("://", f"://user:{secret}@")}
        toml = '[serve.models.m]\nmodel = "openai:served-1"\ntransport_retries = 0\n'
        with serving(tmp_path, toml, env=env) as sidecar:
            for fields in WAYS:
                for stream in (False, True):
                    assert sidecar.chat(stream=stream, **fields).status == 200
            refused = [sidecar.chat(**fields).data for fields in WAYS]
            shown = [*refused, *(sidecar.ask("GET", f"/guard/{page}").data for page in ("live", "traces", "failures"))]
            assert all(request.headers["authorization"].startswith("Basic ") for request in provider.requests)
            assert not any(secret.encode() in data for data in shown)
            sidecar.end()
            assert secret not in "\n".join(sidecar.errors) + str(sidecar.log)
            assert secret.encode() not in sidecar.trace.read_bytes()


@pytest.mark.parametrize(
    "line",
    [
        'base_url = "http://user:hunter2@model.example/v1"',
        'base_url = "http://hunter2@model.example"',
        'base_url = "http://model.example/v1?key=hunter2"',
        'base_url = "hunter2"',
        'base_url = ["hunter2"]',
        'api_key = "hunter2"',
        'apikey = "hunter2"',
        'password = "hunter2"',
    ],
)
def test_what_may_be_a_secret_is_not_shown_where_it_is_wrong(tmp_path: Path, line: str) -> None:
    config = tmp_path / "guard.toml"
    config.write_text(f'trace = "{tmp_path / "trace.db"}"\n[serve.models.m]\nmodel = "openai:served-1"\n{line}\n')
    command = [sys.executable, "-m", "guard", "serve", "--check", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "line 4" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
