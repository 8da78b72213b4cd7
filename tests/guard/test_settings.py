"""Settings: every number has its bounds, and what is beyond them is refused with its key and its line."""

from __future__ import annotations

import math
import types
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import guard
from guard.calls.policy import Budget, Policy
from guard.decoding.confidence import Confidence
from guard.errors import ModelError, SettingError
from guard.models.base import Request
from guard.settings import Settings
from guard.sidecar.settings import ModelSettings, ServeSettings
from guard.trace.retention import Retention

#: What no number of a setting may be, as TOML writes it.
WRONG = ("inf", "-inf", "nan", "-1", "1e308", "true", "false", "9" * 400, "9" * 5_000, '"x"', "[1]", "{}")
MODEL = '[serve.models.m]\nmodel = "openai:x"\n'


def _numbers(kind: type[BaseModel]) -> list[str]:
    """List the fields that hold numbers, by their types."""

    def holds(annotation: Any) -> bool:
        if typing.get_origin(annotation) in (typing.Union, types.UnionType):
            return any(map(holds, typing.get_args(annotation)))
        if typing.get_origin(annotation) is typing.Annotated:
            return holds(typing.get_args(annotation)[0])
        return annotation in (int, float)

    return [name for name, field in kind.model_fields.items() if holds(field.annotation)]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    ("kind", "field"),
    [(kind, field) for kind in (ServeSettings, ModelSettings, Settings) for field in _numbers(kind)],
)
def test_no_number_is_taken_that_is_none_or_beyond_its_bounds(
    tmp_path: Path, kind: Any, field: str, wrong: str
) -> None:
    if field == "seed" and wrong == "-1":
        return  # which is a seed as good as any
    file = tmp_path / "guard.toml"
    line = {
        ServeSettings: f"[serve]\n{field} = {wrong}\n{MODEL}",
        ModelSettings: f"{MODEL}{field} = {wrong}\n",
        Settings: f"# mine\n{field} = {wrong}\n",
    }[kind]
    file.write_text(line)
    with pytest.raises(SettingError) as caught:
        (Settings if kind is Settings else ServeSettings).load(file)
    words = str(caught.value)
    if len(wrong) < 4_300:  # which Python does not read at all
        number = 3 if kind is ModelSettings else 2
        assert field in words
        assert f"line {number}" in words
    assert len(words) < 600


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("trace_days = -1", "must be above 0"),
        ("trace_days = nan", "must be a finite number"),
        ("temperature = nan", "must be a finite number"),
        ("temperature = -1", "must be at least 0"),
        ("[serve]\nbody_seconds = -1", "must be above 0"),
        ("[serve]\nbody_seconds = nan", "must be a finite number"),
        ("[serve]\ndrain_seconds = -1", "must be at least 0"),
    ],
)
def test_the_bound_that_is_said_is_the_one_that_holds(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(line)
    with pytest.raises(SettingError, match=words):
        (ServeSettings if "serve" in line else Settings).load(file)


def test_a_variable_is_named_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("guard_retries", "abc")
    monkeypatch.setenv("guard_serve__port", "abc")
    with pytest.raises(SettingError, match=r"retries='abc' \(guard_retries\)"):
        Settings.load()
    with pytest.raises(SettingError, match=r"^guard_serve__port: "):
        ServeSettings.load()


def test_the_numbers_are_found_by_their_types() -> None:
    """Or nothing above would be tested."""
    assert {"port", "metrics_port", "drain_seconds", "in_flight"} <= set(_numbers(ServeSettings))
    assert {"total_seconds", "concurrency", "retries"} <= set(_numbers(ModelSettings))
    assert {"retries", "temperature", "trace_days", "trace_calls"} <= set(_numbers(Settings))


@pytest.mark.parametrize("wrong", [math.inf, math.nan, -1, True, 10**400, "3", None])
@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (Budget, ("seconds", "tokens", "usd")),
        (Confidence, ("removed", "margin")),
        (Policy, ("retries", "max_tokens", "temperature", "seed", "thinking")),
        (Retention, ("days", "calls")),
        (lambda **more: Request(messages=({},), compiled=None, **more), ("max_tokens", "temperature", "seconds")),
        (lambda **more: _openai(**more), ("retries", "timeout")),
    ],
)
def test_no_number_of_a_call_is_either(make: Any, fields: tuple[str, ...], wrong: Any) -> None:
    for field in fields:
        if (wrong is None and (make in (Budget, Confidence, Retention) or (make, field) == (Policy, "max_tokens"))) or (
            field,
            wrong,
        ) in (
            ("seed", -1),
            ("seconds", None),
        ):
            continue
        with pytest.raises((ValueError, TypeError, ModelError)) as caught:
            make(**{field: wrong})
        assert field in str(caught.value)


def _openai(**more: Any) -> Any:
    from guard.models.remote.openai import OpenAIModel

    return OpenAIModel("m", base_url="http://127.0.0.1:9/v1", api_key="k", **more)


@pytest.mark.parametrize("seconds", [1e308, 10.0**8])
def test_no_wait_is_longer_than_clocks_hold(seconds: float) -> None:
    with pytest.raises(ValueError, match="must be at most 10,000,000"):
        guard.Budget(seconds=seconds)
    with pytest.raises(ModelError, match="must be at most 10,000,000"):
        _openai(timeout=seconds)


def test_the_bounds_themselves_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(
        f"[serve]\ndrain_seconds = 0\nin_flight = 2147483647\n{MODEL}total_seconds = 10000000\nretries = 0\n"
    )
    settings = ServeSettings.load(file)
    assert (settings.drain_seconds, settings.in_flight) == (0, 2**31 - 1)
    assert settings.models["m"].total_seconds == 1e7
    assert Budget(seconds=1e7, tokens=2**53, usd=1e-9)


def test_a_setting_that_there_is_not_is_told(tmp_path: Path) -> None:
    file = tmp_path / "guard.toml"
    file.write_text('retries = 1\nmodle = "smollm2"\n[serve]\nport = 1\n')
    with pytest.raises(SettingError, match=r"guard\.toml, line 2: there is no setting modle; write model"):
        Settings.load(file)
    file.write_text("[server]\nport = 1\n")
    with pytest.raises(SettingError, match=r"guard\.toml, line 1: there is no setting server; write serve"):
        Settings.load(file)


def test_a_file_that_can_not_be_read_is_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "guard.toml").mkdir()
    for kind in (Settings, ServeSettings):
        with pytest.raises(SettingError, match=r"^guard\.toml can't be read: Is a directory"):
            kind.load()


def test_a_variable_that_is_nearly_a_setting_is_refused_with_the_name_that_is_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GUARD_RETIRES", "5")
    with pytest.raises(SettingError) as caught:
        guard.Guard()
    words = "the environment variable GUARD_RETIRES: there is no such setting; did you mean GUARD_RETRIES?"
    assert str(caught.value) == words


def test_another_variable_that_begins_so_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be another program's."""
    monkeypatch.setenv("GUARD_NOTIFY", "1")
    monkeypatch.setattr("guard.settings._told", set())
    Settings.load()
    Settings.load()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("the environment variable GUARD_NOTIFY is no setting of Guard's; there are GUARD_MAX_TOKENS")


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_a_variable_that_is_empty_is_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"GUARD_{name.upper()}", "")
    assert getattr(Settings.load(), name) == Settings.model_fields[name].default


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("RETRIES", "-1", "the setting retries='-1' (GUARD_RETRIES) must be at least 0"),
        ("RETRIES", "x", "the setting retries='x' (GUARD_RETRIES) must be a whole number"),
        ("TEMPERATURE", "hot", "the setting temperature='hot' (GUARD_TEMPERATURE) must be a number"),
        ("TRACE_DAYS", "0", "the setting trace_days='0' (GUARD_TRACE_DAYS) must be above 0"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_in_words_of_ours(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"GUARD_{variable}", value)
    with pytest.raises(SettingError) as caught:
        Settings.load()
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            'model = "openai:x"\nbase_url = "localhost:8000"\n',
            "line 3, serve.models.m.base_url: must be an address",
        ),
        ('model = "openai:x"\nescalate_to = "other"\n', "line 3, serve.models.m.escalate_to: must be a list ('other')"),
        ('model = "gpt-5"\n', "line 2, serve.models.m.model: unknown model 'gpt-5'; did you mean openai:gpt-5?"),
    ],
)
def test_a_served_model_s_settings_are_told_without_patterns_and_tuples(tmp_path: Path, lines: str, words: str) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(f"[serve.models.m]\n{lines}")
    with pytest.raises(SettingError) as caught:
        ServeSettings.load(file)
    assert words in str(caught.value)
    assert "pattern" not in str(caught.value)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://h:hunter22/v1", "must be an address"),
        ("http://h:99999/v1", "must be an address"),
        ("http://:80/v1", "must be an address"),
        ("http://1.2.3.999/v1", "must be an address"),
        ("http://[::zz]/v1", "must be an address"),
        ("http://user:hunter22@h/v1", "a password is not written here"),
        ("http://user:hunter22/x@h/v1", "a password is not written here"),
        ("http://user:hunter22#x@h/v1", "a password is not written here"),
        ("http://user:hunter22?x@h/v1", "a password is not written here"),
    ],
)
def test_a_base_url_that_the_start_refuses_is_refused_by_the_check_and_not_shown(
    tmp_path: Path, kind: str, url: str, words: str
) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(f'[serve.models.m]\nmodel = "{kind}:x"\nbase_url = "{url}"\n')
    with pytest.raises(SettingError, match=f"line 3, serve.models.m.base_url: {words}") as caught:
        ServeSettings.load(file)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "https://h:8000/v1",
        "http://[::1]:80/v1",
        "http://127.0.0.1/a%40b",
        "http://xn--bcher-kva.example/v1",
    ],
)
def test_a_base_url_that_can_be_asked_is_taken(tmp_path: Path, url: str) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(f'[serve.models.m]\nmodel = "openai:x"\nbase_url = "{url}"\n')
    assert ServeSettings.load(file).models["m"].base_url == url


def test_a_trace_that_is_no_text_is_not_shown_since_it_may_hold_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GUARD_TRACE")
    file = tmp_path / "guard.toml"
    file.write_text('trace = ["postgresql://u:hush-hush@host/db"]\n')
    with pytest.raises(SettingError, match=r"^the setting trace \(guard\.toml, line 1\) must be a text$"):
        Settings.load(file)


def test_a_program_may_name_the_file_of_all_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sidecar did in the background, such as to judge a canary, read the trace of another guard.toml."""
    for name in ("GUARD_TRACE", "GUARD_RETRIES"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "own.toml"
    file.write_text('trace = "own.db"\nretries = 7\n')
    with Settings.of(file):
        assert (Settings.load().trace_path(), Settings.load().retries) == ("own.db", 7)
        file.write_text("\nretries = -1\n")
        with pytest.raises(guard.SettingError, match=r"retries=-1 \(guard.toml, line 2\)"):
            Settings.load()
        with Settings.of(None):
            assert Settings.load().retries == Settings.model_fields["retries"].default
    assert Settings.load().retries == Settings.model_fields["retries"].default
