"""Errors and records that another process, or a copy, is handed: with all that they carry."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from scripted import Scripted

import guard
from guard import errors, formats
from guard.batch.map_run import Result
from guard.models.scripted import ScriptedModel

WAYS: list[Callable[[Any], Any]] = [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy]
VIOLATION = errors.Violation("/a", "minimum", "an integer >= 1", "-4")
FINDING = errors.Finding("/maximum", "maximum", "is no number", "correct it")
ERRORS = [one for name in errors.__all__ if issubclass(one := getattr(errors, name), guard.GuardError)]
CARRIED = st.dictionaries(
    st.sampled_from(["retry_after", "needed", "conversation", "call", "findings", "a_subclass_may_have_more"]),
    st.none() | st.integers() | st.tuples(st.just(VIOLATION)) | st.lists(st.text(max_size=3), max_size=2),
)


@given(kind=st.sampled_from(ERRORS), carried=CARRIED, notes=st.lists(st.text(max_size=5), max_size=2))
def test_an_error_keeps_all_that_it_carries(
    kind: type[guard.GuardError], carried: dict[str, Any], notes: list[str]
) -> None:
    error: Any = guard.SchemaError(FINDING, limit="depth") if kind is guard.SchemaError else kind("said", *())
    for name, value in carried.items():
        if not (kind is guard.SchemaError and name == "findings"):
            setattr(error, name, value)
    for note in notes:
        error.add_note(note)
    for way in WAYS:
        again = way(error)
        assert (type(again), str(again), again.args, vars(again)) == (kind, str(error), error.args, vars(error))


def test_what_an_error_carries_is_there_in_another_process() -> None:
    error = guard.RateLimited("slow down", findings=[VIOLATION], call=3)
    error.retry_after, error.conversation = 3.5, {"messages": [1]}
    error.add_note("seen by the worker")
    again = pickle.loads(pickle.dumps(error))
    assert (again.retry_after, again.conversation, again.findings) == (3.5, {"messages": [1]}, (VIOLATION,))
    assert again.__notes__ == ["seen by the worker"]
