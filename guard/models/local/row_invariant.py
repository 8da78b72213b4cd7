"""Row-invariant products: each row of a shared pass gets the same bits as in a pass of its own.

Libraries sum a product of few rows in another order than one of more. oneDNN in bfloat16 does so for one row, where a
row is longer than 1,024 numbers, and on processors with AMX from 33 rows on, by numbers of rows that follow no rule.
About one number in ten thousand is then rounded the other way. So a pass over several tokens would give other logits
than a pass for each, or than in other company, and near ties would be decided otherwise.

A shared pass is therefore multiplied in groups: a prompt that is longer than ROWS alone, as it would be without
company, and all else in groups of at most ROWS rows. Guard tests which of a model's layers give a row in such a group
other bits than alone; those have a product for each piece of a pass.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

#: Most rows of several pieces in one product, and rows of a layer in a test.
ROWS = 32
#: Numbers of each shape in a test: enough to expect ten that differ.
NUMBERS = 2**17
#: Largest share of a model's weights with separate products; above it a pass over many rows saves little.
SHARE = 0.5

_pass = threading.local()


@contextmanager
def pieces(lengths: list[int], least: int = 1) -> Iterator[None]:
    """Declare, inside of the block, the rows of each piece of this thread's passes.

    With `least` 1, each piece has the bits of a pass of its own, and a row of one-row pieces those that it has alone.
    With 2, no product has a single row: each piece has the bits of a pass that is filled up to two rows.
    """
    _pass.lengths, _pass.least = lengths, least
    try:
        yield
    finally:
        _pass.lengths = None


@dataclass(frozen=True)
class Apart:
    """A model whose layers multiply shared passes in groups."""

    is_cheap: bool  #: Whether few of its weights have a product for each piece.
    undo: Callable[[], None]


def take_apart(model: Any) -> Apart:
    """Make a model's products row-invariant, inside of `pieces`."""
    shapes: dict[tuple[type, int, int], list[Any]] = {}
    for layer in model.modules():
        if hasattr(layer, "in_features") and hasattr(layer, "out_features"):
            shapes.setdefault((type(layer), layer.in_features, layer.out_features), []).append(layer)
    size = {shape: shape[1] * shape[2] * len(layers) for shape, layers in shapes.items()}
    uneven = {shape for shape, layers in shapes.items() if not _is_even(layers, model.dtype)}
    for shape, layers in shapes.items():
        for layer in layers:
            layer.forward = functools.partial(_apart, layer.forward, shape not in uneven)

    def undo() -> None:
        for layer in itertools.chain.from_iterable(shapes.values()):
            layer.forward = layer.forward.args[0]

    return Apart(sum(size[shape] for shape in uneven) <= SHARE * sum(size.values()), undo)


def _apart(forward: Callable[[torch.Tensor], torch.Tensor], is_even: bool, rows: torch.Tensor) -> torch.Tensor:
    """Apply a layer's forward group by group. Rows of another number are the last ones of the pieces."""
    lengths: list[int] | None = getattr(_pass, "lengths", None)
    count, least = rows.shape[-2], getattr(_pass, "least", 1)
    if lengths is None:
        return forward(rows)
    if sum(lengths) != count:
        lengths = [1] * count
    groups = [*_groups(lengths)] if is_even or least > 1 else lengths
    if len(groups) == 1:
        return _filled(forward, rows, least)
    return torch.cat([_filled(forward, part, least) for part in torch.split(rows, groups, dim=-2)], dim=-2)


def _groups(lengths: Iterable[int]) -> Iterator[int]:
    """Join neighbours while they have no more than ROWS rows together."""
    total = 0
    for length in lengths:
        if total and total + length > ROWS:
            yield total
            total = 0
        total += length
    if total:
        yield total


def _filled(forward: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, least: int) -> torch.Tensor:
    count = rows.shape[-2]
    if count >= least:
        return forward(rows)
    return forward(rows.repeat_interleave(least, dim=-2))[..., :count, :]


@torch.no_grad()
def _is_even(layers: list[Any], dtype: torch.dtype) -> bool:
    """Whether layers of this shape give a row alone the same bits as among others."""
    generator = torch.Generator().manual_seed(0)
    count = -(-NUMBERS // (ROWS * layers[0].out_features))
    for layer in itertools.islice(itertools.cycle(layers), count):
        rows = torch.randn((1, ROWS, layer.in_features), generator=generator).to(dtype)
        if not torch.equal(layer(rows), torch.cat([layer(rows[:, at : at + 1]) for at in range(ROWS)], dim=1)):
            return False
    return True
