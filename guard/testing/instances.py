"""Valid instances: values of any schema that Guard compiles, drawn from the engine's own automaton."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from guard import schemas
from guard.kernels.vocabulary import Vocabulary

_END = 256


def values(wanted: Any, **options: Any) -> SearchStrategy[Any]:
    """Return a strategy of valid instances of a schema or type, as `json.loads` gives them.

    `options` are those of `guard.compile`: draft, formats, documents, limits, … Every value is valid by construction;
    it shrinks to the smallest that the schema has. Raises SchemaError where the schema is refused; ValueError where it
    has no instance.
    """
    compiled = schemas.compile(wanted, **options)
    vocabulary = Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[_END])

    @st.composite
    def drawn(draw: DrawFn) -> Any:
        matcher = compiled.matcher(vocabulary)
        choices = draw(st.binary(max_size=64))
        text = bytearray()
        row = np.zeros((1, 9), np.int32)
        for at in range(10_000):
            matcher.fill_bitmask(row, remaining=None if at < len(choices) else matcher.distance())
            bits = np.unpackbits(row.view(np.uint8), bitorder="little")[: _END + 1]
            allowed = np.flatnonzero(bits)
            if bits[_END] and (at >= len(choices) or choices[at] % 2 == 0):
                break
            allowed = allowed[allowed != _END]
            if not len(allowed):
                break
            byte = int(allowed[choices[at] % len(allowed) if at < len(choices) else 0])
            matcher.accept(byte)
            text.append(byte)
        return json.loads(text)

    return drawn()
