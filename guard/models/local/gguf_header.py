"""The header of a GGUF file, checked against the file's size before any of its counts is used.

Counts and lengths in a header are untrusted: a parser that follows them allocates, or loops, for as much as they say.
This module walks the header once, in time linear in its bytes. It refuses lengths beyond the file's end, nested arrays,
unknown types, and more items than any model has, each by name.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from guard.errors import ModelError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_FIELDS = 65_536  #: Most fields of a file; real ones have some dozens.
MOST_TENSORS = 65_536  #: Most tensors of a file; the largest models have some thousands.
MOST_ITEMS = 2_000_000  #: Most items of all arrays; the largest vocabularies, with merges, have 1.3 million.
MOST_NAME = 65_535  #: Bytes of a name, as the format bounds it.
MOST_DIMENSIONS = 4  #: Most dimensions of a tensor, by the format.
MOST_ALIGNMENT = 2**20  #: Largest alignment of the tensors' data; real ones are 32.

#: Bytes of a value, by the format's number of its type. Texts and arrays have their own lengths.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UINT32, _TEXT, _ARRAY = 4, 8, 9


def check(path: Path) -> None:
    """Raise ModelError, which says what is wrong, where a file is not a complete GGUF file."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _Walk(path.name, data).check()
    except (OSError, ValueError) as error:  # an empty file can't be mapped
        raise ModelError(f"{path.name} is no GGUF file that can be read: {error}") from error


class _Walk:
    def __init__(self, name: str, data: mmap.mmap) -> None:
        self._name, self._data, self._size = name, data, len(data)
        self._at = 0
        self._order = "<"
        self._items = 0
        self._alignment = 32

    def check(self) -> None:
        if self._data[:4] != MAGIC:
            raise self._error("it does not begin with GGUF")
        self._at = 4
        version = self._number("I", "the version")
        if version & 0xFFFF == 0:  # written on a machine of the other byte order
            self._order, self._at = ">", 4
            version = self._number("I", "the version")
        if version not in VERSIONS:
            raise self._error(f"it has version {version} of the format; known are 2 and 3")
        tensors, fields = self._number("Q", "the count of tensors"), self._number("Q", "the count of fields")
        if fields > MOST_FIELDS:
            raise self._error(f"it says that it has {fields:,} fields, above {MOST_FIELDS:,}")
        if tensors > MOST_TENSORS:
            raise self._error(f"it says that it has {tensors:,} tensors, above {MOST_TENSORS:,}")
        names: set[str] = set()
        for number in range(fields):
            name = self._new_name(names, f"field {number}")
            self._field(name, self._number("I", f"the type of {name}"))
        names = set()
        sizes = [self._tensor(self._new_name(names, f"tensor {number}")) for number in range(tensors)]
        start = -(-self._at // self._alignment) * self._alignment
        for name, offset, size in sizes:
            if start + offset + size > self._size:
                raise self._error(f"the tensor {name} ends at byte {start + offset + size:,}, after the file's end")

    def _field(self, name: str, kind: int) -> None:
        if name == "general.alignment":
            alignment = self._number("I", name) if kind == _UINT32 else 0
            if not 0 < alignment <= MOST_ALIGNMENT or alignment & (alignment - 1):
                raise self._error(f"{name} must be a power of two up to {MOST_ALIGNMENT:,}, as a UINT32")
            self._alignment = alignment
        elif kind == _ARRAY:
            inner, count = self._number("I", f"the type of {name}"), self._number("Q", f"the length of {name}")
            self._items += count
            if self._items > MOST_ITEMS:
                raise self._error(f"{name} is an array of {count:,} items: together above {MOST_ITEMS:,}")
            if inner == _ARRAY:
                raise self._error(f"{name} is an array of arrays, which no model has")
            if inner == _TEXT:
                for _ in range(count):
                    self._skip(self._number("Q", f"a length in {name}"), name)
            else:
                self._skip(count * self._size_of(inner, name), name)
        elif kind == _TEXT:
            self._skip(self._number("Q", f"the length of {name}"), name)
        else:
            self._skip(self._size_of(kind, name), name)

    def _tensor(self, name: str) -> tuple[str, int, int]:
        """Return a tensor's name, and the offset and size of its data."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        dimensions = self._number("I", f"the dimensions of {name}")
        if not 0 < dimensions <= MOST_DIMENSIONS:
            raise self._error(f"the tensor {name} has {dimensions:,} dimensions; there may be 1 to {MOST_DIMENSIONS}")
        shape = [self._number("Q", f"the shape of {name}") for _ in range(dimensions)]
        kind, offset = self._number("I", f"the type of {name}"), self._number("Q", f"the offset of {name}")
        try:
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        except (ValueError, KeyError):
            raise self._error(f"the tensor {name} has the type {kind}, which is not known") from None
        if 0 in shape or shape[0] % block:
            raise self._error(f"the tensor {name} has the shape {shape}; its rows must be blocks of {block}")
        count = 1
        for length in shape:
            count *= length
            if count * size // block > self._size:
                raise self._error(f"the tensor {name} has the shape {shape}, more than the file holds")
        if offset % self._alignment:
            raise self._error(f"the tensor {name} is not aligned: its offset is {offset:,}")
        return name, offset, count * size // block

    def _new_name(self, names: set[str], what: str) -> str:
        length = self._number("Q", f"the length of the name of {what}")
        if length > MOST_NAME:
            raise self._error(f"the name of {what} has {length:,} bytes, above {MOST_NAME:,}")
        start = self._at
        self._skip(length, f"the name of {what}")
        try:
            name = self._data[start : self._at].decode()
        except UnicodeDecodeError:
            raise self._error(f"the name of {what} is not UTF-8") from None
        if name in names:
            raise self._error(f"the name {name!r} is there twice")
        names.add(name)
        return name

    def _size_of(self, kind: int, name: str) -> int:
        if kind not in _SIZES:
            raise self._error(f"{name} has the type {kind}, which is not known")
        return _SIZES[kind]

    def _number(self, form: str, what: str) -> int:
        start = self._at
        self._skip(struct.calcsize("<" + form), what)
        number: int = struct.unpack_from(self._order + form, self._data, start)[0]
        return number

    def _skip(self, length: int, what: str) -> None:
        if length > self._size - self._at:
            raise self._error(f"it ends before {what} does ({length:,} bytes at byte {self._at:,})")
        self._at += length

    def _error(self, words: str) -> ModelError:
        return ModelError(f"{self._name} is no GGUF file that can be read: {words}")
