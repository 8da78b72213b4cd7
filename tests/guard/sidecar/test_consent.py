"""What records may be used for: no model is trained on calls whose sender has not allowed it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sidecars import Sidecar, model, serving

import guard
from guard.sidecar import keys
from guard.testing import fake_server
from guard.trace import TraceStore, export
from guard.tuning import answers

SCHEMA = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA}}
HEADER = "x-guard-record-for"


def purposes(sidecar: Sidecar) -> list[str]:
    """Return what each call may be used for, the oldest first."""
    return [call.record_for for call in reversed(TraceStore.at(sidecar.trace).latest(limit=100))]


def asked(sidecar: Sidecar, provider: fake_server.Server, *, key: str = "", purpose: str = "", **more: Any) -> int:
    provider.answers = ['{"total": 3}']
    headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **({HEADER: purpose} if purpose else {})}
    return sidecar.chat(headers=headers, **more).status


def test_a_key_allows_training_or_not_and_a_call_may_allow_less(tmp_path: Path) -> None:
    store = TraceStore.at(tmp_path / "trace.db")
    _, open_ = keys.create(store, "open", may_train=True)
    _, closed = keys.create(store, "closed")
    assert [key.may_train for key in keys.every(store)] == [True, False]
    with fake_server.Server("x", keeps_alive=True) as provider, serving(tmp_path, model(provider.url)) as sidecar:
        assert asked(sidecar, provider, key=open_, response_format=FORMAT) == 200
        assert asked(sidecar, provider, key=open_) == 200  # plain text goes another way
        assert asked(sidecar, provider, key=open_, purpose="operation", response_format=FORMAT) == 200
        assert asked(sidecar, provider, key=closed, response_format=FORMAT) == 200
        assert asked(sidecar, provider, key=closed) == 200
        assert asked(sidecar, provider, key=closed, purpose="training") == 403
        assert asked(sidecar, provider, key=open_, purpose="sale") == 400
        assert purposes(sidecar) == ["training", "training", "operation", "operation", "operation"]
        sft = [row for call in TraceStore.at(sidecar.trace).each() for row in export.FORMATS["sft"](call)]
        assert len(sft) == 2
        dropped: Counter[str] = Counter()
        pairs = list(answers.from_trace(TraceStore.at(sidecar.trace), dropped, own=(), function="/v1/chat/completions"))
        assert [pair.answer for pair in pairs] == ['{"total": 3}']
        assert dropped["not recorded for training"] == 3


@pytest.mark.parametrize(("setting", "purpose"), [("", "operation"), ("training = true\n", "training")])
def test_without_keys_the_settings_allow_it(tmp_path: Path, setting: str, purpose: str) -> None:
    with (
        fake_server.Server("x", keeps_alive=True) as provider,
        serving(tmp_path, setting + model(provider.url)) as sidecar,
    ):
        assert asked(sidecar, provider, response_format=FORMAT) == 200
        assert asked(sidecar, provider, purpose="training") == (200 if setting else 403)
        assert purposes(sidecar)[0] == purpose


def test_a_program_says_it_for_a_function_or_a_call(trace_file: Path) -> None:
    from scripted import Scripted

    asker = guard.Guard(model=Scripted(*['{"total": 3}'] * 9), retries=0)
    for settings, call in (({}, {}), ({"record_for": "operation"}, {}), ({}, {"record_for": "operation"})):
        asker.using(**settings).generate(SCHEMA, "Read.", **call)  # type: ignore[arg-type,call-overload]
    assert [call.record_for for call in asker.store.each()] == ["training", "operation", "operation"]
    for wrong in ("sale", None, 1):
        with pytest.raises(ValueError, match="record_for="):
            asker.using(record_for=wrong)  # type: ignore[arg-type]
    dropped: Counter[str] = Counter()
    assert len(list(answers.from_trace(asker.store, dropped, own=()))) == 1
    assert dropped == {"not recorded for training": 2}
    call = next(iter(asker.store.each()))
    assert json.loads(json.dumps(dict(call.probabilities))) == {}
