"""What `make fuzz` puts to the harness: drawn schemas, of which some have no value."""

from __future__ import annotations

import pytest

from fuzz.__main__ import PROPERTIES


@pytest.mark.parametrize(("seed", "counted"), [(1795767479000, "trials"), (1795767479001, "empty")])
def test_a_drawn_schema_is_put_to_the_harness(seed: int, counted: str) -> None:
    harness = PROPERTIES["harness"]
    assert harness.check(harness.draw(seed))[counted] > 0
