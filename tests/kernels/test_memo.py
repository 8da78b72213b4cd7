"""A memo holds no more than its bytes, whatever it is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.kernels.memo import memo


@given(st.lists(st.integers(0, 60)), st.integers(0, 100))
def test_what_is_remembered_is_what_the_function_returns_and_fits(asked: list[int], most: int) -> None:
    called: list[int] = []

    @memo(most, lambda _result, size: size)
    def double(size: int) -> int:
        called.append(size)
        return 2 * size

    for size in asked:
        assert double(size) == 2 * size
        assert sum(key for (key,) in {*double._young, *double._old}) <= most
        if 2 * size <= most:
            before = len(called)
            assert double(size) == 2 * size
            assert len(called) == before, "it was asked a moment ago"


def test_what_is_asked_for_again_and_again_stays() -> None:
    called: list[int] = []

    @memo(100, lambda _result, _number: 10)
    def same(number: int) -> int:
        called.append(number)
        return number

    for number in range(1, 100):
        same(0)
        same(number)
    assert called.count(0) == 1


def test_an_exception_is_not_kept() -> None:
    answers = iter([ValueError("once"), 7])

    @memo(100, lambda _result: 1)
    def once() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ValueError, match="once"):
        once()
    assert once() == 7
