"""Every test's own trace, and seeds that draw the same wherever a test runs."""

from collections.abc import Iterator

import pytest
from hypothesis.internal.conjecture import providers
from traces import trace_file

__all__ = ["trace_file"]


@pytest.fixture
def no_constants_of_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep Hypothesis from the constants in the modules that are loaded: a seed draws the same in every process."""
    monkeypatch.setattr(providers, "_get_local_constants", providers.Constants)
    providers.CONSTANTS_CACHE.cache.clear()
    yield
    providers.CONSTANTS_CACHE.cache.clear()
