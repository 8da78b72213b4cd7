"""Row-invariant products: each row of a pass gets the same bits as in a pass of its own.

Libraries sum a product of one row in another order than one of several rows: oneDNN in bfloat16 does, where a row is
longer than 1,024 numbers. About one number in ten thousand is then rounded the other way. A pass over several tokens
would so give other logits than a pass for each, and near ties would be decided otherwise. Guard tests which of a
model's layers do that, and computes those with a separate product for each piece of a pass.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

#: Rows of a layer in a test, and numbers of each shape: enough to expect ten that differ.
ROWS, NUMBERS = 16, 2**17
#: Largest share of a model's weights with separate products; above it a pass over many rows saves little.
SHARE = 0.5

_pass = threading.local()


@contextlib.contextmanager
def pieces(lengths: list[int]) -> Iterator[None]:
    """Declare, inside of the block, the rows of each piece of this thread's passes."""
    _pass.lengths = lengths
    try:
        yield
    finally:
        _pass.lengths = None


def take_apart(model: Any) -> Callable[[], None] | None:
    """Make a model's products row-invariant; return a function that undoes it, or None where it costs too much."""
    shapes: dict[tuple[type, int, int], list[Any]] = {}
    for layer in model.modules():
        if hasattr(layer, "in_features") and hasattr(layer, "out_features"):
            shapes.setdefault((type(layer), layer.in_features, layer.out_features), []).append(layer)
    size = {shape: shape[1] * shape[2] * len(layers) for shape, layers in shapes.items()}
    uneven = [shape for shape, layers in shapes.items() if not _is_even(layers, model.dtype)]
    if sum(size[shape] for shape in uneven) > SHARE * sum(size.values()):
        return None
    layers = [layer for shape in uneven for layer in shapes[shape]]
    for layer in layers:
        layer.forward = functools.partial(_apart, layer.forward)

    def undo() -> None:
        for layer in layers:
            layer.forward = layer.forward.args[0]

    return undo


def _apart(forward: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    """Apply a layer's forward piece by piece. Rows of another number are the last ones of the pieces."""
    lengths: list[int] | None = getattr(_pass, "lengths", None)
    count = rows.shape[-2]
    if lengths is None or count == 1:
        return forward(rows)
    if sum(lengths) != count:
        lengths = [1] * count
    return torch.cat([forward(piece) for piece in torch.split(rows, lengths, dim=-2)], dim=-2)


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
