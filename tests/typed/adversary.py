"""Texts that the mask engine accepts for a type and that Pydantic may refuse: looked for by an adversary.

Three ways to find them, all driven by one seed: values drawn by `guard.testing`, which keeps to edges; random walks
under the masks, byte by byte, which keep to the ends of what is allowed, repeat themselves, or go anywhere; and texts
of real values with a few bytes changed, of which those are kept that the engine accepts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydantic

from guard import schemas
from guard.kernels import allocate_bitmask
from guard.kernels.errors import SchemaError
from guard.output.target import closed
from guard.schemas import Compiled, Vocabulary, types
from guard.testing.strategies.values import Instances

VOCABULARY = Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])
#: Bytes that a walk writes at will before it is led to an end.
FREE = (3, 10, 25, 60)
MOST_BYTES = 3_000
#: How often an example is changed for each text that is wanted.
TRIES = 8


@dataclass
class Outcome:
    """What became of one type."""

    texts: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)  # texts that the type refuses, and why
    left_out: list[str] = field(default_factory=list)  # texts of values that the schema does not accept
    notes: tuple[str, ...] = ()  # what was reported


def examine(wanted: Any, examples: list[str], count: int, seed: int) -> Outcome:
    """Look for `count` texts that the schema of a type accepts, and ask the type of each."""
    r = random.Random(seed)
    described = types.described(wanted)
    adapter = types.adapter(wanted)
    out = Outcome(notes=tuple(beyond.note for beyond in described.beyond))
    open_one, shut = schemas.compile(described.schema), schemas.compile(closed(described.schema))
    any_spelling = schemas.compile(described.schema, spelling="any", whitespace="any", key_order="any")
    values: list[str] = list(examples)
    for text in _texts(described.schema, (open_one, shut), examples, count, r):
        out.texts += 1
        try:
            value = adapter.validate_json(text)
        except Exception as error:  # a validator may raise what it likes: it refuses all the same
            out.refused.append((text, str(error).replace("\n", " ")[:300]))
            continue
        values += [dumped] if (dumped := _dumped(adapter, value)) else []
    for text in dict.fromkeys(values):
        value = adapter.validate_json(text)
        dumped = _dumped(adapter, value)
        if dumped is not None and not accepts(any_spelling, dumped):
            out.left_out.append(dumped)
    return out


def accepts(compiled: Compiled, text: str) -> bool:
    """Say whether the engine accepts a whole text."""
    matcher = compiled.matcher(VOCABULARY)
    return bool(matcher.accept_bytes(text.encode())) and bool(matcher.can_stop())


def _dumped(adapter: pydantic.TypeAdapter[Any], value: Any) -> str | None:
    """Return the text that a type writes for a value; None where it does not read that itself."""
    try:
        text = adapter.dump_json(value, by_alias=True, warnings=False).decode()
        adapter.validate_json(text)
    except (ValueError, pydantic.ValidationError):
        return None
    return text


def _texts(
    schema: Any, compiled: tuple[Compiled, ...], examples: list[str], count: int, r: random.Random
) -> Iterator[str]:
    """Yield texts that the engine accepts: a third of each kind where there are so many."""
    found: list[str] = []
    instances = Instances(schema, {})
    for _ in range(count // 3):
        try:
            found.append(instances.text([r.randbytes(r.choice((1, 4, 8, 64))) for _ in range(r.randint(1, 16))]))
        except SchemaError:
            continue
    found += _changed(compiled[0], [*examples, *found[:20]], count // 3, r)
    yield from found
    for _ in range(count - len(found)):
        yield walk(r.choice(compiled), r)


def walk(compiled: Compiled, r: random.Random) -> str:
    """Write a text byte by byte: at will at first, then the shortest way to an end."""
    matcher = compiled.matcher(VOCABULARY)
    row = allocate_bitmask(1, 257)
    free, text = r.choice(FREE), bytearray()
    habit = r.choice((_anywhere, _at_an_end, _again, _in_order))
    while len(text) < MOST_BYTES:
        remaining = None if len(text) < free else max(matcher.distance(), 0)
        matcher.fill_bitmask(row, remaining=remaining)
        allowed = np.flatnonzero(np.unpackbits(row[0].view(np.uint8), bitorder="little")[:257]).tolist()
        if 256 in allowed and (len(allowed) == 1 or len(text) >= free or r.random() < 0.2):
            break
        allowed = [byte for byte in allowed if byte != 256]
        byte = habit(allowed, text, r)
        assert matcher.accept(byte)
        text.append(byte)
    return text.decode()


def _anywhere(allowed: list[int], _text: bytearray, r: random.Random) -> int:
    return r.choice(allowed)


def _at_an_end(allowed: list[int], _text: bytearray, r: random.Random) -> int:
    return r.choice((allowed[0], allowed[-1], r.choice(allowed)))


def _again(allowed: list[int], text: bytearray, r: random.Random) -> int:
    return text[-1] if text and text[-1] in allowed and r.random() < 0.8 else r.choice(allowed)


def _in_order(allowed: list[int], _text: bytearray, r: random.Random) -> int:
    """Choose a kind of character first, so that brackets and points come as often as all letters together."""
    kinds: dict[str, list[int]] = {}
    for byte in allowed:
        char = chr(byte)
        kinds.setdefault("a" if char.isalpha() else "0" if char.isdigit() else char, []).append(byte)
    return r.choice(kinds[r.choice(list(kinds))])


_INSERTED = '0159-+.:eEzZaAfF /"\\,{}[]_ é\u0660\u2028T'


def _changed(compiled: Compiled, examples: list[str], count: int, r: random.Random) -> list[str]:
    """Return texts near examples that the engine accepts."""
    found: list[str] = []
    for _ in range(count * TRIES):
        if len(found) == count:
            break
        text = list(r.choice(examples))
        for _ in range(r.choice((1, 1, 2, 4))):
            at = r.randrange(len(text) + 1)
            what = r.randrange(4)
            if what == 0:
                text.insert(at, r.choice(_INSERTED))
            elif at < len(text) and what == 1:
                text[at] = r.choice(_INSERTED)
            elif at < len(text) and what == 2:
                del text[at]
            elif at < len(text):
                text[at:at] = text[at : at + r.randint(1, 8)]
        changed = "".join(text)
        if changed not in examples and accepts(compiled, changed):
            found.append(changed)
    return found
