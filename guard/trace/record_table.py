"""Records as a table: a row for each call, with its attempts in a list; as JSON lines, Parquet or Arrow.

The columns are typed, and named as in guard/trace/records.py. Columns without a fixed structure (options, messages,
places of inputs and values) are JSON: a value in JSON lines, a text in the other two. There, times are timestamps to
the microsecond, and texts are escaped as in the tables of the trace, since neither format takes every text.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import IO, Any

from guard.support.plain_text import plain_json
from guard.trace.errors import TraceError
from guard.trace.records import Call
from guard.trace.row_codec import storable

ROWS = 10_000  #: Most rows of a row group, or of a batch of Arrow's.
BYTES = 2**26  #: Most bytes of one, uncompressed, approximately.
PORTION = 200  #: Rows that are converted at a time.

#: The type of a column: one of the words below, [kind] for a list, or {name: kind} for an object's attributes.
Kind = str | list[Any] | dict[str, Any]
Write = Callable[[Call], None]

FINDING: Kind = dict.fromkeys(("at", "rule", "expected", "got"), "text")
EDIT: Kind = {"at": "whole", "kind": "text", "removed": "text", "inserted": "text"}
TOKEN: Kind = {"text": "text", "logprob": "number", "removed": "number", "margin": "number", "forced": "truth"}
REPLY: Kind = {
    **dict.fromkeys(("text", "finish", "model", "mode", "thinking"), "text"),
    **dict.fromkeys(("prompt_tokens", "completion_tokens", "forced_tokens", "thinking_tokens"), "whole"),
    **dict.fromkeys(("seconds", "mask_seconds", "cost", "decision"), "number"),
    "retries": "whole",
    "room": "whole",
    "is_estimate": "truth",
    "is_kept": "truth",
    "tokens": [TOKEN],
    "cut_at": ["text"],
    "repeated_at": ["text"],
    "alternatives": "json",
    "sureness": {"precision": "number", "probabilities": "json"},
}
ATTEMPT: Kind = {
    "number": "whole",
    "tier": "whole",
    "model": "text",
    "started": "moment",
    "seconds": "number",
    "messages": "json",
    "reply": REPLY,
    "findings": [FINDING],
    "reason": "text",
    "error": "text",
    "repairs": [EDIT],
    "repaired": "text",
    "sources": "json",
    "inputs": "json",
    "fields": ["text"],
    "confidence": "json",
}
CALL: dict[str, Kind] = {
    "number": "whole",
    "started": "moment",
    "seconds": "number",
    **dict.fromkeys(("function", "target", "schema_hash", "template", "model"), "text"),
    "options": "json",
    "outcome": "text",
    "error": "text",
    "record_for": "text",
    "attempts": [ATTEMPT],
}


@contextlib.contextmanager
def jsonl(file: IO[str]) -> Iterator[Write]:
    """Open JSON lines."""

    def write(call: Call) -> None:
        file.write(plain_json(_value(CALL, call)) + "\n")

    yield write


@contextlib.contextmanager
def parquet(file: IO[str]) -> Iterator[Write]:
    """Open a Parquet file."""
    pa = _pyarrow()
    with _in_batches(file, lambda to: pa.parquet.ParquetWriter(to, _schema(pa), compression="zstd")) as write:
        yield write


@contextlib.contextmanager
def arrow(file: IO[str]) -> Iterator[Write]:
    """Open an Arrow IPC file, which is Feather version 2 as well."""
    pa = _pyarrow()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with _in_batches(file, lambda to: pa.ipc.new_file(to, _schema(pa), options=options)) as write:
        yield write


#: The writers, by format. BINARY formats need a binary file.
FORMATS: Mapping[str, Callable[[IO[str]], AbstractContextManager[Write]]] = {
    "jsonl": jsonl,
    "parquet": parquet,
    "arrow": arrow,
}
BINARY = ("parquet", "arrow")
MOST_TIME = 2**63 / 1e6  #: Seconds since 1970 that a timestamp in microseconds holds.


def check(form: str) -> None:
    """Raise TraceError where a format needs a package that is not installed."""
    if form in BINARY:
        _pyarrow()


def check_time(call: Call) -> None:
    """Raise TraceError for a call that began when no timestamp of Parquet's or Arrow's can say."""
    times = [call.started, *(attempt.started for attempt in call.attempts)]
    if (wrong := next((time for time in times if not abs(time) < MOST_TIME), None)) is not None:
        raise TraceError(f"call {call.number} began at {wrong:g} s, which no timestamp holds")


@contextlib.contextmanager
def _in_batches(file: IO[str], opened: Callable[[Any], Any]) -> Iterator[Write]:
    """Convert some rows at a time, and write them once they fill a row group.

    After an error, the caller must empty the file: it may have a footer, and look complete.
    """
    import pyarrow as pa

    to: Any = file.buffer  # type: ignore[attr-defined]
    writer = opened(to)
    schema = _schema(pa)
    calls: list[Call] = []
    batches: list[Any] = []

    def convert() -> None:
        try:
            rows = [_cell(CALL, call) for call in calls]
            batches.append(pa.RecordBatch.from_pylist(rows, schema))
        except (OverflowError, ValueError) as error:  # pyarrow's own errors are ValueErrors
            raise TraceError(f"calls {calls[0].number} to {calls[-1].number} fit no table: {error}") from None
        calls.clear()

    def flush() -> None:
        if batches:
            writer.write_table(pa.Table.from_batches(batches, schema).combine_chunks())
            batches.clear()

    def write(call: Call) -> None:
        calls.append(call)
        if len(calls) == PORTION:
            convert()
            if sum(len(batch) for batch in batches) >= ROWS or sum(batch.nbytes for batch in batches) >= BYTES:
                flush()

    try:
        yield write
        if calls:
            convert()
        flush()
        writer.close()
    except BaseException:
        with contextlib.suppress(Exception):
            writer.close()  # else the footer would be written when it is collected
        raise


def _value(kind: Kind, value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(kind, list):
        return [_value(kind[0], one) for one in value]
    if isinstance(kind, dict):
        return None if value is None else {name: _value(of, getattr(value, name)) for name, of in kind.items()}
    return value


def _cell(kind: Kind, value: Any) -> Any:
    """Return a value as a column of Arrow's has it."""
    if value is None:
        return None
    if isinstance(kind, list):
        return [_cell(kind[0], one) for one in value]
    if isinstance(kind, dict):
        return {name: _cell(of, getattr(value, name)) for name, of in kind.items()}
    if kind == "text":
        return storable(value)
    if kind == "moment":
        return round(value * 1e6)
    return json.dumps(value) if kind == "json" else value


def _schema(pa: Any) -> Any:
    return pa.schema(list(_type(pa, CALL)))


def _type(pa: Any, kind: Kind) -> Any:
    if isinstance(kind, list):
        return pa.list_(_type(pa, kind[0]))
    if isinstance(kind, dict):
        return pa.struct([(name, _type(pa, of)) for name, of in kind.items()])
    return {
        "whole": pa.int64(),
        "number": pa.float64(),
        "truth": pa.bool_(),
        "moment": pa.timestamp("us", tz="UTC"),
    }.get(kind, pa.string())


def _pyarrow() -> Any:
    """Return pyarrow, with Parquet. Raises TraceError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise TraceError("Parquet and Arrow files need pyarrow: pip install 'guard-slm[parquet]'") from None
    return pyarrow
