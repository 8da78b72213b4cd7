"""Redaction: no secret, and no part of one, reaches the trace's file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from sample_calls import CALL
from scripted import Scripted, reply

import guard
from guard.decoding.confidence import Token
from guard.output.repair import Edit
from guard.trace import (
    REDACTED,
    TraceError,
    TraceStore,
    redact_with,
    redacted,
    redaction,
    stop_redacting_with,
)
from guard.trace.records import Attempt, Call


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnop1234567890",
        "hf_abcdefghijklmnopqrstuvwx",
        "ghp_abcdefghijklmnopqrstuvwx1234",
        "Bearer abcdefghijklmnopqrstuvwxyz",
        "https://user:correct-horse@host/path",
        "https://:correct-horse@host/path",
        "https://user:correct:horse@host/path",
        "https://user:correct@horse:battery@host/path",
        'a"quoted\\pass\nword',
    ],
)
def test_a_secret_is_never_written(secret: str, trace_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PASSWORD", 'a"quoted\\pass\nword')
    model = Scripted(reply(json.dumps(secret)), guard.ModelError(f"401 for {secret}"), name="m")
    with pytest.raises(guard.ModelError):
        guard.Guard(model, retries=1).generate(int, [{"role": "user", "content": f"It is {secret}."}])
    bare = secret.removeprefix("Bearer ").removeprefix("https://").removesuffix("@host/path")
    escaped = (bare, json.dumps(bare)[1:-1], json.dumps(json.dumps(bare)[1:-1])[1:-1], json.dumps(repr(bare))[2:-2])
    for written in escaped:
        for file in trace_file.parent.glob("trace.db*"):
            assert written.encode() not in file.read_bytes()
    (stored,) = TraceStore.at(trace_file).latest()
    assert REDACTED in stored.error
    assert REDACTED in stored.attempts[0].messages[0]["content"]


def test_a_variable_that_is_named_as_a_secret_is_one_whatever_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_variables", frozenset())
    monkeypatch.setenv("MY_PROVIDER", 'cor"rect-horse')
    said = 'It is cor"rect-horse.'
    assert redaction.Redaction.current().text(said) == said
    redaction.take_for_secret("MY_PROVIDER")
    assert redaction.Redaction.current().text(said) == f"It is {REDACTED}."
    assert redaction.Redaction.current().text(json.dumps(said)) == f'"It is {REDACTED}."'
    monkeypatch.setenv("MY_PROVIDER", "another-horse")
    assert redaction.Redaction.current().text(f"{said} another-horse") == f"{said} {REDACTED}"


SECRET = "correct-horse-battery"


def _parts(text: str) -> Call:
    """Return a call that holds a text only in parts, or clipped."""
    half = len(text) // 2
    attempt = Attempt(
        1,
        (),
        reply(
            f'"{text}"', tokens=tuple(Token(part, -0.5, 0.25, None) for part in (f'"{text[:half]}', f'{text[half:]}"'))
        ),
        (guard.Violation("", "maxLength", "at most 3 characters", f"'{text[:half]}…"),),
        repairs=(Edit(0, "prose", text[:half], ""),),
        repaired=f'"{text}"',
    )
    return dataclasses.replace(CALL, attempts=(attempt,))


def test_no_part_of_a_secret_is_written(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TraceStore.at(place)
    call = _parts(SECRET)
    assert store.read(store.write(call).number or 0) == call
    monkeypatch.setenv("SOME_PASSWORD", SECRET)
    (stored,) = (store.read(store.write(call).number or 0),)
    assert stored is not None
    (attempt,) = stored.attempts
    assert attempt.reply is not None
    assert (attempt.reply.text, attempt.repaired) == (f'"{REDACTED}"', f'"{REDACTED}"')
    assert [(t.text, t.logprob, t.removed) for t in attempt.reply.tokens] == [("", -0.5, 0.25)] * 2
    assert attempt.findings[0].got == REDACTED
    assert attempt.repairs == (Edit(0, "prose", REDACTED, REDACTED),)


def test_tokens_that_spell_a_secret_which_the_text_lacks_are_not_written(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_PASSWORD", SECRET)
    tokens = tuple(Token(character, -0.5, 0.25, None) for character in SECRET)
    call = dataclasses.replace(CALL, attempts=(Attempt(1, (), reply("cut", tokens=tokens)),))
    stored = TraceStore.at(place).read(TraceStore.at(place).write(call).number or 0)
    assert stored is not None
    assert stored.attempts[0].reply is not None
    assert {token.text for token in stored.attempts[0].reply.tokens} == {""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "task-oriented-programming-language",
        "a: b@c",
        "https://host/p?a=b@c",
        "Bearer of news",
        "http://h:80/a@b",
        "http://h:80, a@b",
    ],
)
def test_a_text_without_secrets_is_left_alone(text: str) -> None:
    assert redacted(text) == text


def test_a_changed_environment_is_noticed(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TraceStore.at(place)
    call = dataclasses.replace(CALL, error="it is correct-horse")
    monkeypatch.setenv("MY_TOKEN", "wrong-horse")
    assert store.read(store.write(call).number or 0) == call
    monkeypatch.setenv("MY_TOKEN", "correct-horse")
    assert store.latest(limit=1)[0] is not None
    store.write(call)
    assert store.latest(limit=1)[0].error == f"it is {REDACTED}"


def test_hooks_see_every_text_before_it_is_written(place: str) -> None:
    texts: set[str] = set()

    def shout(text: str) -> str:
        texts.add(text)
        return text.replace("e", "E")

    redact_with(shout)
    try:
        TraceStore.at(place).write(CALL)
    finally:
        stop_redacting_with(shout)
    stored = TraceStore.at(place).latest()[0]
    assert (stored.function, stored.target) == ("shop.count", "Count")
    assert stored.model == "scriptEd"
    assert stored.options["sEEd"] == 7
    assert stored.attempts[0].messages == ({"rolE": "usEr", "contEnt": "How many? ☕"},)
    assert stored.attempts[0].findings[0].expected == "a numbEr >= 3"
    second = stored.attempts[1]
    assert second.reply is not None
    assert (second.model, second.reply.thinking) == ("largE", "ThrEE.")
    assert {"Three.", "Again.", '```{"n": 3}```', '{"n": 3}', "fence"} <= texts
    TraceStore.at(place).write(CALL)
    assert TraceStore.at(place).latest()[0] == CALL


def _raising(text: str) -> str:
    raise KeyError(text)


def _forgetting(text: str) -> Any:
    return None


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (_raising, "the redaction hook _raising failed with KeyError; nothing was written"),
        (_forgetting, "the redaction hook _forgetting returned NoneType, not str; nothing was written"),
    ],
)
def test_a_hook_that_fails_fails_the_write(hook: Any, words: str, place: str) -> None:
    redact_with(hook)
    try:
        with pytest.raises(TraceError, match=f"^{words}$"):
            TraceStore.at(place).write(CALL)
        with pytest.raises(TraceError, match=f"^{words}$"):
            TraceStore.at(place).record("key", {"text": "x"})
    finally:
        stop_redacting_with(hook)
    assert TraceStore.at(place).latest() == []


def test_a_reply_that_redaction_would_change_is_not_kept(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PASSWORD", SECRET)
    store = TraceStore.at(place)
    assert not store.record("k", {"text": f"it is {SECRET}"})
    assert store.recorded("k") is None
