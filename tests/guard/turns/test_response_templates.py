"""Response templates: what Guard reads, transformers reads alike; and forms that are derived from one."""

from __future__ import annotations

import os
import random
import re
import sys
import tarfile
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import guard
from guard import formats
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas.compiled import single_bytes
from guard.turns import response_templates, trials

chat_parsing = pytest.importorskip("transformers.utils.chat_parsing", reason="transformers before 5.13")

DATA = Path(os.environ.get("GUARD_DATA") or Path(__file__).parents[4] / "shared" / "data")
TRL = Path(__file__).parents[3] / "build" / "trl"  #: Where `make templates` puts trl, for its response templates.
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
WALKS = int(os.environ.get("GUARD_WALKS", "6"))  #: Of each template.
#: Tools whose names all readers take: many patterns read letters only.
TOOLS = [
    {**one, "function": {**one["function"], "name": one["function"]["name"].replace("-", "_")}} for one in trials.TOOLS
]
#: Which of transformers' own response templates reads which stored chat template, by a model's type.
OWN = {
    "trl/qwen2_5": "qwen2",
    "trl/qwen3": "qwen3",
    "trl/qwen3_instruct_2507": "qwen3",
    "trl/qwen3_vl": "qwen3_vl",
    "llama.cpp/Qwen-QwQ-32B": "qwen2",
    "trl/qwen3_5_think": "qwen3_5",
    "trl/qwen3_6": "qwen3_5",
    "trl/qwen3_8": "qwen3_5",
    "llama.cpp/Qwen3.5-4B": "qwen3_5",
    "trl/gemma4": "gemma4",
    "trl/gemma4_v2": "gemma4",
    "trl/gemma4_v5": "gemma4",
    "llama.cpp/google-gemma-4-31B-it": "gemma4",
}
#: The stored chat templates for which trl has one.
TRLS = (
    *("gptoss", "llama3_2", "qwen2_5", "qwen3", "qwen3_instruct_2507", "qwen3_vl", "qwen3_5_think", "qwen3_6"),
    *("qwen3_8", "nemotron_3_super", "nemotron_3_ultra", "nemotron_3_5_lightning", "gemma4", "gemma4_v2", "gemma4_v5"),
)


@pytest.fixture(scope="module")
def stored() -> dict[str, str]:
    """Real chat templates, by name."""
    if not (DATA / "chat-templates.tar.gz").exists():
        pytest.skip("no test data")
    with tarfile.open(DATA / "chat-templates.tar.gz") as archive:
        files = [(one.name.removeprefix("./"), archive.extractfile(one)) for one in archive if one.isfile()]
        return {name.removesuffix(".jinja"): file.read().decode() for name, file in files if file is not None}


def own(kind: str) -> dict[str, Any]:
    """Return the response template that transformers falls back to for a type of model."""
    serving = pytest.importorskip("transformers.cli.serving.utils")
    found: dict[str, Any] = next(v for kinds, v in serving._RESPONSE_TEMPLATE_FALLBACKS.items() if kind in kinds)
    return found


def trls(template: str) -> dict[str, Any]:
    """Return the response template that trl gives to a chat template."""
    if not TRL.exists():
        pytest.skip("trl is not installed: make templates")
    if "trls" not in sys.modules:  # the one module that holds them, without what trl needs to train
        package, data_utils = ModuleType("trls"), ModuleType("trls.data_utils")
        package.__path__ = [str(TRL / "trl")]
        data_utils.prepare_multimodal_messages = None  # type: ignore[attr-defined]
        sys.modules |= {"trls": package, "trls.data_utils": data_utils}
    tokenizer = SimpleNamespace(chat_template=template, response_template=None)
    found: dict[str, Any] = import_module("trls.chat_template_utils").add_response_schema(tokenizer).response_template
    return found


def walk(form: Any, seed: int) -> str:
    """Return a random turn with calls that the masks let through."""
    compiled = guard.compile(form.format(TOOLS, "required", begun=form.over), **form.options)
    vocabulary, row = single_bytes(), allocate_bitmask(1, 257)
    draw, matcher, text = random.Random(seed), compiled.matcher(vocabulary), bytearray()
    while not matcher.can_stop() or len(text) < 100:
        matcher.fill_bitmask(row, remaining=1 + matcher.distance() + max(0, 200 - len(text)))
        allowed = np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")[:256])
        if matcher.can_stop() and not allowed.size:
            break
        # What bytes are let through but no text is: transformers reads texts.
        plain = [int(byte) for byte in allowed if 32 <= byte < 127 or byte in (9, 10)]
        byte = draw.choice(plain or [int(byte) for byte in allowed])
        assert matcher.accept(byte)
        text.append(byte)
    return text.decode()


def differences(form: Any, spec: dict[str, Any], seeds: range) -> list[str]:
    """Return the walks that Guard and transformers read differently."""
    found = []
    closing = spec["fields"]["tool_calls"]
    closing = closing["close_pattern"] if "close_pattern" in closing else re.escape(closing["close"])
    ends = [*form.ends, ""]
    end = next((one for one in ends if re.search(closing, one)), ends[0])  # some end turns with calls by another
    for seed in seeds:
        text = walk(form, seed)
        ours = form.read(text, TOOLS, begun=form.over)
        assert ours.trouble is None, text
        assert ours.calls
        theirs = response_templates.calls_of(chat_parsing.parse_response(text + end, spec, prefix="", tools=TOOLS))
        if theirs != [(call.name, call.arguments) for call in ours.calls]:
            found.append(f"{text!r}\n  ours {ours.calls}\n  theirs {theirs}")
    return found


@pytest.mark.parametrize("name", OWN)
def test_a_walk_under_masks_is_read_alike_by_transformers(name: str, stored: dict[str, str]) -> None:
    form = formats.from_chat_template(stored[name], **SPECIAL)
    assert form is not None
    spec = own(OWN[name])
    assert differences(response_templates.kept_to(form, spec), spec, range(WALKS)) == []


@pytest.mark.parametrize("name", TRLS)
def test_a_walk_under_masks_is_read_alike_by_trls_templates(name: str, stored: dict[str, str]) -> None:
    form = formats.from_chat_template(stored[f"trl/{name}"], **SPECIAL)
    assert form is not None
    spec = trls(stored[f"trl/{name}"])
    assert differences(response_templates.kept_to(form, spec), spec, range(WALKS)) == []


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("qwen3", '<tool_call>{"name": "{name}", "arguments": {arguments}}</tool_call>'),
        ("qwen3_5", "<tool_call><function={name}>{arguments}</function></tool_call>"),
        ("gemma4", "<|tool_call>call:{name}{arguments}<tool_call|>"),
    ],
)
def test_a_form_is_derived_from_a_response_template_alone(kind: str, call: str) -> None:
    form = formats.from_response_template(own(kind))
    assert form is not None
    assert (form.round_trips, form.describe()["call"]) == (True, call)
    assert differences(form, own(kind), range(WALKS)) == []


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"start_anchor": "x", "fields": {"content": {}}},
        {"start_anchor": "x", "fields": {"content": {}, "tool_calls": {"open_pattern": "[a-z]+", "content": "json"}}},
        {"start_anchor": "x", "fields": {"content": {}, "tool_calls": {"open_pattern": "(", "content": "json"}}},
        {"start_anchor": "x", "fields": {"content": {}, "tool_calls": {"open": "<c>", "content": "kv-lines"}}},
    ],
)
def test_what_no_form_can_be_told_for_has_none(spec: dict[str, Any]) -> None:
    assert formats.from_response_template(spec) is None


def test_what_transformers_reads_otherwise_does_not_round_trip() -> None:
    calls = {
        "open": "<c>",
        "close": "</c>",
        "repeats": True,
        "content": "json",
        "transform": {"type": "function", "function": {"name": "{content.f}", "arguments": "{content.x}"}},
    }
    spec = {"start_anchor": "A:", "fields": {"content": {"close": "<end>"}, "tool_calls": calls}}
    form = formats.from_response_template(spec)
    assert form is not None
    assert (form.round_trips, form.describe()["call"]) == (True, '<c>{"f": "{name}", "x": {arguments}}</c>')
    calls["transform"] = {"type": "function", "function": {"name": "always", "arguments": "{content.x}"}}
    form = formats.from_response_template(spec)
    assert form is None or not form.round_trips


def test_a_hostile_response_template_costs_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"start_anchor": "x", "fields": {"content": {"close": "<end>"}}}
    assert response_templates.parsed(spec, ["a<end>"], []) == [{"content": "a"}]
    monkeypatch.setattr(response_templates, "SECONDS", 4)
    slow = {"start_anchor": "x", "fields": {"content": {"close_pattern": "(?:a|aa)+$"}}}
    assert response_templates.parsed(slow, ["a" * 60 + "b", "b"], []) == [None, None]
