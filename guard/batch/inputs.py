"""What `guard run` reads: text files, patterns of them, and tables of which one column is the text.

A table is a file that ends in .jsonl (or .ndjson), .csv, .tsv or .parquet (or .pq); each row is an input. Everything
else is one text, and so is standard input. What isn't there, or is no table, is an error before anything is asked; what
an input lacks (it is empty, it is no UTF-8, the row is no JSON) is that input's own: reading its text raises it.
"""

from __future__ import annotations

import csv
import glob
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TextIO

from guard.batch.kept_values import as_json
from guard.calls import prompts
from guard.errors import GuardError
from guard.support import exact_json
from guard.support.clipping import clipped
from guard.support.strict_json import unread

STDIN = Path("-")  #: The name under which standard input is read.
TEXT = "text"  #: The column that is read where none is named and there are several.
ROWS = 1_000  #: Of a Parquet file, read at a time.
_UNREAD = re.compile("[\udc80-\udcff]")  #: Bytes that are not UTF-8, as they are read.
MOST_COLUMNS = 20  #: That a message names.

csv.field_size_limit(2**31 - 1)  # else a text of more than 131,072 characters would be none


class InputError(GuardError):
    """An input can't be read; the message says why, and what to do."""


@dataclass(frozen=True)
class Input:
    """One text to read, and where it comes from."""

    name: str  # of the file, as given
    row: int | None  # of a table, from 1; None: the file is the text
    read: Callable[[], str] = field(repr=False)
    columns: Mapping[str, Any] = field(default_factory=dict)  # those that go along into the output, as JSON has them

    def __str__(self) -> str:
        return self.name if self.row is None else f"{self.name}, row {self.row}"

    def text(self) -> str:
        """Return the text; InputError where there is none."""
        text = self.read()
        if not text.strip():
            raise InputError(f"{self} is empty; there is nothing to read in it")
        return text


class Inputs:
    """All inputs of a run, counted before the first is read."""

    def __init__(self, paths: Sequence[Path], column: str | None = None, keep: Sequence[str] = ()) -> None:
        """Take files, patterns and tables; InputError where one can't be read, or lacks the column.

        `column` is the one that is read of tables, `keep` are those that go along. Costs one pass over each table.
        """
        sources: list[_Source] = []
        self.files: list[Path] = []  #: All that are read; standard input is `-`.
        for path in paths:
            for found in _files(path):
                if found == STDIN and STDIN in self.files:
                    raise InputError("- is named twice, and standard input can be read once; leave one out")
                self.files.append(found)
                kind = _KINDS.get(found.suffix.lower(), _TextFile)
                sources.append(kind(found, column, tuple(keep)))
        if not any(isinstance(source, _TableFile) for source in sources) and (column is not None or keep):
            raise InputError("a column is named, but no input is a table: a .jsonl, .csv, .tsv or .parquet file")
        self._sources = sources
        self._count = sum(source.count() for source in sources)
        #: Whether any input is the row of a table.
        self.has_rows = any(isinstance(source, _TableFile) for source in sources)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Input]:
        for source in self._sources:
            yield from source.inputs()


def row_count(path: Path) -> int:
    """Return how many rows a table has; InputError where it can't be read as what its ending says."""
    table = _KINDS[path.suffix.lower()](path, None, ())
    assert isinstance(table, _TableFile)
    return table.looked_at()[1]


def text_of(path: Path) -> str:
    """Return a file's text, or standard input's; InputError says why it can't be read."""
    try:
        data = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except OSError as error:
        _refuse(path, error)
    return decoded(data, str(path))


def decoded(data: bytes, name: str) -> str:
    """Return the text of some bytes; InputError where they are not UTF-8, which says of what they are."""
    try:
        return data.decode("utf-8-sig")  # editors on Windows write a mark of the encoding first
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 (byte {error.start}); convert it to UTF-8") from None


def _refuse(path: Path, error: OSError) -> NoReturn:
    if isinstance(error, FileNotFoundError):
        raise InputError(f"no such file: {path}; check the name") from None
    raise InputError(f"{path} can't be read: {error.strerror}; name a readable file") from None


def _files(path: Path) -> list[Path]:
    """Return the files that a name or a pattern stands for; they are there and may be read."""
    if path == STDIN:
        return [path]
    if glob.has_magic(str(path)) and not path.exists():
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())  # noqa: PTH207 (pathlib's follows other rules)
        if not found:
            raise InputError(f"no file matches {path}; check the pattern")
        return found
    try:
        os.close(os.open(path, os.O_RDONLY))
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory")
    except OSError as error:
        _refuse(path, error)
    return [path]


class _Source(ABC):
    """One file."""

    def __init__(self, path: Path, column: str | None, keep: tuple[str, ...]) -> None:
        self._path, self._column, self._keep = path, column, keep

    @abstractmethod
    def count(self) -> int:
        """Return how many inputs it holds; InputError where it can't be read as what it is."""

    @abstractmethod
    def inputs(self) -> Iterator[Input]:
        """Yield them in order."""


class _TextFile(_Source):
    """A file that is a text, or standard input, which can be read only once."""

    _read: str | None = None

    def count(self) -> int:
        if self._path == STDIN:
            self._read = text_of(self._path)
        return 1

    def inputs(self) -> Iterator[Input]:
        read = self._read
        yield Input(str(self._path), None, lambda: text_of(self._path) if read is None else read)


class _TableFile(_Source):
    """A file whose rows are inputs. A subclass says which columns it has, and what is in them."""

    def count(self) -> int:
        columns, count = self.looked_at()
        if self._column is None and columns:
            self._column = TEXT if TEXT in columns else columns[0]
            if TEXT not in columns and len(columns) > 1:
                raise InputError(f"{self._has(columns)}; name the one to read with --column")
        missing = [name for name in (self._column, *self._keep) if name is not None and columns and name not in columns]
        if missing:
            raise InputError(f"{self._has(columns)}, and no {missing[0]!r}; name one of them")
        return count

    def inputs(self) -> Iterator[Input]:
        for number, row in enumerate(self._rows(), 1):
            kept = {name: as_json(row.get(name)) for name in self._keep} if isinstance(row, Mapping) else {}
            yield Input(str(self._path), number, self._reader(number, row), kept)

    def looked_at(self) -> tuple[list[str], int]:
        """Return the columns, empty where rows are texts, and how many rows there are; InputError where none can be."""
        try:
            return self._looked_at()
        except OSError as error:
            _refuse(self._path, error)

    @abstractmethod
    def _looked_at(self) -> tuple[list[str], int]:
        """Do what `looked_at` does, or raise an OSError."""

    @abstractmethod
    def _rows(self) -> Iterator[Mapping[str, Any] | str | InputError]:
        """Yield each row: by column, or as a text; or why there is none."""

    def _has(self, columns: Sequence[str]) -> str:
        named = ", ".join(columns[:MOST_COLUMNS]) + (" …" if len(columns) > MOST_COLUMNS else "")
        return f"{self._path} has the columns {named}" if len(columns) > 1 else f"{self._path} has the column {named}"

    def _reader(self, number: int, row: Mapping[str, Any] | str | InputError) -> Callable[[], str]:
        def read() -> str:
            if isinstance(row, InputError):
                raise row
            value = row if isinstance(row, str) else row.get(self._column or "")
            if value is None:
                raise InputError(f"{self._path}, row {number} has nothing in the column {self._column!r}")
            try:
                return prompts.as_text(value)
            except prompts.UnshowableError as error:
                raise InputError(f"{self._path}, row {number} holds no text in {self._column!r}: {error}") from None

        return read


class _Jsonl(_TableFile):
    """A JSON value on each line: an object by column, or a text. Lines of white space are none."""

    def _looked_at(self) -> tuple[list[str], int]:
        wanted = {self._column or TEXT, *self._keep}
        columns: dict[str, None] = {}
        count = 0
        for row in self._rows():
            count += 1
            if isinstance(row, Mapping):
                columns.update(dict.fromkeys(row if len(columns) <= MOST_COLUMNS else wanted & row.keys()))
        return list(columns), count

    def _rows(self) -> Iterator[Mapping[str, Any] | str | InputError]:
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield self._row(number, line)

    def _row(self, number: int, line: bytes) -> Mapping[str, Any] | str | InputError:
        place = f"{self._path}, line {number}"
        try:
            row = exact_json.read(decoded(line, place))
        except InputError as error:
            return error
        except (ValueError, RecursionError) as error:
            return InputError(f"{place} {unread(error)}; correct it")
        if isinstance(row, Mapping | str):
            return row
        return InputError(f"{place} is {clipped(row)}, and neither an object nor a text")


class _Csv(_TableFile):
    """Comma-separated values, RFC 4180, the first record being the columns' names."""

    separator = ","

    def _looked_at(self) -> tuple[list[str], int]:
        columns: list[str] = []
        count = 0
        for record in self._records():
            if columns:
                count += 1
                continue
            columns = record
            if len(set(columns)) < len(columns):
                twice = next(name for name in columns if columns.count(name) > 1)
                raise InputError(f"{self._path} has the column {twice!r} twice; rename one")
        if not columns:
            raise InputError(f"{self._path} is empty; its first line must name the columns")
        return columns, count

    def _rows(self) -> Iterator[Mapping[str, Any] | str | InputError]:
        records = self._records()
        columns = next(records, [])
        for number, record in enumerate(records, 1):
            if len(record) > len(columns):
                yield InputError(
                    f"{self._path}, row {number} has {len(record)} fields, and the first line names {len(columns)};"
                    f" put a text that holds {self.separator!r} into quotes"
                )
                continue
            yield dict(zip(columns, record, strict=False))

    def _records(self) -> Iterator[list[str]]:
        """Yield every record that is no empty line."""
        with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(self._lines(file), delimiter=self.separator, strict=True)
            try:
                for record in reader:
                    if record:
                        yield record
            except csv.Error as error:
                raise InputError(f"{self._path}, line {reader.line_num} can't be read: {error}; correct it") from None

    def _lines(self, file: TextIO) -> Iterator[str]:
        """Yield the lines; what is not UTF-8 was read as surrogates, which UTF-8 never holds."""
        for number, line in enumerate(file, 1):
            if not line.isascii() and _UNREAD.search(line):
                decoded(line.encode("utf-8", "surrogateescape"), f"{self._path}, line {number}")
            yield line


class _Tsv(_Csv):
    """The same with tabs."""

    separator = "\t"


#: What pyarrow raises where Python has no such value: a date after 9999, nanoseconds without pandas, no UTF-8.
_UNPYTHONIC = (ValueError, OverflowError)


class _Parquet(_TableFile):
    """Parquet, by pyarrow."""

    def _looked_at(self) -> tuple[list[str], int]:
        file = self._opened()
        return list(file.schema_arrow.names), int(file.metadata.num_rows)

    def _rows(self) -> Iterator[Mapping[str, Any] | str | InputError]:
        names = list(dict.fromkeys([self._column or "", *self._keep]))
        read = 0
        for batch in self._opened().iter_batches(ROWS, columns=names):
            try:
                rows = batch.to_pylist()
            except _UNPYTHONIC:
                rows = [self._row(read + at + 1, batch.slice(at, 1)) for at in range(len(batch))]
            yield from rows
            read += len(batch)

    def _row(self, number: int, batch: Any) -> Mapping[str, Any] | InputError:
        try:
            row: Mapping[str, Any] = batch.to_pylist()[0]
        except _UNPYTHONIC as error:
            return InputError(f"{self._path}, row {number} holds a value that can't be read: {error}; correct it")
        return row

    def _opened(self) -> Any:
        parquet = pyarrow_parquet()
        try:
            return parquet.ParquetFile(self._path)
        except ValueError as error:  # pyarrow's own errors are
            raise InputError(f"{self._path} is no Parquet file that can be read: {error}") from None


def pyarrow_parquet() -> Any:
    """Return pyarrow's module for Parquet; InputError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError("Parquet files need pyarrow: pip install 'guard-slm[parquet]'") from None
    return pyarrow.parquet


_KINDS: Mapping[str, type[_Source]] = {
    ".jsonl": _Jsonl,
    ".ndjson": _Jsonl,
    ".csv": _Csv,
    ".tsv": _Tsv,
    ".parquet": _Parquet,
    ".pq": _Parquet,
}
