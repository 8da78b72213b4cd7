"""Records as a table: what Parquet and Arrow hold is what JSON lines say, in types of their own."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import reply

from guard.decoding.alternative import Alternative
from guard.decoding.confidence import Token
from guard.errors import Violation
from guard.output.repair import Edit
from guard.schemas.grounding.sources import Place
from guard.trace import TraceError, record_table
from guard.trace.records import Attempt, Call, Shown
from guard.trace.row_codec import restored

ASKED = {"role": "user", "content": "How many?"}
TOKENS = (Token("3", -0.5, 0.25, None), Token("", 0.0, 0.0, 1.5, forced=True))
OTHERS = {"/a": (Alternative(4, 0.25),)}
FIRST = Attempt(
    1,
    (ASKED, {"role": "user", "content": [{"type": "text", "text": "\ud800"}]}),
    reply("1\0", cost=None, tokens=TOKENS, cut_at=("", "/a"), room=2**40, alternatives=OTHERS),
    (Violation("/a", "minimum", "a number >= 3", "1"),),
    reason="invalid",
    started=1_770_000_000.25,
    sources={"/a": (Place("text", 1, 2),)},
    inputs={"text": Shown(0, 1, 0, 4)},
    fields=("a",),
)
SECOND = Attempt(2, (), None, error="it broke: \ud800\x1a", reason="error", model="m", tier=1)
THIRD = Attempt(3, (ASKED,), reply("so: 3", cost=0.5), repairs=(Edit(0, "prose", "so: ", ""),), repaired="3")
CALL = Call("f", "T", "hash", "typed/1", "m", {"tiers": ["m"]}, 1_770_000_000.5, attempts=(FIRST, SECOND, THIRD))
NONE = dataclasses.replace(CALL, attempts=(), outcome="BudgetExceeded", error="nothing left")


def written(form: str, calls: Any, path: Path) -> list[dict[str, Any]]:
    """Write calls in a format, and return the rows that its reader finds."""
    with path.open("w", encoding="utf-8") as file, record_table.FORMATS[form](file) as write:
        for call in calls:
            write(call)
    if form == "jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    table = pyarrow.parquet.read_table(path) if form == "parquet" else pyarrow.feather.read_table(path)
    rows: list[dict[str, Any]] = [as_json(record_table.CALL, row) for row in table.to_pylist()]
    return rows


def as_json(kind: Any, value: Any) -> Any:
    """Return what JSON lines would have said, by the kind of the column."""
    if value is None:
        return None
    if isinstance(kind, list):
        return [as_json(kind[0], one) for one in value]
    if isinstance(kind, dict):
        assert list(value) == list(kind)
        return {name: as_json(of, value[name]) for name, of in kind.items()}
    if kind == "moment":
        return value.timestamp()
    return json.loads(value) if kind == "json" else restored(value) if kind == "text" else value


def numbered(*calls: Call) -> list[Call]:
    return [dataclasses.replace(call, number=number) for number, call in enumerate(calls, 1)]


texts = st.text(st.characters() | st.sampled_from("\0\x1a\ud800\udfff"), max_size=8)
numbers = st.floats(allow_nan=False)
replies = st.builds(
    reply,
    texts,
    cost=st.none() | numbers,
    tokens=st.lists(st.builds(Token, texts, numbers, numbers, st.none() | numbers, st.booleans()), max_size=2).map(
        tuple
    ),
    cut_at=st.lists(texts, max_size=2).map(tuple),
    room=st.none() | st.integers(0, 2**63 - 1),
    decision=st.none() | numbers,
    is_kept=st.booleans(),
)
attempts = st.builds(
    Attempt,
    st.integers(1, 9),
    st.lists(st.dictionaries(texts, texts | st.integers() | st.none(), max_size=2), max_size=2).map(tuple),
    st.none() | replies,
    st.lists(st.builds(Violation, texts, texts, texts, texts), max_size=2).map(tuple),
    error=texts,
    repairs=st.lists(st.builds(Edit, st.integers(0, 99), texts, texts, texts), max_size=2).map(tuple),
    repaired=st.none() | texts,
    started=st.integers(0, 2**32).map(float),
)
calls = st.builds(
    Call,
    *[texts] * 5,
    st.dictionaries(texts, st.none() | st.integers() | texts, max_size=2),
    st.integers(0, 2**32).map(lambda quarter: quarter / 4),
    seconds=numbers,
    error=texts,
    attempts=st.lists(attempts, max_size=3).map(tuple),
)


@pytest.mark.parametrize("form", record_table.BINARY)
@given(some=st.lists(calls, max_size=4))
def test_a_table_says_what_json_lines_say(
    form: str, some: list[Call], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("table")
    there = numbered(*some)
    assert written(form, there, folder / "calls") == written("jsonl", there, folder / "calls.jsonl")


@pytest.mark.parametrize("form", ["jsonl", *record_table.BINARY])
def test_every_part_of_a_record_is_in_its_row(form: str, tmp_path: Path) -> None:
    first, second = written(form, numbered(CALL, NONE), tmp_path / "calls")
    assert [first["number"], second["number"], second["attempts"], second["error"]] == [1, 2, [], "nothing left"]
    one, two, three = first["attempts"]
    assert one["messages"] == list(FIRST.messages)
    assert (one["reply"]["text"], one["reply"]["room"], one["reply"]["cost"]) == ("1\0", 2**40, None)
    assert one["reply"]["tokens"][1] == {"text": "", "logprob": 0, "removed": 0, "margin": 1.5, "forced": True}
    assert one["findings"] == [{"at": "/a", "rule": "minimum", "expected": "a number >= 3", "got": "1"}]
    assert (one["sources"], one["inputs"]) == ({"/a": [["text", 1, 2]]}, {"text": [0, 1, 0, 4, False]})
    assert (one["fields"], one["reply"]["alternatives"]) == (["a"], {"/a": [[4, 0.25]]})
    assert (two["reply"], two["error"]) == (None, "it broke: \ud800\x1a")
    assert three["repairs"] == [{"at": 0, "kind": "prose", "removed": "so: ", "inserted": ""}]
    assert (three["repaired"], three["reply"]["cost"]) == ("3", 0.5)


def test_columns_have_types(tmp_path: Path) -> None:
    written("parquet", numbered(CALL), tmp_path / "calls")
    schema = pyarrow.parquet.read_schema(tmp_path / "calls")
    assert schema.field("started").type == pa.timestamp("us", "UTC")
    assert schema.field("number").type == pa.int64()
    attempt = schema.field("attempts").type.value_type
    reply_type = attempt.field("reply").type
    assert reply_type.field("cost").type == pa.float64()
    assert reply_type.field("is_kept").type == pa.bool_()
    assert reply_type.field("prompt_tokens").type == pa.int64()


def test_a_table_is_written_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_table, "ROWS", 400)
    long = dataclasses.replace(THIRD, reply=reply("x" * 5_000))
    before, most = pa.total_allocated_bytes(), 0
    tracemalloc.start()
    try:
        with (tmp_path / "calls").open("w") as file, record_table.parquet(file) as write:
            for number in range(6_000):
                write(dataclasses.replace(CALL, number=number, attempts=(long,)))
                most = max(most, pa.total_allocated_bytes() - before)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most + peak < 12e6  # of 30 MB
    metadata = pyarrow.parquet.read_metadata(tmp_path / "calls")
    assert (metadata.num_rows, metadata.num_row_groups) == (6_000, 15)


@pytest.mark.parametrize("started", [math.inf, math.nan, 1e300])
def test_what_fits_no_column_is_refused(started: float, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="calls 1 to 1 fit no table"):
        written("parquet", numbered(dataclasses.replace(CALL, started=started)), tmp_path / "calls")


def test_no_calls_are_a_table_without_rows(tmp_path: Path) -> None:
    for form in record_table.FORMATS:
        assert written(form, [], tmp_path / form) == []


def test_json_lines_need_no_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    record_table.check("jsonl")
    with record_table.jsonl(io.StringIO()) as write:
        write(CALL)
    with pytest.raises(TraceError, match=r"need pyarrow: pip install 'guard-slm\[parquet\]'"):
        record_table.check("parquet")
