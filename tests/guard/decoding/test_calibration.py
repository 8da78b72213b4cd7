"""Calibrated confidence: probabilities that rise, precisions that hold on other answers, the file beside weights."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard.decoding import answer_figures
from guard.decoding.answer_figures import WHOLE
from guard.decoding.calibration import (
    FILE,
    LEAST,
    Calibration,
    Calibrations,
    Judged,
    Known,
    calibrated,
    precisions,
    threshold,
)
from guard.decoding.confidence import Confidence, Sureness, Token, measured, shortfall
from guard.models.base import Request
from guard.models.local.transformers import TransformersModel, quiet

JUDGED = st.lists(st.builds(Judged, st.floats(-5, 0), st.booleans()), min_size=1, max_size=60)
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["new", "used"]}, "n": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["kind", "n"],
    "additionalProperties": False,
}


def drawn(seed: int, count: int = 2_000) -> list[Judged]:
    """Draw answers that are right with probability exp(confidence)."""
    chance = random.Random(seed)
    confidences = [-chance.expovariate(2.0) for _ in range(count)]
    return [Judged(c, chance.random() < 2.718281828**c) for c in confidences]


@given(judged=JUDGED)
def test_probabilities_rise_with_confidence_and_keep_the_mean(judged: list[Judged]) -> None:
    scale = calibrated(judged)
    assert list(scale.values) == sorted(scale.values)
    assert list(scale.bounds) == sorted(set(scale.bounds))
    mean = sum(scale.at(one.confidence) for one in judged) / len(judged)
    assert mean == pytest.approx(sum(one.is_right for one in judged) / len(judged))


def test_probabilities_are_those_of_the_world() -> None:
    scale = calibrated(drawn(1, 20_000))
    for confidence in (-0.1, -0.5, -1.0):
        assert scale.at(confidence) == pytest.approx(2.718281828**confidence, abs=0.05)


def test_no_threshold_is_found_where_nothing_is_right() -> None:
    assert threshold(precisions([Judged(-0.1, False)] * 50), 0.5) is None
    assert threshold(precisions([Judged(-0.1, True)] * 5), 0.5) is None
    assert threshold(precisions([]), 0.5) is None


@given(judged=JUDGED, wanted=st.floats(0.05, 1))
def test_what_is_taken_by_precision_is_what_the_threshold_takes(judged: list[Judged], wanted: float) -> None:
    scale = precisions(judged)
    least = threshold(scale, wanted)
    if scale is None:
        assert len(judged) < LEAST
        assert least is None
        return
    assert list(scale.values) == sorted(scale.values)
    for one in judged:
        is_taken = scale.at(one.confidence, below=0.0) >= wanted
        assert is_taken == (least is not None and one.confidence >= least)


def test_precision_is_kept_on_other_answers() -> None:
    scale = precisions(drawn(1))
    assert scale is not None
    taken = [one.is_right for one in drawn(2) if scale.at(one.confidence, below=0.0) >= 0.8]
    assert sum(taken) / len(taken) == pytest.approx(0.8, abs=0.03)


def figures(chance: random.Random) -> tuple[tuple[float, ...], bool]:
    """Draw an answer's figures, and whether it is right: one speaks for it, unlike real ones, two tell nothing."""
    unlikely, stated, noise = chance.expovariate(1.0), chance.random() < 0.5, chance.random()
    odds = 2.0 - 1.5 * unlikely + 1.5 * stated
    return (unlikely, float(stated), noise, 0.0), chance.random() < 1 / (1 + 2.718281828**-odds)


def test_precision_is_kept_by_confidences_of_several_figures() -> None:
    chance, kept = random.Random(3), list[bool]()
    for _ in range(5):
        made = Calibration.made([], {WHOLE: [Known(*figures(chance)) for _ in range(2_000)]})
        least = threshold(made.precision, 0.8)
        if least is not None:
            others = [Known(*figures(chance)) for _ in range(1_000)]
            kept += [one.is_right for one in others if made.confidence(one.figures) >= least]
    assert len(kept) > 0.3 * 5 * 1_000
    assert sum(kept) / len(kept) == pytest.approx(0.8, abs=0.03)


def test_an_answer_below_the_precision_or_without_a_calibration_falls_short() -> None:
    tokens = [Token("1", -0.5, 0.0, None)]
    least = Confidence(precision=0.9)
    assert (
        shortfall(measured(tokens), least) == "precision=0.9 needs a calibration for this type: guard shadow makes one"
    )
    low, high = Sureness(0.85, {}), Sureness(0.9, {})
    words = "of answers as sure as this 85.0% are expected to be right, below 90.0%"
    assert shortfall(measured(tokens, low), least) == words
    assert shortfall(measured(tokens, high), least) == ""
    assert shortfall(measured([]), least) == ""  # of a provider's answer nothing is known, and nothing asked
    with pytest.raises(ValueError, match="precision"):
        Confidence(precision=1.5)


def saved(folder: Path) -> Path:
    with quiet():
        tiny.llama().save_pretrained(folder)
        tiny.tokenizer().save_pretrained(folder)
    return folder


def test_a_calibration_beside_the_weights_decides_what_is_served_alone(tmp_path: Path, trace_file: Path) -> None:
    model = TransformersModel.from_pretrained(saved(tmp_path / "model"), name="small")
    compiled = guard.compile(SCHEMA)
    request = Request(({"role": "user", "content": "Read."},), compiled, max_tokens=60)
    bare = model.generate(request)
    assert bare.sureness is None
    own = answer_figures.figures(bare.text, bare.tokens, "Read.", SCHEMA)
    assert set(own) == {"", "/kind", "/n"}

    def calibrate(share: float, schema: str = compiled.hash) -> None:
        right = [number < share * 20 for number in range(20)]
        known = {at: [Known(found, is_right) for is_right in right] for at, found in own.items()}
        kept = Calibration.made([schema], known)
        assert Calibration.of(json.loads(json.dumps(kept.as_json()))) == kept
        (tmp_path / "new").write_text(json.dumps(kept.as_json()))
        (tmp_path / "new").replace(tmp_path / "model" / FILE)

    calibrate(0.9)  # read without a restart
    found = model.generate(request)
    assert found.sureness == Sureness(0.9, {"": 0.9, "/kind": 0.9, "/n": 0.9})

    asker = guard.Guard(
        model=model, escalate_to=_large(bare.text), confidence=guard.Confidence(precision=0.8), retries=0, max_tokens=60
    )
    _, call = asker.traced(SCHEMA, messages="Read.")
    assert (call.tier, call.probabilities) == (0, {"": 0.9, "/kind": 0.9, "/n": 0.9})
    again = asker.store.read(call.number or 0)
    assert again is not None
    assert again.probabilities == call.probabilities

    calibrate(0.7)
    _, call = asker.traced(SCHEMA, messages="Read.")
    assert (call.tier, call.escalations) == (1, ("confidence",))
    assert "70.0% are expected to be right, below 80.0%" in call.attempts[0].error

    calibrate(1.0, schema="of another type")
    _, call = asker.traced(SCHEMA, messages="Read.")
    assert call.tier == 1
    assert "needs a calibration for this type" in call.attempts[0].error


def _large(text: str) -> guard.models.base.Model:
    from scripted import Scripted

    return Scripted(*[text] * 9, name="large")


def test_a_recorded_answer_is_as_sure_when_it_is_replayed(tmp_path: Path, trace_file: Path) -> None:
    folder = saved(tmp_path / "model")
    model = TransformersModel.from_pretrained(folder, name="small")
    asker = guard.Guard(model=model, mode="record", retries=0, max_tokens=60)
    _, first = asker.traced(SCHEMA, messages="Read.")
    assert first.probabilities == {}
    known = {WHOLE: [Known((0.0,) * 4, True)] * 10}
    compiled = guard.compile(SCHEMA)
    (folder / FILE).write_text(json.dumps(Calibration.made([compiled.hash], known).as_json()))
    _, second = asker.traced(SCHEMA, messages="Read again.")
    assert second.probabilities == {"": 1.0}
    _, third = asker.using(mode="replay").traced(SCHEMA, messages="Read again.")
    assert third.probabilities == {"": 1.0}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 99}', '{"version": 2}'])
def test_a_file_of_another_version_is_no_calibration(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert Calibrations(tmp_path).now() is None
