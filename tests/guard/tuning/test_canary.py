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
from guard.tuning.canary import ALPHA, FirstAnswers, _counted, evidence, is_canarys
from guard.tuning.registry import Canary, Registry

RUNS = 1_000
CALLS = 300


def ended(rate: float, beside: float, seed: int, share: float, calls: int = CALLS, before: int = 0) -> bool:
    """Whether a canary of that success rate and share is ended within so many of its answers; looks after each."""
    chance = random.Random(f"{seed} {share}")
    new, old = FirstAnswers(), FirstAnswers()
    for _ in range(before):
        old.take(chance.random() < beside)
    while new.answers < calls:
        if chance.random() >= share:
            old.take(chance.random() < beside)
            continue
        new.take(chance.random() < rate)
        if evidence(new, old) >= 1 / ALPHA:
            return True
    return False


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("rate", [0.85, 0.9, 0.97])
def test_a_canary_that_is_no_worse_is_not_ended_whatever_its_share(rate: float, share: float) -> None:
    """The baseline was an estimate, taken for the truth: at a share of 0.9, 2.7% of the sound ones were ended."""
    assert sum(ended(rate, rate, seed, share) for seed in range(RUNS)) <= ALPHA * RUNS


@pytest.mark.parametrize("rate", [0.85, 0.9, 0.97])
def test_a_canary_that_is_no_worse_than_a_given_rate_is_not_ended(rate: float) -> None:
    wrongly = 0
    for seed in range(RUNS):
        chance, new = random.Random(seed), FirstAnswers()
        for _ in range(CALLS):
            new.take(chance.random() < rate)
            if evidence(new, rate) >= 1 / ALPHA:
                wrongly += 1
                break
    assert wrongly <= ALPHA * RUNS


@pytest.mark.parametrize(("rate", "found"), [(0.85, 0.9), (0.9, 0.98), (0.97, 0.99)])
def test_a_canary_that_is_a_fifth_worse_is_found_within_300_answers(rate: float, found: float) -> None:
    runs = [ended(0.8 * rate, rate, seed, share=1.0, before=1_000) for seed in range(RUNS // 5)]
    assert sum(runs) >= found * len(runs)


def test_what_is_said_of_a_twentieth_worse() -> None:
    """It is found now and then: 300 answers tell it from none worse only so often."""
    runs = [ended(0.95 * 0.9, 0.9, seed, share=1.0, before=1_000) for seed in range(RUNS // 5)]
    assert sum(runs) <= 0.1 * len(runs)


def test_evidence_is_that_of_the_counts() -> None:
    assert evidence(FirstAnswers(0, 0), FirstAnswers(0, 0)) == pytest.approx(1)
    assert evidence(FirstAnswers(3, 0), FirstAnswers(3, 3)) == pytest.approx(0.25 * 0.25 * 2**6)
    assert evidence(FirstAnswers(50, 50), FirstAnswers(50, 20)) < 1
    assert evidence(FirstAnswers(50, 0), 0.9) > 1e40
    assert evidence(FirstAnswers(50, 50), 0.9) < 1
    assert evidence(FirstAnswers(50, 49), 1.0) < 1 / ALPHA


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
        ("", scripted.reply("1", model=NEW), {}, (1, 1)),
        ("invalid", scripted.reply("1", model=NEW), {}, (1, 0)),
        ("error", scripted.reply("", model=NEW, finish="cut"), {}, (1, 0)),
        ("interrupted", scripted.reply("", model=NEW, finish="cut"), {}, (0, 0)),
        ("budget", scripted.reply("1", model=NEW, finish="cut"), {}, (0, 0)),
        ("schema", scripted.reply("", model=NEW, finish="cut"), {}, (0, 0)),
        ("length", scripted.reply("1", model=NEW, finish="length"), {"max_tokens": 1}, (0, 0)),
        ("length", scripted.reply("1", model=NEW, finish="length"), {"max_tokens": None}, (1, 0)),
        ("length", scripted.reply("1", model=NEW, finish="length", repeated_at=("",)), {"max_tokens": 9}, (1, 0)),
        ("length", scripted.reply("", model=NEW, finish="cut"), {}, (0, 0)),  # its prompt is too long
    ],
)
def test_what_the_caller_ended_is_no_failure_of_the_canary(
    reason: str, reply: Reply, options: dict[str, Any], expected: tuple[int, int], tmp_path: Path
) -> None:
    """A stranger who hung up in time, or asked for one token, ended a canary that was as good as the other version."""
    store = TraceStore.at(tmp_path / "trace.db")
    attempt = Attempt(1, ({"role": "user", "content": "?"},), reply, model="tuned:f", reason=reason)
    store.write(Call("f", "int", "", "", "tuned:f", options, time.time(), attempts=(attempt,)))
    new, _ = _counted([store], "f", 1, Canary(2, 0.5, 0.0))
    assert (new.answers, new.successes) == expected
