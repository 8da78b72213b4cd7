"""Forced text as tokens: what the tokenizer itself would write next.

A schema often forces what comes next (`", "total": `). A model that is asked token by token spends a pass on each of
its tokens. So they are drafted: fed to the model before it is asked, all in one pass, and kept as far as the model,
asked at each place under the same masks, chooses the same ones (guard/completion.py). A draft changes what an answer
costs and never what it says, so it need not be certain: where the end of a run may be cut differently once more text
follows, or where the model would rather cut it in its own way, the rest of the draft was for nothing, and that is all.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from guard.kernels.bitmask import WORD, allocate_bitmask
from guard.kernels.vocabulary import Vocabulary

#: How many of the tokens before a forced run are encoded with it; pieces are rarely longer.
CONTEXT_TOKENS = 12
#: How many runs are remembered; documents of one type force the same runs.
REMEMBERED_RUNS = 4096


class Forcing:
    """Turns forced bytes into tokens, for one tokenizer and its vocabulary; from any thread."""

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokenizer = tokenizer
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self.space_words = allocate_bitmask(1, vocabulary.size)[0]  # a mask of the tokens that begin with a space
        for token in range(vocabulary.size):
            if vocabulary.token_bytes(token).startswith(b" "):
                self.space_words.view(np.uint32)[token // WORD] |= np.uint32(1 << token % WORD)
        self.leads_with_space = b"".join(map(vocabulary.token_bytes, self._encode("{"))).startswith(b" ")
        self._run = functools.lru_cache(REMEMBERED_RUNS)(self._encode_run)

    def tokens(self, written: Sequence[int], forced: bytes) -> tuple[int, ...]:
        """The tokens of a forced run behind those written; none where that is no text."""
        context = b"".join(map(self._vocabulary.token_bytes, written[-CONTEXT_TOKENS:]))
        return self._run(context, forced)

    def _encode_run(self, context: bytes, forced: bytes) -> tuple[int, ...]:
        cut = _characters(context + forced)
        if cut is None or cut[0] > len(context):
            return ()
        tokens = self._behind(cut[1], len(context) - cut[0])
        if tokens is None:  # no token begins where the run does: the model has cut its own end otherwise
            cut = _characters(forced)
            tokens = self._behind(cut[1], 0) if cut is not None and cut[0] == 0 else None
        return tokens or ()

    def _behind(self, text: str, start: int) -> tuple[int, ...] | None:
        """The text's tokens from byte `start` on; None where none begins there."""
        whole = text.encode()
        ids = self._encode(text)
        at, first = len(whole), len(ids)  # from the end: a tokenizer may put a space of its own at the beginning
        while first > 0 and at > start:
            first -= 1
            at -= len(self._vocabulary.token_bytes(ids[first]))
        if at != start or b"".join(map(self._vocabulary.token_bytes, ids[first:])) != whole[start:]:
            return None
        return tuple(ids[first:])

    def _encode(self, text: str) -> list[int]:
        if self._backend is not None:
            return list(self._backend.encode(text, add_special_tokens=False).ids)
        return list(self._tokenizer.encode(text, add_special_tokens=False))


def _characters(data: bytes) -> tuple[int, str] | None:
    """The whole characters of bytes that were cut anywhere at both ends, and how many bytes were lost in front."""
    front = next((cut for cut in range(min(4, len(data))) if data[cut] & 0xC0 != 0x80), 0)
    for back in range(len(data), max(front, len(data) - 4), -1):
        try:
            return front, data[front:back].decode()
        except UnicodeDecodeError:
            continue
    return None
