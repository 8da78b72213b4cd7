"""What may be sent to another process, by content; and what says why it may not."""

from __future__ import annotations

import copy
import copyreg
import inspect
import json
import multiprocessing
import pickle
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard.calls.decorator import Structured
from guard.kernels import allocate_bitmask
from guard.models.scripted import ScriptedModel
from guard.trace import TraceStore

VOCABULARY = guard.Vocabulary.from_bytes([bytes([b]) for b in range(256)] + [b"", b'{"a"'], [256])


def masks(compiled: guard.Compiled, vocabulary: guard.Vocabulary) -> list[bytes]:
    """Return the masks along a shortest value."""
    matcher = compiled.matcher(vocabulary)
    row, found = allocate_bitmask(1, vocabulary.size), []
    for _ in range(20):
        matcher.fill_bitmask(row)
        found.append(row.tobytes())
        allowed = np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little"))
        if not len(allowed) or not matcher.accept(int(allowed[0])):
            break
    return found


@given(case=strategies.cases())
def test_a_compiled_schema_is_sent_by_content(case: strategies.Case) -> None:
    try:
        compiled = guard.compile(case.schema, key_order="any", limits=guard.Limits(depth=300))
    except guard.SchemaError:
        return
    again = pickle.loads(pickle.dumps(compiled))
    assert (again.schema, again.options, again.hash) == (compiled.schema, compiled.options, compiled.hash)
    assert masks(again, VOCABULARY) == masks(compiled, VOCABULARY)
    assert copy.deepcopy([compiled])[0] is copy.copy(compiled) is compiled


@pytest.mark.parametrize(
    "schema", [True, False, '{"maximum": 1e400}', {"const": 2**3_000}, {"enum": ["\ud800", 1.0, 1, None]}]
)
def test_odd_schemas_are_sent_too(schema: Any) -> None:
    compiled = guard.compile(schema)
    again = pickle.loads(pickle.dumps(compiled))
    assert again.hash == compiled.hash
    assert repr(again.schema) == repr(compiled.schema)


def test_documents_and_options_are_sent() -> None:
    documents = {"https://example.com/b": {"type": "integer", "minimum": Decimal("1")}}
    compiled = guard.compile(
        {"$ref": "https://example.com/b"}, documents=documents, draft="draft7", whitespace="compact", inexact="residual"
    )
    again = pickle.loads(pickle.dumps(compiled))
    assert again.hash == compiled.hash
    assert masks(again, VOCABULARY) == masks(compiled, VOCABULARY)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda a: ({"type": "no such"}, *a[1:]), guard.SchemaError),
        (lambda a: (object(), *a[1:]), (TypeError, ValueError, guard.SchemaError)),
        (lambda a: ({"enum": ["x" * 20_000_000]}, *a[1:]), guard.SchemaError),
        (lambda a: (a[0], {**a[1], "limits": 3}, a[2]), TypeError),
        (lambda a: (a[0], {**a[1], "limits": _Limits(seconds=-1)}, a[2]), ValueError),
        (lambda a: (a[0], {**a[1], "key_order": "none"}, a[2]), ValueError),
        (lambda a: (a[0], {**a[1], "more": 1}, a[2]), TypeError),
    ],
)
def test_a_broken_pickle_meets_the_compiler_and_its_limits(change: Any, error: Any) -> None:
    make, arguments = copyreg.dispatch_table[guard.Compiled](guard.compile({"type": "integer"}))
    with pytest.raises(error):
        make(*change(arguments))


def _Limits(**fields: Any) -> guard.Limits:  # noqa: N802 (as a pickle makes one: unchecked)
    made = guard.Limits()
    vars(made).update(fields)
    return made


@given(
    tokens=st.lists(st.binary(max_size=4), max_size=30),
    special=st.sets(st.integers(256, 260)),
)
def test_a_vocabulary_is_sent_by_content(tokens: list[bytes], special: set[int]) -> None:
    table = [bytes([b]) for b in range(256)] + [b"end", b"s", b"p", b"q", b"r", *tokens]
    vocabulary = guard.Vocabulary.from_bytes(table, [256], special)
    again = pickle.loads(pickle.dumps(vocabulary))
    assert (again.size, again.eos, again.special) == (vocabulary.size, vocabulary.eos, vocabulary.special)
    assert [*map(again.token_bytes, range(again.size))] == [*map(vocabulary.token_bytes, range(vocabulary.size))]
    compiled = guard.compile({"type": ["string", "integer"]})
    assert masks(compiled, again) == masks(compiled, vocabulary)
    assert copy.deepcopy(vocabulary) is vocabulary


def test_a_vocabulary_keeps_its_alphabet() -> None:
    vocabulary = guard.Vocabulary.from_bytes([b"1", b"2", b""], [2], alphabet=b"12")
    assert pickle.loads(pickle.dumps(vocabulary)).size == 3


@pytest.mark.parametrize("send", [pickle.dumps, cloudpickle.dumps, copy.copy, copy.deepcopy])
def test_a_matcher_says_why_it_is_not_sent(send: Any) -> None:
    matcher = guard.compile(True).matcher(VOCABULARY)
    words = r"a Matcher is a place in a text under way: pickle its guard\.Compiled"
    with pytest.raises(TypeError, match=words) as caught:
        send(matcher)
    assert "\n" not in str(caught.value)


@guard.structured(model="smollm2", retries=1)
def read(text: str) -> dict[str, int]:
    """Read it."""


class Reader:
    @guard.structured(model="smollm2")
    def method(self, text: str) -> dict[str, int]:
        """Read it."""

    @guard.structured(model="smollm2")
    @classmethod
    def of_class(cls, text: str) -> dict[str, int]:
        """Read it."""

    @classmethod
    @guard.structured(model="smollm2")
    def below(cls, text: str) -> dict[str, int]:
        """Read it."""

    @staticmethod
    @guard.structured(model="smollm2")
    def of_nobody(text: str) -> dict[str, int]:
        """Read it."""


def _answers(function: Any) -> Any:
    """Ask in another process, of a scripted model."""
    return function.using(model=ScriptedModel('{"a": 3}'))("three")


def test_a_decorated_function_is_sent_by_name() -> None:
    assert pickle.loads(pickle.dumps(read)) is read
    assert cloudpickle.loads(cloudpickle.dumps(read)) is read
    methods = Reader().method, Reader.of_class, Reader().of_class, Reader.below, Reader().below, Reader.of_nobody
    for method in methods:
        bound = pickle.loads(pickle.dumps(method))
        assert getattr(bound, "__func__", bound).name == getattr(method, "__func__", method).name
        if isinstance(bound, Structured):  # from Python 3.13 on, a classmethod's is a method, which has no using
            assert bound.using(model=ScriptedModel('{"b": 1}'))("x") == {"b": 1}
    changed = pickle.loads(pickle.dumps(read.using(seed=7)))
    assert (changed.guard.policy.seed, changed.__qualname__, changed.name) == (7, "read", read.name)


french = read.saying("Lis-le.")


def _asked(function: Any) -> list[str]:
    """Return the prompt, in another process."""
    return [message["content"] for message in function.messages("x")]


@pytest.mark.parametrize(
    "way",
    [
        lambda one: pickle.loads(pickle.dumps(one)),
        lambda one: cloudpickle.loads(cloudpickle.dumps(one)),
        copy.copy,
        copy.deepcopy,
    ],
)
def test_what_a_function_was_told_is_sent_and_copied(way: Any) -> None:
    def local(text: str, days: int = 3) -> dict[str, int]:
        """Read it."""
        raise NotImplementedError

    decorated = guard.structured(model="smollm2", examples=[(("a", 2), {"b": 1})])(local)
    functions = read, french, Reader().method.saying("Sag es."), Reader.of_class.saying("Sag es."), decorated
    for function in (*functions, decorated.saying("Sag es."), decorated.using(seed=3, system="You read.")):
        again = way(function)
        assert again.messages("x") == function.messages("x")
        assert (again.name, again.inputs, again.__name__) == (function.name, function.inputs, function.__name__)
        assert again.guard.policy == function.guard.policy
        assert [*inspect.signature(again).parameters] == [*inspect.signature(function).parameters]
    assert (read.__wrapped__.__qualname__, local.__qualname__.rpartition(".")[2]) == ("read", "local")  # type: ignore[attr-defined]


def test_spawned_processes_are_asked_what_was_said() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_asked, (french,)) == ["x\n\nLis-le. Answer as JSON."]


def test_spawned_processes_take_compiled_schemas_vocabularies_and_functions(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("GUARD_TRACE", str(tmp_path / "trace.db"))
    compiled = guard.compile({"type": "integer"})
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(masks, (compiled, VOCABULARY)) == masks(compiled, VOCABULARY)
        assert pool.apply(_answers, (read,)) == {"a": 3}


PROGRAM = """
import multiprocessing, sys
import cloudpickle, guard
from guard.kernels import allocate_bitmask
from guard.models.scripted import ScriptedModel
from guard.trace import TraceStore

COMPILED = guard.compile({"type": "integer", "minimum": 3})

@guard.structured(model="smollm2", budget=guard.Budget(seconds=30))
def read(text: str) -> dict[str, int]:
    "Read it."

def ask(function):
    return function.using(model=ScriptedModel('{"a": 3}'))("three")

def task(text):
    assert COMPILED.schema["minimum"] == 3
    return read.using(model=ScriptedModel('{"a": 4}'))(text)

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(ask, (read,)))
    open(sys.argv[1], "wb").write(cloudpickle.dumps((task, read, ask)))
"""


def test_a_programs_own_functions_are_sent_to_spawned_processes_and_to_other_machines(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("GUARD_TRACE", str(tmp_path / "trace.db"))
    (tmp_path / "program.py").write_text(PROGRAM)
    sent = tmp_path / "sent.pickle"
    here = subprocess.run(
        [sys.executable, str(tmp_path / "program.py"), str(sent)], capture_output=True, text=True, check=False
    )
    assert (here.stdout, here.stderr) == ("{'a': 3}\n", "")
    other = (
        "import cloudpickle, sys; task, read, ask = cloudpickle.load(open(sys.argv[1], 'rb')); "
        "print(task('x'), ask(read))"
    )
    there = subprocess.run([sys.executable, "-c", other, str(sent)], capture_output=True, text=True, check=False)
    assert there.stdout == "{'a': 4} {'a': 3}\n", there.stderr


def test_what_a_guard_is_made_of_is_sent(tmp_path: Path) -> None:
    asker = guard.Guard("smollm2", trace=TraceStore.at(tmp_path / "trace.db"), on={"error": "fail"})
    assert json.dumps(dict(asker.policy.as_json))
    again = pickle.loads(pickle.dumps(asker))
    assert (again.policy, again.tiers, again.store) == (asker.policy, asker.tiers, asker.store)
