"""An error that was told leaves nothing of the work behind that failed."""

from __future__ import annotations

import gc
import weakref

import pytest

from guard.support import frames


class Body:
    """Something large."""


def _fails(kept: list[weakref.ref[Body]]) -> None:
    body = Body()
    kept.append(weakref.ref(body))
    raise ValueError("no")


def _in_a_circle(kept: list[weakref.ref[Body]]) -> None:
    """The frame knows the error that knows the frame, as that of who waits for a task does."""
    found = None
    try:
        try:
            _fails(kept)
        except ValueError as error:
            raise KeyError from error
    except KeyError as error:
        found = error
    assert found is not None
    raise found


@pytest.mark.parametrize("is_let_go", [True, False])
def test_what_frames_hold_goes_without_a_collection_of_garbage(is_let_go: bool) -> None:
    kept: list[weakref.ref[Body]] = []
    gc.collect()
    gc.disable()
    try:
        try:
            _in_a_circle(kept)
        except KeyError as error:
            if is_let_go:
                frames.let_go(error)
        assert (kept[0]() is None) == is_let_go
    finally:
        gc.enable()


def test_errors_that_know_each_other_come_to_an_end() -> None:
    one, other = ValueError(), ValueError()
    one.__cause__, other.__context__ = other, one
    frames.let_go(one)
