"""One value while it is written: the accepted tokens, and the token that must come next.

Forced text is split into tokens as the tokenizer does (guard/decoding/forced_tokens.py), whether or not the model is
asked. A caller may append the forced token without asking (guard/decoding/completion.py), or ask under a mask that
allows nothing else (guard/decoding/logits_processor.py); both write the same tokens. The tokenizer's split is not
always the shortest, so a token counts as forced only where the budget also holds what must follow it.

A run of forced text is split once. The rest of the split is kept for each place in the run, as the matcher keeps its
states, so going back and forth gives the same tokens as the first time.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from guard.decoding.mask_buffer import allowed_tokens
from guard.decoding.places import pointers
from guard.kernels.bitmask import WORD, allocate_bitmask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from guard.decoding.forced_tokens import Forcing
    from guard.kernels._native import Matcher
    from guard.kernels.vocabulary import Vocabulary

#: The bytes of white space that may lead an answer.
SPACES = b" \t\r\n"

#: The bits of a mask's word.
BITS = tuple(np.array([1 << bit for bit in range(WORD)], np.uint32).view(np.int32))


class Guide:
    """The matcher of one value and the tokens that it has accepted. Belongs to one thread at a time."""

    def __init__(self, matcher: Matcher, vocabulary: Vocabulary, forcing: Forcing | None = None) -> None:
        """Take a matcher that has accepted nothing; without `forcing`, no token is forced."""
        self.matcher = matcher
        self.tokens: list[int] = []
        self.wishes: list[tuple[int, int]] = []  # how many tokens there were, and the token that a budget took away
        self._vocabulary = vocabulary
        self._forcing = forcing
        # What must come behind the first i tokens, each token with how many it and what follows it take; the last run
        # may be missing.
        self._runs: list[tuple[tuple[int, int], ...]] = []

    def forced(self, remaining: int | None = None) -> int | None:
        """Return the token that must come next; None where there is a choice, or `remaining` tokens can't hold it.

        A new run costs an encoding, at most.
        """
        if len(self._runs) == len(self.tokens):
            self._runs.append(self._run())
        run = self._runs[-1]
        if not run:
            return None
        token, needed = run[0]
        return token if remaining is None or needed <= remaining else None

    def accept(self, token: int) -> bool:
        """Accept a token; False, without any change, where the schema does not allow it."""
        forced = self.forced()
        if not self.matcher.accept(token):
            return False
        self.tokens.append(token)
        if token == forced:
            self._runs.append(self._runs[-1][1:])
        return True

    def rollback(self, count: int) -> None:
        """Take back the last `count` tokens. Requires that many."""
        self.matcher.rollback(count)
        del self.tokens[len(self.tokens) - count :]
        del self._runs[len(self.tokens) + 1 :]
        while self.wishes and self.wishes[-1][0] > len(self.tokens):
            self.wishes.pop()

    def wish(self, token: int) -> None:
        """Record the token with which the value would have continued without the budget."""
        wish = len(self.tokens), token
        if self.wishes[-1:] != [wish]:  # asked for again behind the same tokens
            self.wishes.append(wish)

    def cut_at(self) -> tuple[str, ...]:
        """The JSON Pointers of what the budget cut: values, and containers that would have had more in them.

        A turn of a format is cut as a whole.
        """
        return cut_places(self._vocabulary, self.tokens, self.wishes, is_format=self.matcher.is_format())

    def narrow(self, words: NDArray[np.int32]) -> int | None:
        """Trim the mask of the next token; return the only token that is left, or None."""
        token = self.trim(words)
        if token is None:
            allowed = allowed_tokens(words, 1)
            token = allowed[0] if len(allowed) == 1 else None
        return token

    def may_trim(self) -> bool:
        """Whether `trim` may take anything from the mask of the next token where no token is forced. O(1)."""
        return not self.tokens or (len(self._vocabulary.eos) > 1 and self.matcher.can_stop())

    def trim(self, words: NDArray[np.int32]) -> int | None:
        """Take from the mask of the next token what the tokenizer itself would not write; it stays a subset, not empty.

        `words` is int32[ceil(vocabulary / 32)], in and out. Returns the token that was chosen, None where none was.
        """
        token = self.forced()
        if token is not None and words.item(token // WORD) >> token % WORD & 1:
            _leave(words, token)
            return token
        if self._forcing is not None and not self.tokens and not self._forcing.leads_with_space:
            kept = words & ~self._forcing.space_words
            if kept.any():
                words[:] = kept
        if not self.matcher.can_stop():
            return None
        eos = self._vocabulary.eos
        allowed = allowed_tokens(words, len(eos))
        if not allowed or not set(allowed) <= set(eos):
            return None
        token = next(token for token in eos if token in allowed)  # the tokenizer's own comes first
        _leave(words, token)
        return token

    def _run(self) -> tuple[tuple[int, int], ...]:
        """The certain tokens of what every completion begins with from here."""
        if self._forcing is None:
            return ()
        forced = self.matcher.forced_bytes()
        if not self.tokens and not forced and not self._forcing.leads_with_space:
            forced = self.matcher.forced_bytes(SPACES)
        if not forced:
            return ()
        run = self._forcing.tokens(self.tokens, forced, is_final=self._ends_after(forced))
        out = [(token, 1 + self.matcher.distance()) for token in itertools.takewhile(self.matcher.accept, run)]
        self.matcher.rollback(len(out))
        return tuple(out)

    def _ends_after(self, forced: bytes) -> bool:
        """Whether nothing but the end of the sequence can follow."""
        if not self.matcher.accept_bytes(forced):
            return False
        try:
            if not self.matcher.can_stop():
                return False
            mask = allocate_bitmask(1, self._vocabulary.size)
            self.matcher.fill_bitmask(mask)
            allowed = allowed_tokens(mask[0], len(self._vocabulary.eos))
            return bool(allowed) and set(allowed) <= set(self._vocabulary.eos)
        finally:
            self.matcher.rollback()


def _leave(words: NDArray[np.int32], token: int) -> None:
    """Let a mask allow one token."""
    words.fill(0)
    words[token // WORD] = BITS[token % WORD]


def cut_places(
    vocabulary: Vocabulary, tokens: Sequence[int], wishes: Sequence[tuple[int, int]], *, is_format: bool = False
) -> tuple[str, ...]:
    """The JSON Pointers of what a budget cut of a value of these tokens; of a wish, how many came before it."""
    if not wishes or is_format:
        return ("",) if wishes else ()
    spelled = [vocabulary.token_bytes(token) for token in tokens]
    ends = [0, *itertools.accumulate(map(len, spelled))]
    return pointers(b"".join(spelled), [(ends[count], vocabulary.token_bytes(token)) for count, token in wishes])
