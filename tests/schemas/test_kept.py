"""Compiled schemas by content: what is the same is compiled once, what is not is told apart, all within bounds."""

from __future__ import annotations

import copy
import json
import os
import pickle
import threading
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard.schemas.kept import Kept

SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"const": 1}}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


class Made:
    """What stands for a compiled schema."""

    def __init__(self, nbytes: int = 1, key: Any = None) -> None:
        self.nbytes, self.key = nbytes, key


made: Any = Made


def twice(kept: Kept, key: Any, make: Any = made) -> Any:
    """Ask so that it is kept, and let go of it."""
    kept.get(key, make)
    return kept.get(key, make)


def test_what_was_asked_for_once_goes_with_whoever_holds_it_and_stays_after_that() -> None:
    kept = Kept()
    held = kept.get("key", made)
    seen = weakref.ref(held)
    assert kept.get("other", made) is not held
    del held
    assert seen() is None
    held = kept.get("key", made)
    seen = weakref.ref(held)
    del held
    assert kept.get("key", made) is seen()
    assert len(kept) == 2


def test_the_same_schema_is_the_same_object_however_it_is_said() -> None:
    first = guard.compile(SCHEMA)
    assert guard.compile(json.loads(json.dumps(SCHEMA))) is first
    assert guard.compile(json.dumps(SCHEMA, indent=3)) is first
    assert guard.compile(json.dumps(SCHEMA).encode(), whitespace="spaced", limits=guard.Limits()) is first


@pytest.mark.parametrize(
    "other",
    [
        {"type": "object", "properties": {"a": {"const": 1}, "b": {"type": "string"}}},
        {"properties": {"b": {"type": "string"}, "a": {"const": 1}}, "type": "object"},
        {"type": "object", "properties": {"b": {"type": "string"}, "a": {"const": 1.0}}},
        {"type": "object", "properties": {"b": {"type": "string"}, "a": {"const": True}}},
        {"type": "object", "properties": {"b": {"type": "string"}, "a": {"const": "1"}}},
    ],
)
def test_what_is_said_otherwise_is_another_object(other: Any) -> None:
    assert guard.compile(other) is not guard.compile(SCHEMA)


@pytest.mark.parametrize(
    "options",
    [
        {"key_order": "any"},
        {"whitespace": "any"},
        {"spelling": "any"},
        {"formats": False},
        {"draft": "draft7"},
        {"inexact": "residual"},
        {"limits": guard.Limits(states=1000)},
    ],
)
def test_other_options_are_another_object(options: dict[str, Any]) -> None:
    other = guard.compile(SCHEMA, **options)
    assert other is not guard.compile(SCHEMA)
    assert other is guard.compile(SCHEMA, **options)


def test_documents_are_read_anew() -> None:
    """Where references lead may hold anything by the next call."""
    schema = {"$ref": "urn:x"}
    first = guard.compile(schema, documents={"urn:x": {"const": 1}})
    assert guard.compile(schema, documents={"urn:x": {"const": 2}}) is not first


def test_what_becomes_of_a_callers_dict_later_does_not_matter() -> None:
    schema: dict[str, Any] = {"const": "before"}
    first = guard.compile(schema)
    schema["const"] = "after"
    second = guard.compile(schema)
    assert second is not first
    assert guard.compile({"const": "before"}) is first
    assert first.schema == {"const": "before"}


@given(JSON)
def test_a_kept_schema_says_what_was_asked_for(value: Any) -> None:
    """Constants of any kind, asked for twice: the one that comes back says exactly this, to the type and the order."""
    for _ in range(2):
        try:
            compiled = guard.compile({"const": value})
        except guard.SchemaError as error:
            if error.limit is None and "surrogate" not in str(error):
                raise
            return
        assert json.dumps(compiled.schema) == json.dumps({"const": value})


def test_a_refusal_is_raised_each_time_and_takes_no_place() -> None:
    kept = Kept()

    def refuse() -> Any:
        raise guard.SchemaError(guard.Finding("", None, "no", "no"))

    for _ in range(3):
        with pytest.raises(guard.SchemaError):
            kept.get("key", refuse)
    assert len(kept) == 0
    schema = {"type": 3}
    for _ in range(2):
        with pytest.raises(guard.SchemaError, match="type"):
            guard.compile(schema)


def test_threads_that_ask_at_the_same_time_wait_for_one_compile() -> None:
    kept, begun, go = Kept(), threading.Event(), threading.Event()
    calls: list[int] = []
    found: list[Any] = []

    def make() -> Any:
        calls.append(1)
        begun.set()
        assert go.wait(30)
        return made()

    threads = [threading.Thread(target=lambda: found.append(kept.get("key", make))) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    assert kept.get("another", made) is not None  # nobody else waits
    go.set()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len(found) == 6
    assert len({id(one) for one in found}) == 1


def test_after_a_refusal_the_next_in_line_tries_itself() -> None:
    kept, begun, go = Kept(), threading.Event(), threading.Event()
    good, found = made(), []

    def bad() -> Any:
        begun.set()
        assert go.wait(30)
        raise ValueError("no")

    def first() -> None:
        with pytest.raises(ValueError, match="no"):
            kept.get("key", bad)

    one = threading.Thread(target=first)
    one.start()
    assert begun.wait(30)
    two = threading.Thread(target=lambda: found.append(kept.get("key", lambda: good)))
    two.start()
    go.set()
    one.join()
    two.join()
    assert found == [good]


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    kept = Kept(most=3)
    first = {key: kept.get(key, made) for key in "abc"}
    assert kept.get("a", made) is first["a"]
    kept.get("d", made)
    assert len(kept) == 3
    assert kept.get("a", made) is first["a"]
    assert kept.get("c", made) is first["c"]
    assert kept.get("b", made) is not first["b"]


def test_what_is_kept_holds_no_more_bytes_than_allowed_even_where_it_grows_later() -> None:
    kept = Kept(nbytes=100)
    one, two = made(30), made(30)
    twice(kept, "one", lambda: one)
    twice(kept, "two", lambda: two)
    assert len(kept) == 2
    two.nbytes = 90  # walked since
    twice(kept, "three", lambda: made(1))
    assert len(kept) == 2  # "one" had to go
    assert kept.get("two", made) is two
    twice(kept, "large", lambda: made(1000))
    assert len(kept) == 1  # what is in use stays, whatever it holds


def test_threads_compile_and_are_turned_out_at_the_same_time() -> None:
    """A few keys in a cache that is smaller: whoever asks gets what belongs to the key."""
    kept, wrong = Kept(most=2), []

    def ask(start: int) -> None:
        for n in range(start, start + 400):
            key = n % 5
            if kept.get(key, lambda key=key: made(key, key)).key != key:
                wrong.append(key)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(kept) == 2


def test_after_a_fork_nobody_waits_for_a_thread_that_is_gone() -> None:
    kept, begun, go = Kept(), threading.Event(), threading.Event()

    def make() -> Any:
        begun.set()
        assert go.wait(30)
        return made()

    thread = threading.Thread(target=lambda: kept.get("key", make))
    thread.start()
    assert begun.wait(30)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            kept.recover()  # as after every fork
            code = 0 if kept.get("key", lambda: made(5)).nbytes == 5 else 2
        finally:
            os._exit(code)
    go.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_options_that_an_engine_has_taken_survive_a_pickle() -> None:
    options = guard.compile({"type": "object"}, key_order="any", draft="draft7").options
    again = pickle.loads(pickle.dumps(options))
    assert again == options
    assert again.tag == options.tag
    assert copy.deepcopy(options) == options
