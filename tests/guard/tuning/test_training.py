"""Training: it learns, it is the same run to the bit however often it is killed, and the folder is whole or absent."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM

import guard
from guard.cli.console import spoken
from guard.errors import GuardError
from guard.models.base import Request
from guard.models.local.transformers import TransformersModel, quiet
from guard.tuning import job, training
from guard.tuning.examples import Pair
from guard.tuning.registry import Registry
from guard.tuning.training import Recipe, TrainingReport

SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["Alice", "total", "ok"]}, "n": {"type": "integer"}},
    "required": ["name", "n"],
    "additionalProperties": False,
}
RECIPE = Recipe(steps=12, batch=4, layers=1, rank=4, rate=2e-2)
BRANCHED = dataclasses.replace(RECIPE, branches=2)


def pairs(count: int = 60) -> list[Pair]:
    compiled = guard.compile(SCHEMA)
    names = ("Alice", "total", "ok")
    return [
        Pair(
            ({"role": "user", "content": f"{names[n % 3]} {n}"},),
            compiled,
            json.dumps({"n": 7, "name": names[n % 3]}),
            f"line {n}",
        )
        for n in range(count)
    ]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    with quiet():
        tiny.llama(scale=1.0).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tuned(base: Path, out: Path, recipe: Recipe = RECIPE, **more: Any) -> job.Tuned:
    return job.tune(pairs(), out, model=f"transformers:{base}", recipe=recipe, **more)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_what_was_trained_loads_as_a_model_and_foresees_more(base: Path, tmp_path: Path) -> None:
    found = tuned(base, tmp_path / "out", Recipe(steps=60, batch=4, layers=2, rank=8, rate=2e-2))
    assert found.after.nll < 0.8 * found.before.nll
    model = TransformersModel.from_pretrained(tmp_path / "out")
    reply = model.generate(Request(({"role": "user", "content": "Alice 3"},), guard.compile(SCHEMA), max_tokens=100))
    assert json.loads(reply.text)["name"] in ("Alice", "total", "ok")
    card = json.loads((tmp_path / "out" / job.CARD).read_text())
    assert card["steps"] == 60
    assert card["base"] == f"transformers:{base.resolve()}"
    assert card["base_hash"] == job._weights_hash(base)
    assert [len(card[name]) for name in ("base_hash", "template", "tokenizer", "data")] == [64] * 4
    assert card["answered_by"] == {"": card["examples"]}
    assert len(card["sources"]) == card["examples"] == len(set(card["sources"]))
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize(("loss", "branches"), [("masked", 1), ("chosen", 1), ("all", 1), ("masked", 2)])
def test_two_runs_are_equal_to_the_bit(base: Path, tmp_path: Path, loss: str, branches: int) -> None:
    recipe = Recipe(steps=6, batch=4, layers=1, rank=4, loss=loss, branches=branches)
    tuned(base, tmp_path / "a", recipe)
    tuned(base, tmp_path / "b", recipe)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(base)


@pytest.mark.parametrize(("recipe", "last"), [(RECIPE, 5), *((BRANCHED, last) for last in (4, 5, 8, 11))])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, last: int
) -> None:
    monkeypatch.setattr("guard.tuning.training.CHECKPOINT_S", 0.0)
    tuned(base, tmp_path / "whole", recipe)
    steps: list[int] = []

    def told(report: TrainingReport) -> None:
        steps.append(report.step)
        if report.step == last and len(steps) == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(base, tmp_path / "stopped", recipe, told=told)
    assert not (tmp_path / "stopped").exists()
    tuned(base, tmp_path / "stopped", recipe, told=told)
    assert steps[last] == last  # the checkpoint is of the step before
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def test_branches_begin_where_the_trunk_ends_and_their_mean_is_kept(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[list[torch.Tensor]] = []

    class Watched(training.Trainer):
        def _end_part(self) -> None:
            ends.append([one.detach().clone() for one in self._adapter.parameters])
            super()._end_part()
            ends.append([one.detach().clone() for one in self._adapter.parameters])

        def validate(self, examples: Any) -> Any:
            ends.append([one.detach().clone() for one in self._adapter.parameters])
            return super().validate(examples)

    monkeypatch.setattr(job, "Trainer", Watched)
    tuned(base, tmp_path / "whole", dataclasses.replace(RECIPE, steps=8))
    _, alone, _, after = ends
    assert equal(alone, after)
    ends.clear()
    tuned(base, tmp_path / "branched", dataclasses.replace(RECIPE, steps=16, branches=3))
    _, trunk, first, one, second, two, third, three, _, mean = ends
    assert equal(trunk, first)
    assert equal(trunk, second)
    assert equal(trunk, third)
    assert equal(one, alone)  # what a run without branches trains
    assert not equal(one, two)
    assert not equal(two, three)
    assert all(torch.allclose(m, (a + b + c) / 3) for a, b, c, m in zip(one, two, three, mean, strict=True))


def test_branches_for_which_there_is_no_time_are_not_begun(base: Path, tmp_path: Path) -> None:
    ticks = itertools.count()
    recipe = Recipe(batch=4, layers=1, rank=4, epochs=1.0, branches=3, seconds=60.0)
    found = tuned(base, tmp_path / "short", recipe, clock=lambda: float(next(ticks)))
    whole = tuned(base, tmp_path / "long", dataclasses.replace(recipe, seconds=600.0), clock=lambda: float(next(ticks)))
    once = math.ceil(whole.card["examples"] / 4)
    assert whole.card["steps"] == 2 * once
    assert found.card["steps"] in range(once, 2 * once)


def equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def test_a_run_by_time_goes_on_where_it_was_stopped(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.tuning.training.CHECKPOINT_S", 0.0)
    recipe = Recipe(batch=4, layers=1, rank=4, seconds=60.0, epochs=1.0)
    steps: list[int] = []

    def told(report: TrainingReport) -> None:
        steps.append(report.step)
        if len(steps) == 4:
            with pytest.raises(GuardError, match="another run is making"):
                tuned(base, tmp_path / "out", recipe)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(base, tmp_path / "out", recipe, told=told)
    tuned(base, tmp_path / "out", recipe, told=told)
    assert steps[:6] == [1, 2, 3, 4, 4, 5]


KILLED = """
import sys, json, torch
from pathlib import Path
sys.path.insert(0, sys.argv[3])
torch.set_num_threads(1)
import guard.tuning.training as training
training.CHECKPOINT_S = 0.0
import importlib.util
spec = importlib.util.spec_from_file_location("case", sys.argv[4])
case = importlib.util.module_from_spec(spec); spec.loader.exec_module(case)
case.tuned(Path(sys.argv[1]), Path(sys.argv[2]), told=lambda report: print(report.step, flush=True))
"""


def test_kill_9_leaves_no_half_a_model_and_the_next_run_goes_on(base: Path, tmp_path: Path) -> None:
    tuned(base, tmp_path / "whole")
    out = tmp_path / "killed"
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(base), str(out), str(tests), __file__]
    for least in (2, 7):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= least:
                    process.kill()
                    break
        assert not out.exists()
    tuned(base, out)
    assert weights(out) == weights(tmp_path / "whole")


def test_a_checkpoint_of_another_run_is_not_gone_on_from(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.tuning.training.CHECKPOINT_S", 0.0)

    def stop(report: TrainingReport) -> None:
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(base, tmp_path / "out", told=stop)
    steps: list[int] = []
    tuned(
        base, tmp_path / "out", Recipe(steps=4, batch=4, layers=1, rank=4, seed=1), told=lambda r: steps.append(r.step)
    )
    assert steps[0] == 1


def test_time_ends_a_run(base: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    found = tuned(base, tmp_path / "out", Recipe(batch=4, layers=1, rank=4, seconds=1.0, epochs=10_000))
    assert time.monotonic() - began < 20
    assert found.card["steps"] > 0


def test_what_is_kept_of_the_lower_layers_changes_no_bit(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned(base, tmp_path / "kept")
    monkeypatch.setattr("guard.tuning.training._room", lambda *_: (100_000, 0))
    tuned(base, tmp_path / "made_anew")
    assert weights(tmp_path / "kept") == weights(tmp_path / "made_anew")


def test_too_few_examples_are_an_error_that_says_what_became_of_them(base: Path, tmp_path: Path) -> None:
    with pytest.raises(GuardError, match=r"1 examples are too few, 8 are needed \(.*asked twice\)"):
        job.tune([pairs()[0]] * 3, tmp_path / "out", model=f"transformers:{base}", recipe=RECIPE)
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_refused_leaves_no_partial_folder(base: Path, tmp_path: Path) -> None:
    with pytest.raises(GuardError, match="are too few"):
        job.tune(pairs(3), tmp_path / "out", model=f"transformers:{base}")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_folder_that_can_not_be_made_is_named(base: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GuardError) as raised:
        tuned(base, tmp_path / "file" / "x" / "out")
    said = f"--out {tmp_path}/file/x/out must be a folder that can be made: Not a directory"
    assert spoken(raised.value) == said


def test_of_two_runs_of_one_folder_the_second_is_refused_before_it_trains(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loaded while the first one ended, trained to its end, and could not be saved."""
    out, real = tmp_path / "out", job.load
    refused: list[str] = []

    def load(name: str) -> TransformersModel:
        monkeypatch.setattr(job, "load", real)
        with pytest.raises(GuardError) as raised:
            tuned(base, out)
        refused.append(str(raised.value))
        return real(name)

    monkeypatch.setattr(job, "load", load)
    tuned(base, out)
    assert refused == [f"another run is making {out}; wait for it, or name another folder"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "out"]
    (tmp_path / "made").mkdir()
    looks = iter([False, True])
    monkeypatch.setattr(Path, "exists", lambda _: next(looks))  # it is made between the look and the lock
    with pytest.raises(GuardError, match="made is there already"):
        tuned(base, tmp_path / "made")
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "made", "out"]


def test_memory_that_holds_nothing_is_an_error(base: Path, tmp_path: Path) -> None:
    with pytest.raises(GuardError, match="leaves no room"):
        tuned(base, tmp_path / "out", Recipe(steps=1, gigabytes=0.01))


@pytest.mark.parametrize(("gigabytes", "times"), [(3.0, 0), (0.62, 4)])
def test_near_its_bound_a_run_gives_free_memory_back(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gigabytes: float, times: int
) -> None:
    given: list[int] = []
    monkeypatch.setattr("guard.tuning.training.memory.give_back", lambda: given.append(1))
    tuned(base, tmp_path / "out", Recipe(steps=4, batch=4, layers=1, rank=4, gigabytes=gigabytes))
    assert len(given) == times


def test_where_all_layers_are_trained_nothing_below_them_is_kept(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    count = model.config.num_hidden_layers
    assert count > 1
    assert training._room(model, count, 3.0)[1] == 0
    assert training._room(model, count - 1, 3.0)[1] > 0


def test_where_nothing_is_held_out_nothing_is_said_of_it(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "split", lambda pairs, _: (pairs, []))
    found = tuned(base, tmp_path / "1", Recipe(steps=1, layers=1))
    assert str(found.before) == str(found.after) == "no answer was held out"
    assert found.card["validation"] == {"before": None, "after": None}
    assert found.card["questions"] == sorted(set(found.card["questions"]))
    (tmp_path / "models" / "f").mkdir(parents=True)
    (tmp_path / "1").rename(tmp_path / "models" / "f" / "1")
    registry = Registry(tmp_path / "models")
    assert registry.facts(registry.version("f", 1))["foreseen"] is None


def test_the_newest_that_are_held_out_are_validated(base: Path, tmp_path: Path) -> None:
    """Of 1,200 only 60 were, in the order of the trace: of the 60 newest, which stand at its end, hardly one."""
    asked = [dataclasses.replace(pair, started=float(number)) for number, pair in enumerate(pairs(1200))]
    validated: list[str] = []

    class Watched(training.Trainer):
        def validate(self, examples: Any) -> Any:
            validated[:] = [example.pair.source for example in examples]
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "Trainer", Watched)
        with pytest.raises(KeyboardInterrupt):
            job.tune(asked, tmp_path / "out", model=f"transformers:{base}", recipe=RECIPE)
    assert {pair.source for pair in asked[-60:]} <= set(validated)
    assert 100 <= len(validated) <= 140


def test_what_the_base_was_trained_on_is_not_held_out(base: Path, tmp_path: Path) -> None:
    """A base that was tuned itself was measured, before and after, on questions that it had learned."""
    asked = pairs()
    (base / job.CARD).write_text(json.dumps({"questions": [pair.question for pair in asked[:50]]}))
    held = {pair.question for pair in job.split(asked, job.HELD_OUT)[1]}
    first = {pair.question for pair in asked[:50]}
    assert held & first
    found = tuned(base, tmp_path / "out", dataclasses.replace(RECIPE, steps=1))
    assert found.after.examples == len(held - first)
    assert set(found.card["questions"]) == {pair.question for pair in asked} - (held - first)


def test_the_base_is_found_from_another_folder(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base.parent)
    found = job.tune(pairs(), tmp_path / "out", model=f"transformers:{base.name}", recipe=Recipe(steps=1, layers=1))
    assert found.card["base"] == f"transformers:{base.resolve()}"


@pytest.mark.parametrize("damage", [b"", b"junk", b"PK"])
def test_a_checkpoint_that_can_not_be_read_is_named(base: Path, tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "checkpoint.pt").write_bytes(damage)
    with pytest.raises(GuardError, match=r"checkpoint\.pt is no checkpoint that can be read; delete it to begin anew"):
        tuned(base, tmp_path / "out", Recipe(steps=1, layers=1))


def test_a_full_disk_is_said_and_the_checkpoint_before_stays(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(GuardError, match=r"checkpoint\.pt can't be written: \[enforce fail"):
        tuned(base, tmp_path / "out", Recipe(steps=1, layers=1))
    assert not (tmp_path / "out").exists()
