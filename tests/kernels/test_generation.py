"""An adversary writes under budgets: whatever its logits are, every output ends in time and is valid."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from properties import check_generation, within_limits
from strategies import VOCABULARIES, case, vocabulary

GENERATIONS = 500  #: Of each kind; seeds count from the kind's own.


@pytest.mark.parametrize(("first", "seed"), [(True, 1_000_000), (False, 2_000_000)], ids=["first set", "all keywords"])
def test_every_generation_ends_inside_its_budget_with_a_valid_value(first: bool, seed: int) -> None:
    """Random schemas and options, random logits, random budgets at or above distance()."""
    count: Counter[str] = Counter()
    while count["texts"] < GENERATIONS:
        drawn = case(Random(seed + count["schemas"]), first=first)
        count += within_limits(check_generation, drawn, vocabulary(count["schemas"] % VOCABULARIES))
    assert count["differ"] < 0.01 * count["texts"], count
    assert count["limits"] <= 0.01 * count["schemas"], count
    assert count["unsatisfiable"] < 0.5 * count["schemas"], count
    assert count["tokens"] > 5 * count["texts"], count
    assert count["scarce"] >= count["lacking"] > 0.9 * count["scarce"], count
