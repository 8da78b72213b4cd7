"""Byte-level tokens, as GPT-2 began to write them: one printable character for each byte."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np


def _byte_table() -> np.ndarray[Any, np.dtype[np.int16]]:
    """Invert GPT-2's table: the byte that each low code point stands for, or -1; the last entry serves all others."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]  # bytes that stand for themselves
    others = [byte for byte in range(256) if byte not in plain]  # the others follow from U+0100 on, in order
    table = np.full(0x100 + len(others) + 1, -1, dtype=np.int16)
    table[plain] = plain
    table[0x100 : 0x100 + len(others)] = others
    return table


_BYTE_OF = _byte_table()  #: The byte that a code point stands for in a byte-level token, or -1.


def spelled(names: Sequence[str]) -> list[bytes]:
    """Return the bytes of tokens; one with a character that stands for no byte is its own UTF-8, as decoders do."""
    # All names at once: one character is one byte, so the ends of the names are the ends of the tokens.
    codes = np.frombuffer("".join(names).encode("utf-32-le"), dtype=np.uint32)
    values = _BYTE_OF[np.minimum(codes, len(_BYTE_OF) - 1)]
    ends = np.cumsum(np.fromiter(map(len, names), dtype=np.int64, count=len(names)))
    data = values.astype(np.uint8).tobytes()
    bounds = [0, *ends.tolist()]
    tokens = [data[start:end] for start, end in itertools.pairwise(bounds)]
    for token in np.unique(np.searchsorted(ends, np.flatnonzero(values < 0), side="right")).tolist():
        tokens[token] = names[token].encode()
    return tokens
