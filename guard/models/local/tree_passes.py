"""Passes over a tree of tokens that may follow what a sequence has: each sees what was written and its own way there.

What they leave in the sequence's cache is taken out again in the end.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from guard.models.local.passes import OneSequence, Passes


class TreePasses:
    """The passes for one value: `Evaluate` of guard/decoding/whole_values.py. To be used as a context manager."""

    def __init__(self, passes: Passes, forward: OneSequence) -> None:
        self._passes = passes
        self._forward = forward
        self._past = forward.begin_tree()
        self._ways: list[list[int]] = []  # of each token of the tree so far: those on its way, itself included

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forward.end_tree()

    def __call__(self, tokens: list[int], parents: list[int]) -> NDArray[np.float32]:
        """Return the log-probabilities behind each token."""
        first = len(self._ways)
        for number, parent in enumerate(parents, first):
            self._ways.append([*(self._ways[parent] if parent >= 0 else ()), number])
        mask = torch.zeros((1, 1, len(tokens), self._past + len(self._ways)), dtype=torch.bool)
        mask[..., : self._past] = True
        for row, way in enumerate(self._ways[first:]):
            mask[0, 0, row, [self._past + number for number in way]] = True
        positions = [self._past + len(way) - 1 for way in self._ways[first:]]
        return self._passes.alone(lambda: log_probabilities(self._forward.branch(tokens, positions, mask)))


def log_probabilities(logits: torch.Tensor) -> NDArray[np.float32]:
    """Return the log-probabilities of all tokens for each row of logits."""
    found: NDArray[np.float32] = logits.to(torch.float32).log_softmax(dim=-1).cpu().numpy()
    return found
