"""What `guard run --output` writes: answers in the order of the inputs, as JSONL, CSV, TSV or Parquet, and failures.

While a run is under way its rows are lines of JSON in `OUTPUT.partial`, and the failures in `OUTPUT.failures.partial`:
whoever wants to may look. At the end they become the output and `OUTPUT.failures.jsonl`, each complete or absent. A run
that was killed has no output; its answers are in the trace, from which `--resume` writes the partial files anew.

In CSV and Parquet the members of an answer are columns, those that its type declares in any case; lists and objects in
them are JSON. A type that mixes kinds of
values in a column, or has integers beyond 64 bits or fractions that a double would round, is text there, so that
nothing is rounded. No two things share a column: a member of the answer whose name is another's is `value.NAME`, and a
column that goes along has no such name.
"""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from guard.batch.inputs import InputError, pyarrow_parquet, row_count
from guard.kernels.unicode_text import writable
from guard.support import exact_json

ROWS = 1_000  #: Of a Parquet file, written at a time.
_INT64 = range(-(2**63), 2**63)
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")  #: How numbers that are not finite are kept.
_EXACT = range(-(2**53), 2**53 + 1)  #: Integers that a float holds.

_MARKS = ("cut_at", "repeated_at")  #: JSON Pointers to what is not whole in an answer.
_OWN = frozenset({"input", "row", "call", *_MARKS})  #: Columns of CSV and Parquet that are no answer's members.
_MEMBER = "value."  #: Before the name of a member that is another column's.

Row = Mapping[str, Any]  #: "input", "row" and "columns" of a table; "value", "call" and figures; or "error" and words.


@dataclass(frozen=True)
class Columns:
    """What a table has besides what its rows have."""

    keep: Collection[str] = ()  # those that go along
    declared: Mapping[str, str | None] = field(default_factory=dict)  # the members of answers, with their kinds
    has_rows: bool = False  # whether inputs are rows of tables


class Output:
    """The files of one run; one process at a time writes them."""

    def __init__(self, path: Path, keep: Collection[str] = ()) -> None:
        """Take the output's name and the columns that go along.

        InputError where its ending says no format, it can't be written, or a column has a name of the output's own.
        """
        convert = _FORMATS.get(path.suffix.lower())
        if convert is None:
            raise InputError(f"--output {path} must end in .jsonl, .csv, .tsv or .parquet")
        if convert is _to_parquet:
            pyarrow_parquet()
        if convert is not _to_jsonl:
            _check_kept(keep)
        self.path, self._convert, self._keep = path, convert, keep
        self.failures = path.with_name(f"{path.name}.failures.jsonl")
        self.partial = path.with_name(f"{path.name}.partial")
        self._partial_failures = path.with_name(f"{path.name}.failures.partial")
        self._rows: IO[str] | None = None
        self._failed: IO[str] | None = None
        self._has_rows = False  # whether inputs are rows of tables
        if folder := next((path for path in self.files if path.is_dir()), None):
            raise InputError(f"{folder} is a folder, and the run would write a file there; name another --output")

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that a run may write."""
        return self.path, self.failures, self.partial, self._partial_failures

    @property
    def is_begun(self) -> bool:
        """Whether an earlier run has left answers."""
        return self.path.exists() or (self.partial.exists() and self.partial.stat().st_size > 0)

    @property
    def is_empty(self) -> bool:
        """Whether the output is there, and has nothing in it."""
        return self.path.exists() and not self.path.stat().st_size

    def answered(self) -> int:
        """Return how many answers an earlier run has left; InputError where its output is no longer one."""
        lines = 0
        if self.partial.exists():
            with self.partial.open("rb") as file:
                lines = sum(1 for _ in file)
        return max(lines, row_count(self.path) if self.path.exists() else 0)

    def begin(self) -> None:
        """Open the partial files, empty; InputError where that can't be, or another process has them open."""
        try:
            self._rows = self.partial.open("a", encoding="utf-8")
            if not _is_locked(self._rows):
                self._rows.close()
                raise InputError(f"another process writes {self.partial}; wait for it, or name another --output")
            self._rows.truncate(0)
            self._failed = self._partial_failures.open("w", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{error.filename} can't be written: {error.strerror}; name another --output") from None

    def add(self, row: Row) -> None:
        """Write an answer; it is the system's when this returns. Raises InputError where it can't be written."""
        self._has_rows = self._has_rows or "row" in row
        with _told(self.partial):
            _write(self._rows, row)

    def fail(self, row: Row) -> None:
        """Write a failure. Raises InputError where it can't be written."""
        self._has_rows = self._has_rows or "row" in row
        with _told(self._partial_failures):
            _write(self._failed, row)

    def finish(self, declared: Mapping[str, str | None] | None = None) -> None:
        """Make the output and the failures of the partial files; a file without failures is removed.

        `declared` are the columns that a table has in any case, with the kinds of their values: see declared_columns.
        Raises InputError where they can't be written: the partial files stay.
        """
        assert self._rows is not None
        assert self._failed is not None
        made = self.path.with_name(f"{self.path.name}.tmp")
        with _told(self.path):
            try:
                self._convert(self.partial, made, Columns(self._keep, declared or {}, self._has_rows))
                made.replace(self.path)
            except OSError:
                made.unlink(missing_ok=True)
                raise
        self._failed.close()
        if self._partial_failures.stat().st_size:
            self._partial_failures.replace(self.failures)
        else:
            self._partial_failures.unlink()
            self.failures.unlink(missing_ok=True)
        self._rows.close()
        self.partial.unlink()

    def close(self) -> None:
        """Leave the partial files as they are, where there is anything in them."""
        for file in (self._rows, self._failed):
            if file is not None and not file.closed:
                with contextlib.suppress(OSError):  # the disk is full: that is said by now
                    if not file.tell():
                        Path(file.name).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    file.close()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise an InputError with a way out in place of the system's error of writing."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)  # pyarrow's own words are many
        raise InputError(f"{path} can't be written: {why}; make room, then --resume") from None


def _write(file: IO[str] | None, row: Row) -> None:
    assert file is not None
    file.write(exact_json.written(row) + "\n")
    file.flush()


def _is_locked(file: IO[str]) -> bool:
    """Lock a file for this process, as long as it is open; False where another has it."""
    try:
        import fcntl
    except ImportError:  # Windows: two runs into one file are nobody's wish there either
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield exact_json.read(line)


def _to_jsonl(partial: Path, made: Path, _: Columns) -> None:
    with partial.open("rb") as source, made.open("wb") as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)
        _sync(target)


def _to_csv(partial: Path, made: Path, also: Columns, separator: str = ",") -> None:
    columns = _columns(partial, also)
    with made.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(columns)
        for row in _flat_rows(partial, also.keep):
            writer.writerow([_cell(row.get(name)) for name in columns])
        _sync(file)


def _to_tsv(partial: Path, made: Path, also: Columns) -> None:
    _to_csv(partial, made, also, "\t")


def _to_parquet(partial: Path, made: Path, also: Columns) -> None:
    import pyarrow as pa

    kinds = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    columns = _columns(partial, also)
    schema = pa.schema([(name, kinds.get(kind, pa.string())) for name, kind in columns.items()])
    with pyarrow_parquet().ParquetWriter(made, schema) as writer:
        batch: list[dict[str, Any]] = []
        for row in _flat_rows(partial, also.keep):
            batch.append({name: _typed(row.get(name), kind) for name, kind in columns.items()})
            if len(batch) == ROWS:
                writer.write_table(pa.Table.from_pylist(batch, schema))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema))
    with made.open("rb+") as file:
        _sync(file)


def _sync(file: IO[Any]) -> None:
    """Put a file on the disk before its name says that it is complete."""
    file.flush()
    os.fsync(file.fileno())


def _check_kept(keep: Collection[str]) -> None:
    """Raise InputError where a column that goes along would be taken for another."""
    for name in keep:
        if name in _OWN or (name.startswith(_MEMBER) and _is_taken(name.removeprefix(_MEMBER), keep)):
            raise InputError(
                f"--keep {name}: CSV and Parquet outputs have a column of that name already; rename it in the table, or"
                " name an --output that ends in .jsonl, where columns stand apart"
            )


def _is_taken(name: str, keep: Collection[str]) -> bool:
    """Whether a member of this name, or one that is called so to be told apart, would share a column."""
    while name not in _OWN and name not in keep:
        if not name.startswith(_MEMBER):
            return False
        name = name.removeprefix(_MEMBER)
    return True


def _flat_rows(partial: Path, keep: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield each row as columns: where it comes from, what goes along, the answer's members, its call, marks."""
    for row in _lines(partial):
        flat = {name: row[name] for name in ("input", "row") if name in row} | dict(row.get("columns", {}))
        value = row["value"]
        for name, member in (value if isinstance(value, Mapping) else {"value": value}).items():
            flat[_MEMBER + name if _is_taken(name, keep) else name] = member
        # Which members were cut, or repeat themselves, is said wherever one was.
        yield {**flat, "call": row["call"], **{name: row[name] for name in _MARKS if row.get(name)}}


def _columns(partial: Path, also: Columns) -> dict[str, str]:
    """Return the columns of all rows, in the order in which they come, and of what kind each is."""
    kinds: dict[str, set[str]] = {"input": set(), **({"row": {"int"}} if also.has_rows else {})}
    kinds |= {name: set() for name in also.keep}
    for name, kind in also.declared.items():
        kinds[_MEMBER + name if _is_taken(name, also.keep) else name] = {kind} if kind else set()
    for row in _flat_rows(partial, also.keep):
        for name, value in row.items():
            kinds.setdefault(name, set()).update(_kinds(value))
    kinds.setdefault("call", {"int"})
    return {name: _joined(found) for name, found in kinds.items()}


def _kinds(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, bool):
        return ("bool",)
    if isinstance(value, int):
        return ("int" if value in _INT64 else "json", *(() if value in _EXACT else ("long",)))
    if isinstance(value, str):
        return ("nan" if value in _NOT_FINITE else "text",)
    return ("float",) if isinstance(value, float) else ("json",)


def _joined(kinds: set[str]) -> str:
    """Return the one kind that holds them all: bool, int, float, text, or json, which is text as well.

    Numbers of which some are no finite ones, which stand as texts, are text as in CSV.
    """
    if "nan" in kinds:
        others = kinds - {"nan"}
        return "text" if others <= {"int", "long", "float"} else _joined(others | {"text"})
    if kinds <= {"int", "long"} and kinds:
        return "int"
    if kinds and kinds <= {"int", "float"}:
        return "float"
    return next(iter(kinds)) if len(kinds) == 1 else "text" if not kinds else "json"


def _cell(value: Any) -> Any:
    """Return a cell of CSV, or of a text in Parquet: text as it is, nothing for null, everything else as JSON."""
    if isinstance(value, str):
        return writable(value)
    return "" if value is None else exact_json.written(value)


def _typed(value: Any, kind: str) -> Any:
    """Return what a cell of Parquet holds."""
    if value is None:
        return None
    if kind == "json":
        return exact_json.written(value)
    return float(value) if kind == "float" else _cell(value) if kind == "text" else value


_FORMATS: Mapping[str, Callable[[Path, Path, Columns], None]] = {
    ".jsonl": _to_jsonl,
    ".ndjson": _to_jsonl,
    ".csv": _to_csv,
    ".tsv": _to_tsv,
    ".parquet": _to_parquet,
    ".pq": _to_parquet,
}
