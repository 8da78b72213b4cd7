"""One mask buffer per batch: filled on the host, applied to logits wherever they are.

For a CUDA device the buffer is pinned and its copy does not block; the next fill can't overtake the copy, because
whoever decodes has read the token that was chosen under it first. Also the check that a budget can hold an answer,
which every way of decoding makes before the first token.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from guard.errors import Finding, SchemaError, Truncated
from guard.kernels._native import fill_bitmasks
from guard.kernels.bitmask import WORD, allocate_bitmask, apply_bitmask_

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from guard.kernels._native import Matcher
    from guard.kernels.vocabulary import Vocabulary


class MaskBuffer:
    """The masks of the rows of one batch, and the seconds spent on them. Belongs to one thread."""

    def __init__(self, rows: int, size: int, device: torch.device | None = None) -> None:
        """Make one for logits on that device; None: in NumPy arrays, without torch."""
        self._made_of = rows, size, device
        self.words: NDArray[np.int32] = allocate_bitmask(rows, size)
        self._bits: Any = self.words
        if device is not None and device.type == "cuda":
            import torch

            self._bits = torch.zeros((rows, -(-size // WORD)), dtype=torch.int32, pin_memory=True)
            self.words = self._bits.numpy()  # the same memory
        self.seconds = 0.0

    def another(self) -> MaskBuffer:
        """Return a buffer for masks of the same logits."""
        return MaskBuffer(*self._made_of)

    def allows(self, row: int, token: int) -> bool:
        """Answer whether a row allows a token."""
        return bool(self.words[row, token // WORD] >> (token % WORD) & 1)

    def fill(self, matchers: Sequence[Matcher], remaining: Sequence[int] | None = None) -> None:
        """Fill row i from matcher i; with `remaining`, only with tokens after which the rest still fits."""
        start = time.perf_counter()
        fill_bitmasks(matchers, self.words, remaining=remaining)
        self.seconds += time.perf_counter() - start

    def apply_(self, logits: Any) -> None:
        """Write -inf over what the masks do not allow, in place: a torch tensor, or a NumPy array of any strides."""
        start = time.perf_counter()
        apply_bitmask_(logits, self._bits)
        self.seconds += time.perf_counter() - start


def check_budget(matcher: Matcher, max_tokens: int) -> None:
    """Raise Truncated where the budget is below what an answer surely needs, SchemaError where there is no answer."""
    needed = matcher.distance()
    if needed < 0:
        raise SchemaError(Finding("", None, "nothing can meet it", "correct what contradicts itself"))
    if needed > max_tokens:
        error = Truncated(
            f"max_tokens={max_tokens} can't hold the shortest answer; it may need {needed}: raise max_tokens to that"
        )
        error.needed = needed
        raise error


def allowed_tokens(words: NDArray[np.int32], most: int | None) -> list[int]:
    """The allowed tokens of a row, if they lie in no more than `most` words; else an empty list."""
    held = np.flatnonzero(words)
    if most is not None and len(held) > most:
        return []
    bits = np.unpackbits(words[held].view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
    rows, columns = np.nonzero(bits)
    return [int(token) for token in held[rows] * 32 + columns]


@functools.lru_cache(8)
def closing_words(vocabulary: Vocabulary) -> NDArray[np.int32]:
    """Return a mask of the tokens that begin with a quotation mark, which ends a string."""
    words: NDArray[np.int32] = allocate_bitmask(1, vocabulary.size)[0]
    for token in range(vocabulary.size):
        if vocabulary.token_bytes(token).startswith(b'"'):
            words.view(np.uint32)[token // WORD] |= np.uint32(1 << token % WORD)
    return words
