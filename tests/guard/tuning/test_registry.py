"""The registry: versions, the pointer, what may be promoted; and the model that follows it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tiny
from typer.testing import CliRunner

import guard
from guard.cli.app import app
from guard.errors import GuardError, ModelError
from guard.models.base import Request
from guard.models.local.transformers import quiet
from guard.trace import TraceStore
from guard.tuning import canary
from guard.tuning.registry import CARD, SHADOW, Registry, write_json
from guard.tuning.serving import TunedModel, by_name

FUNCTION = "shop.read"
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["new", "used"]}},
    "required": ["kind"],
    "additionalProperties": False,
}


def test_a_run_that_was_killed_has_made_no_function(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.place(FUNCTION).joinpath("1.partial").mkdir(parents=True)
    assert registry.functions() == []
    registry.place(FUNCTION).joinpath("1").mkdir()
    assert registry.functions() == [FUNCTION]


def version(registry: Registry, number: int, base: str = "smollm2", *, passed_against: int | None = None) -> Path:
    """Put a version into the registry, as a tuning run does."""
    folder = registry.place(FUNCTION) / str(number)
    with quiet():
        tiny.llama(number).save_pretrained(folder)
        tiny.tokenizer().save_pretrained(folder)
    write_json(
        folder / CARD, {"base": base, "examples": 10 * number, "sources": [f"call {number}", "call 9"], "made": 0.0}
    )
    if passed_against is not None:
        write_json(folder / SHADOW, {"passed": True, "against": passed_against})
    return folder


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("GUARD_REGISTRY", str(tmp_path / "models"))
    return Registry.default()


def test_a_version_serves_once_it_has_passed_against_the_one_that_serves(registry: Registry) -> None:
    version(registry, 1)
    version(registry, 2, passed_against=1)
    with pytest.raises(GuardError, match=r"was not measured beside version 0.*guard shadow shop\.read@1.*--force"):
        registry.promote(FUNCTION, 1)
    registry.promote(FUNCTION, 1, force=True, why="the first")
    assert registry.promote(FUNCTION, 2).current == 2
    history = registry.serving(FUNCTION).history
    assert [(one["action"], one["version"], one["from"], one["forced"], one["why"]) for one in history] == [
        ("promote", 1, 0, True, "the first"),
        ("promote", 2, 1, False, ""),
    ]


def test_what_has_not_passed_is_refused(registry: Registry) -> None:
    folder = version(registry, 1)
    write_json(folder / SHADOW, {"passed": False, "against": 0})
    with pytest.raises(GuardError, match="has not passed"):
        registry.promote(FUNCTION, 1)
    with pytest.raises(GuardError, match="has not passed"):
        registry.start_canary(FUNCTION, 1, 0.1)
    with pytest.raises(GuardError, match=r"no version 7; there are 1"):
        registry.promote(FUNCTION, 7)


def test_a_rollback_ends_the_canary_first_and_then_goes_back(registry: Registry) -> None:
    version(registry, 1, passed_against=0)
    version(registry, 2, passed_against=1)
    registry.promote(FUNCTION, 1)
    registry.start_canary(FUNCTION, 2, 0.25)
    assert registry.rollback(FUNCTION).canary is None
    assert registry.serving(FUNCTION).current == 1
    assert registry.rollback(FUNCTION).current == 0
    with pytest.raises(ValueError, match=r"share=1\.5 must be between 0 and 1"):
        registry.start_canary(FUNCTION, 2, 1.5)


def test_a_version_that_was_promoted_twice_is_rolled_back_to_the_one_before(registry: Registry) -> None:
    version(registry, 1)
    for _ in range(2):
        registry.promote(FUNCTION, 1, force=True)
    assert [registry.rollback(FUNCTION).current for _ in range(3)] == [0, 1, 0]


def test_the_version_that_serves_is_no_canary(registry: Registry) -> None:
    version(registry, 1)
    registry.promote(FUNCTION, 1, force=True)
    with pytest.raises(GuardError, match="serves already; a canary is another version"):
        registry.start_canary(FUNCTION, 1, 0.5, force=True)


def test_a_name_can_lead_nowhere_else(registry: Registry) -> None:
    assert registry.place("../../etc").parent == registry.root
    for name in ("x" * 251, "\N{SNOWMAN}" * 30):
        with pytest.raises(GuardError, match="characters are too many"):
            registry.serving(name)
    for name in ("", ".", ".."):
        with pytest.raises(GuardError, match="no function is named"):
            registry.next_folder(name)
        with pytest.raises(ModelError, match="no function is named"):
            by_name(name, f"tuned:{name}")


DECIDES = """
import sys
from guard.tuning.registry import Registry
registry = Registry(sys.argv[1])
while True:
    for number in (1, 2):
        registry.promote("shop.read", number, force=True)
        print(number, flush=True)
"""


def test_kill_9_in_a_promotion_leaves_the_old_pointer_or_the_new(registry: Registry) -> None:
    version(registry, 1)
    version(registry, 2)
    for rounds in range(1, 6):
        command = [sys.executable, "-c", DECIDES, str(registry.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(rounds):
                process.stdout.readline()
            process.kill()
        serving = registry.serving(FUNCTION)
        assert serving.current in (1, 2)
        assert serving.history[-1]["version"] == serving.current
    assert registry.promote(FUNCTION, 1, force=True).current == 1


CANARIES = """
import sys
from guard.tuning.registry import Registry
registry = Registry(sys.argv[1])
while True:
    serving = registry.start_canary("shop.read", 2, 0.5, force=True)
    print("on", flush=True)
    registry.end_canary("shop.read", serving.canary)
    print("off", flush=True)
"""


def test_kill_9_in_a_canary_leaves_it_on_or_off_and_the_version_that_serves(registry: Registry, tmp_path: Path) -> None:
    version(registry, 1)
    version(registry, 2)
    registry.promote(FUNCTION, 1, force=True)
    model = by_name(FUNCTION, f"tuned:{FUNCTION}")
    for rounds in range(1, 6):
        command = [sys.executable, "-c", CANARIES, str(registry.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(rounds):
                process.stdout.readline()
            process.kill()
        serving = registry.serving(FUNCTION)
        assert serving.current == 1
        assert serving.canary is None or (serving.canary.version, serving.canary.share) == (2, 0.5)
        is_canarys = serving.canary is not None and canary.is_canarys(FUNCTION, question().messages, serving.canary)
        assert model.generate(question()).model == f"tuned:{FUNCTION}@{2 if is_canarys else 1}"
    with contextlib.suppress(GuardError):
        registry.rollback(FUNCTION)
    assert registry.start_canary(FUNCTION, 2, 0.1, force=True).canary is not None


def question(text: str = "Read.") -> Request:
    return Request(({"role": "user", "content": text},), guard.compile(SCHEMA), max_tokens=60)


def test_a_model_follows_the_pointer_without_a_restart(registry: Registry, tmp_path: Path) -> None:
    with quiet():
        tiny.llama().save_pretrained(tmp_path / "base")
        tiny.tokenizer().save_pretrained(tmp_path / "base")
    version(registry, 1, f"transformers:{tmp_path / 'base'}")
    version(registry, 2)
    model = TunedModel(FUNCTION, f"tuned:{FUNCTION}")
    assert model.generate(question()).model == "tuned:shop.read@0"
    registry.promote(FUNCTION, 1, force=True)
    assert model.generate(question()).model == "tuned:shop.read@1"
    *_, reply = model.stream(question())
    assert getattr(reply, "model", None) == "tuned:shop.read@1"
    registry.start_canary(FUNCTION, 2, 0.5, force=True)
    served = {text: model.generate(question(text)).model for text in map(str, range(30))}
    assert set(served.values()) == {"tuned:shop.read@1", "tuned:shop.read@2"}
    assert served == {text: model.generate(question(text)).model for text in served}
    registry.rollback(FUNCTION)
    assert {model.generate(question(text)).model for text in served} == {"tuned:shop.read@1"}


def test_a_function_without_models_is_an_error_that_says_so(registry: Registry) -> None:
    with pytest.raises(guard.ModelError, match=r"no model of shop\.read was tuned; there are none"):
        by_name("shop.read", "tuned:shop.read")


def test_a_canary_that_fails_is_ended_by_the_trace(registry: Registry, trace_file: Path) -> None:
    version(registry, 1)
    version(registry, 2)
    registry.promote(FUNCTION, 1, force=True)
    registry.start_canary(FUNCTION, 2, 0.5, force=True)
    store = TraceStore.at(trace_file)
    model = TunedModel(FUNCTION, f"tuned:{FUNCTION}")
    spoils = canary.CanaryVerdict(0, 0, None, 1.0)

    def check(_: object) -> None:
        serving = model._serving()
        if serving.canary is not None and canary.is_canarys(FUNCTION, asked, serving.canary):
            raise ValueError("the canary is wrong")

    asker = guard.Guard(model=model, retries=0, max_tokens=60, validators=[check])
    for number in range(300):
        asked = ({"role": "user", "content": f"question {number}"},)
        with contextlib.suppress(guard.ValidationFailed):
            asker.generate(SCHEMA, messages=list(asked))
        if number % 50 == 49:
            found = canary.judge([store], registry, FUNCTION)
            if found is None:
                break
            spoils = found
    assert spoils.successes == 0, spoils
    serving = registry.serving(FUNCTION)
    assert serving.canary is None, spoils
    assert serving.current == 1
    assert "first answers succeeded" in serving.history[-1]["why"]


def test_a_canary_that_can_not_be_loaded_is_ended_by_the_trace(registry: Registry, trace_file: Path) -> None:
    """A failure without a reply named no version, and was nobody's: half of the calls failed for as long as it ran."""
    version(registry, 1)
    version(registry, 2).joinpath("model.safetensors").write_bytes(b"")
    registry.promote(FUNCTION, 1, force=True)
    registry.start_canary(FUNCTION, 2, 0.5, force=True, baseline=0.9)
    asker = guard.Guard(model=TunedModel(FUNCTION, f"tuned:{FUNCTION}"), retries=0, max_tokens=60)
    failed = set()
    for number in range(40):
        try:
            asker.generate(SCHEMA, f"question {number}")
        except ModelError as error:
            failed |= {(one.reply.model, one.reply.finish, one.reply.cost) for one in error.attempts if one.reply}
    assert failed == {(f"tuned:{FUNCTION}@2", "cut", 0.0)}
    canary.judge([TraceStore.at(trace_file)], registry, FUNCTION)
    assert registry.serving(FUNCTION).canary is None
    assert "0 of " in registry.serving(FUNCTION).history[-1]["why"]


@pytest.mark.parametrize("is_kept_open", [True, False])
def test_a_canary_is_judged_by_the_trace_that_its_calls_are_in(
    is_kept_open: bool, registry: Registry, tmp_path: Path
) -> None:
    """The default trace was looked at: a canary that is always wrong went on where calls are recorded in another."""
    version(registry, 1)
    version(registry, 2)
    registry.promote(FUNCTION, 1, force=True)
    registry.start_canary(FUNCTION, 2, 0.9, force=True, baseline=0.9)
    own = tmp_path / "own.db"
    model = TunedModel(FUNCTION, f"tuned:{FUNCTION}")

    def check(_: object) -> None:
        raise ValueError("it is wrong")

    place = TraceStore(own) if is_kept_open else str(own)
    asker = guard.Guard(model=model, retries=0, max_tokens=60, validators=[check], trace=place)
    for number in range(200):
        with contextlib.suppress(guard.ValidationFailed):
            asker.generate(SCHEMA, f"question {number}")
        if registry.serving(FUNCTION).canary is None:
            break
    for thread in threading.enumerate():
        if thread.name == "guard canary":  # on a busy machine it may judge more slowly than this loop asks
            thread.join(60)
    assert registry.serving(FUNCTION).canary is None


def test_two_that_end_one_canary_leave_the_version_that_serves(registry: Registry) -> None:
    version(registry, 1)
    version(registry, 2)
    registry.promote(FUNCTION, 1, force=True)
    seen = registry.start_canary(FUNCTION, 2, 0.5, force=True).canary
    assert seen is not None
    for _ in range(2):
        registry.end_canary(FUNCTION, seen, "worse")
        serving = registry.serving(FUNCTION)
        assert (serving.current, serving.canary) == (1, None)
    again = registry.start_canary(FUNCTION, 2, 0.25, force=True).canary
    registry.end_canary(FUNCTION, seen, "worse")
    assert registry.serving(FUNCTION).canary == again


def test_the_command_line_lists_shows_promotes_and_compares(registry: Registry) -> None:
    run = CliRunner()
    assert "no models in" in run.invoke(app, ["models", "list"]).output
    version(registry, 1, passed_against=0)
    version(registry, 2)
    facts = [json.loads(line) for line in run.invoke(app, ["models", "list", "--json"]).output.splitlines()]
    assert [(one["function"], one["version"], one["state"], one["shadow"]) for one in facts] == [
        (FUNCTION, 1, "", True),
        (FUNCTION, 2, "", None),
    ]
    assert run.invoke(app, ["models", "promote", f"{FUNCTION}@1"]).output == "version 1 serves tuned:shop.read\n"
    assert json.loads(run.invoke(app, ["models", "show", f"{FUNCTION}@1"]).output)["examples"] == 10
    assert json.loads(run.invoke(app, ["models", "show", FUNCTION]).output)["current"] == 1
    told = json.loads(run.invoke(app, ["models", "diff", f"{FUNCTION}@1", f"{FUNCTION}@2", "--json"]).output)
    assert told == {
        "examples": {"old": 10, "new": 20},
        "sources": {"old": "1 left out", "new": "1 new"},
    }
    began = run.invoke(app, ["models", "canary", f"{FUNCTION}@2", "--share", "0.2", "--force"]).output
    assert began == "version 1 serves tuned:shop.read, version 2 a share of 0.2\n"
    assert "no answer of the other version" in run.invoke(app, ["models", "canary", FUNCTION]).output
    assert run.invoke(app, ["models", "rollback", FUNCTION]).output == "version 1 serves tuned:shop.read\n"
    assert run.invoke(app, ["models", "rollback", FUNCTION]).output == "version 0 serves tuned:shop.read\n"
