"""The canary's test, by simulation: what is no worse is left alone, what is much worse is found soon."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from guard.models import scripted
from guard.models.base import Reply
from guard.trace import TraceStore
from guard.trace.records import Attempt, Call
from guard.tuning.canary import ALPHA, Evidence, _counted, cautious, is_canarys, verdict
from guard.tuning.registry import Canary, Registry

RUNS = 1_000
CALLS = 300


def ended(rate: float, baseline: float, seed: int) -> int | None:
    """Return after how many answers a canary of that success rate is ended; None: not within CALLS."""
    chance = random.Random(seed)
    evidence = Evidence(baseline)
    for call in range(CALLS):
        evidence.take(chance.random() < rate)
        if evidence.value >= 1 / ALPHA:
            return call + 1
    return None


def counted(rate: float, seed: int, answers: int = 1_000) -> float:
    """Return the baseline that so many answers of the other version give."""
    chance = random.Random(f"baseline {seed}")
    return cautious(sum(chance.random() < rate for _ in range(answers)), answers)


@pytest.mark.parametrize("rate", [0.85, 0.9, 0.97])
def test_a_canary_that_is_no_worse_is_ended_in_one_run_of_a_hundred_at_most(rate: float) -> None:
    runs = [ended(rate, counted(rate, seed), seed) for seed in range(RUNS)]
    assert sum(run is not None for run in runs) <= 0.01 * RUNS


@pytest.mark.parametrize("rate", [0.85, 0.9, 0.97])
def test_a_canary_that_is_a_fifth_worse_is_found_within_300_answers(rate: float) -> None:
    runs = [ended(0.8 * rate, counted(rate, seed), seed) for seed in range(RUNS)]
    assert sum(run is not None for run in runs) >= 0.99 * RUNS


def test_what_is_said_of_a_twentieth_worse() -> None:
    """It is found now and then: 300 answers tell it from none worse only so often."""
    runs = [ended(0.95 * 0.9, counted(0.9, seed), seed) for seed in range(RUNS)]
    assert 0.01 * RUNS <= sum(run is not None for run in runs) <= 0.5 * RUNS


def test_a_verdict_is_that_of_the_answers_up_to_the_end() -> None:
    found = verdict([False] * 50 + [True] * 1_000, 0.9)
    assert found.is_worse
    assert (found.answers, found.successes) == (1_050, 1_000)
    assert not verdict([True] * 50, 0.9).is_worse
    assert verdict([False] * 50, None).evidence == 1.0


def test_a_share_of_the_inputs_is_the_canarys_and_the_same_ones_each_time() -> None:
    inputs = [({"role": "user", "content": f"question {n}"},) for n in range(4_000)]
    canary = Canary(2, 0.1, 0.0)
    chosen = [is_canarys("shop.read", messages, canary) for messages in inputs]
    assert 320 <= sum(chosen) <= 480
    assert chosen == [is_canarys("shop.read", messages, canary) for messages in inputs]
    more = Canary(2, 0.3, 0.0)
    assert all(is_canarys("shop.read", m, more) for m, is_chosen in zip(inputs, chosen, strict=True) if is_chosen)


def test_no_caller_can_compute_which_inputs_are_the_canarys(tmp_path: Path) -> None:
    """The hash had no secret: whoever knew the function's name could ask the canary alone, and hang up."""
    inputs = [({"role": "user", "content": f"question {n}"},) for n in range(1_000)]
    for number in (1, 2):
        (tmp_path / "f" / str(number)).mkdir(parents=True)
    registry = Registry(tmp_path)
    first, second = (registry.start_canary("f", 2, 0.5, force=True).canary for _ in range(2))
    assert first is not None
    assert second is not None
    assert registry.serving("f").canary == second
    unlike = sum(is_canarys("f", one, first) != is_canarys("f", one, second) for one in inputs)
    assert 400 <= unlike <= 600


NEW = "tuned:f@2"


@pytest.mark.parametrize(
    ("reason", "reply", "options", "expected"),
    [
        ("", scripted.reply("1", model=NEW), {}, [True]),
        ("invalid", scripted.reply("1", model=NEW), {}, [False]),
        ("error", scripted.reply("", model=NEW, finish="cut"), {}, [False]),
        ("interrupted", scripted.reply("", model=NEW, finish="cut"), {}, []),
        ("budget", scripted.reply("1", model=NEW, finish="cut"), {}, []),
        ("schema", scripted.reply("", model=NEW, finish="cut"), {}, []),
        ("length", scripted.reply("1", model=NEW, finish="length"), {"max_tokens": 1}, []),
        ("length", scripted.reply("1", model=NEW, finish="length"), {"max_tokens": None}, [False]),
        ("length", scripted.reply("1", model=NEW, finish="length", repeated_at=("",)), {"max_tokens": 9}, [False]),
        ("length", scripted.reply("", model=NEW, finish="cut"), {}, []),  # its prompt is too long
    ],
)
def test_what_the_caller_ended_is_no_failure_of_the_canary(
    reason: str, reply: Reply, options: dict[str, Any], expected: list[bool], tmp_path: Path
) -> None:
    """A stranger who hung up in time, or asked for one token, ended a canary that was as good as the other version."""
    store = TraceStore.at(tmp_path / "trace.db")
    attempt = Attempt(1, ({"role": "user", "content": "?"},), reply, model="tuned:f", reason=reason)
    store.write(Call("f", "int", "", "", "tuned:f", options, time.time(), attempts=(attempt,)))
    outcomes, _ = _counted(store, "f", 1, Canary(2, 0.5, 0.0))
    assert outcomes == expected
