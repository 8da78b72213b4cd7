"""Every (state, token) verdict of the masks, on generated schemas: a slice of `python -m fuzz --only exactness`.

The judge itself is tested, too: worlds and their bounds, and the meeting of keywords.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from exactness.generator import KEYWORDS, PAIRS, Drawn, keywords_in
from exactness.judge import Case, case, check
from exactness.mutants import MUTANTS, ROOT
from exactness.worlds import SHAPES, world_of
from properties import within_limits
from referees import validator

SCHEMAS = len(PAIRS)  #: Consecutive seeds want each pair of keywords once.
FIRST = 1_000_000 * len(PAIRS)


@pytest.fixture(scope="module")
def judged() -> Counter[Any]:
    """Judge one schema for each pair of keywords."""
    count: Counter[Any] = Counter()
    for seed in range(FIRST, FIRST + SCHEMAS):
        count += within_limits(check, case(seed))
    return count


def test_a_token_is_allowed_exactly_where_a_valid_completion_exists(judged: Counter[Any]) -> None:
    """Nothing wrong and no dead end: those raise. The referees hardly ever differ, and limits are rare."""
    assert judged["verdicts"] > 2000 * SCHEMAS, judged
    assert judged["completions"] > 10 * SCHEMAS, judged
    assert judged["differ"] < 0.001 * judged["verdicts"], judged
    assert judged["limits"] < 0.01 * SCHEMAS, judged


def test_keywords_meet_and_matter(judged: Counter[Any]) -> None:
    """Most pairs meet in the slice already; the campaign goes on until all have met often."""
    met = sum(judged[pair] > 0 for pair in PAIRS)
    assert met > 0.9 * len(PAIRS), [pair for pair in PAIRS if not judged[pair]]


def test_every_supported_keyword_is_drawn() -> None:
    """The generator knows each of them."""
    drawn = set().union(*(keywords_in([case(seed).schema]) for seed in range(FIRST, FIRST + 400)))
    assert drawn == KEYWORDS


@pytest.mark.parametrize("by_text", [False, True], ids=["by value", "by text"])
@pytest.mark.parametrize("name", SHAPES)
def test_the_bound_of_a_world_holds_for_its_values_alone(name: str, by_text: bool) -> None:
    """And the engine writes exactly them, in every way, under it."""
    world = world_of(name, by_text)
    draft = "draft4" if by_text else "draft2020-12"
    for holder in world.rust:
        assert validator(SHAPES[name].bound(), draft).is_valid(holder)
    for others in SHAPES:
        holds = validator(SHAPES[name].bound(), draft).is_valid
        foreign = [v for v in world_of(others, by_text).rust if holds(v)]
        known = {repr(v) for v in world.rust}
        assert all(repr(v) in known or isinstance(v, dict) for v in foreign)
    for bound in ("plain", "quiet"):
        for options in ({"key_order": "any", "whitespace": "any", "spelling": "any"}, *_DEFAULTS):
            assert check(Case({}, Drawn({}, draft, name), bound, options))["states"] > 10


_DEFAULTS = [{"key_order": "schema", "whitespace": "spaced", "spelling": "canonical"}]


def test_each_mutant_still_fits_the_engine() -> None:
    """The planted faults (mutants.py) are edits of text that stands in its file once."""
    assert len(MUTANTS) >= 30
    for mutant in MUTANTS:
        text = (ROOT / "kernels" / "cpu" / mutant.file).read_text()
        assert text.count(mutant.old) == 1, f"{mutant.file}: {mutant.old!r} stands {text.count(mutant.old)} times"
        assert mutant.old != mutant.new
