"""Functions that are a docstring and nothing else, as mypy takes them with `guard.mypy`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import guard
from guard import structured
from guard import structured as asked


@guard.structured
def bare(text: str) -> int:
    """Count."""


@guard.structured(model="smollm2")
def read(text: str) -> int:
    """Count."""


@structured(seed=3)
async def aread(text: str) -> int:
    """Count."""


@asked
def parts(text: str) -> Iterator[int]:
    """Count."""


@asked()
def aparts(text: str) -> AsyncIterator[int]:
    """Count."""


class Desk:
    """Methods."""

    @guard.structured
    def bare(self, text: str) -> int:
        """Count."""

    @guard.structured(retries=0)
    def read(self, text: str) -> int:
        """Count."""


assert_type(bare("x") + read("x") + Desk().bare("x") + Desk().read("x"), int)
assert_type(parts("x"), guard.Stream[int])
assert_type(aparts("x"), guard.AsyncStream[int])
