"""The part that backends for inference engines share: a grammar for each request, over Guard's matcher.

A grammar holds a request's matcher, the tokens that it has accepted, and the limit of tokens. An engine may guess
tokens ahead (drafts) and take them back. `fill` writes the masks of all requests of a step in one call; where text is
forced, it allows only the token that the tokenizer itself would write (guard/decoding/guide.py).

A schema comes from a stranger, and a few small ones take seconds for a mask, or end in a limit. What that costs the
other requests of a step is bounded: a grammar that meets a limit, or has kept them waiting for `PATIENCE` in all, is
given up. It then allows anything but the end of the sequence and accepts nothing, whereupon the engine ends the request
with an error.

The process shares vocabularies and compiled schemas.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from guard.decoding.forced_tokens import Forcing, forcing_of
from guard.decoding.guide import Guide
from guard.decoding.mask_buffer import check_budget
from guard.kernels._native import allow_tokens, fill_bitmasks
from guard.kernels.bitmask import WORD, allocate_bitmask
from guard.kernels.errors import Finding, SchemaError
from guard.kernels.vocabulary import Vocabulary
from guard.schemas.compiling import compile as compile_schema
from guard.schemas.limits import Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guard.schemas.compiled import Compiled

T = TypeVar("T")

REMEMBERED_TOKENIZERS = 4  #: Engine tokenizers whose vocabularies are kept.
UNBOUNDED = 2**31 - 1  #: The limit of a request without one.
LIMITS = Limits(seconds=2.0)  #: An engine checks requests, and masks, where others wait.
STEP = 0.02  #: Seconds that a step waits for all its masks together; then for each that is late by itself.
PATIENCE = 2.0  #: Seconds that one request may keep the others of its steps waiting, in all.
_IMPATIENT = f"its masks kept other requests waiting for more than {PATIENCE:g} s; simplify the schema"


class EngineVocabulary:
    """The vocabulary of an engine's tokenizer, and its spelling of forced text. Any number of threads may use it."""

    def __init__(self, tokenizer: Any, ends: tuple[int, ...]) -> None:
        """Read a tokenizer; `ends` are the tokens at which the engine ends a sequence, the tokenizer's own first.

        Raises ValueError where it can't be read or has no end-of-sequence token.
        """
        self.tokens = Vocabulary.from_tokenizer(tokenizer, ends or None)
        self.width = -(
            -self.tokens.size // WORD
        )  #: Words of a mask. A model may have more tokens, which no mask allows.
        self.forcing: Forcing | None = None
        # Without a tokenizer that can encode text, the model may split forced text as it likes.
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            self.forcing = forcing_of(tokenizer, self.tokens)


@functools.lru_cache(REMEMBERED_TOKENIZERS)
def vocabulary_of(tokenizer: Any, ends: tuple[int, ...] = ()) -> EngineVocabulary:
    """Return the vocabulary of a tokenizer, from the cache where the same object was read before."""
    return EngineVocabulary(tokenizer, ends)


def compile_constraint(kind: str, text: str, *, is_compact: bool = False) -> Compiled:
    """Compile an engine's constraint: json, json_object, regex, choice, grammar or structural_tag.

    `text` is JSON for json, choice and structural_tag. Raises SchemaError where it can't be enforced exactly.
    """
    whitespace: Literal["compact", "spaced"] = "compact" if is_compact else "spaced"
    if kind == "json":
        return compile_schema(text, whitespace=whitespace, limits=LIMITS)
    if kind == "json_object":
        return compile_schema({"type": "object"}, whitespace=whitespace)
    try:
        constraint: Any = json.loads(text) if kind == "choice" else text
    except (ValueError, RecursionError):
        raise SchemaError(Finding("/choice", kind, "it is not JSON", "write a list of texts")) from None
    return compile_schema({kind: constraint}, whitespace=whitespace, limits=LIMITS)


def check_request(compiled: Compiled, vocabulary: EngineVocabulary, most_tokens: int | None) -> None:
    """Raise SchemaError where no answer meets the constraint, Truncated where the limit can't hold the shortest."""
    check_budget(compiled.matcher(vocabulary.tokens), UNBOUNDED if most_tokens is None else most_tokens)


class TokenGrammar:
    """One request's answer while it is written. Belongs to one thread at a time."""

    def __init__(self, compiled: Compiled, vocabulary: EngineVocabulary, limit: int | None = None) -> None:
        """Begin an answer. `limit` is the most tokens that the request may write, reasoning included."""
        self.compiled, self.vocabulary = compiled, vocabulary
        self.limit = limit
        self.before = 0  #: Tokens written before the answer began.
        self.failure: str | None = None  #: Why it was given up, if it was.
        self.patience = PATIENCE
        self._fits = True  # whether the limit could hold the answer when it began
        self._scratch: NDArray[Any] | None = None
        self.guide = Guide(compiled.matcher(vocabulary.tokens), vocabulary.tokens, vocabulary.forcing)
        self.matcher, self.tokens = self.guide.matcher, self.guide.tokens

    @property
    def is_finished(self) -> bool:
        """Whether an end-of-sequence token was accepted."""
        return self.failure is None and self.matcher.is_finished()

    def give_up(self, why: str) -> None:
        """Accept nothing from now on, so that the engine ends the request. The matcher may be busy for a while."""
        self.failure = why

    def guarded(self, ask: Callable[[], T], otherwise: T) -> T:
        """Return what `ask` returns; where it meets a limit, or takes the last of the patience, give up."""
        if self.failure is not None:
            return otherwise
        start = time.perf_counter()
        try:
            found = ask()
        except (SchemaError, MemoryError) as error:
            self.give_up(str(error) or "out of memory")
            return otherwise
        took = time.perf_counter() - start
        if took > STEP:
            self.patience -= took
            if self.patience < 0:
                self.give_up(_IMPATIENT)
                return otherwise
        return found

    def distance(self) -> int:
        """Return the fewest tokens to the end of the answer; 0 where it was given up."""
        return self.guarded(self.matcher.distance, 0)

    def remaining(self) -> int | None:
        """Return how many tokens are left; None without a limit, or where too few were left for the answer.

        Too few are left where reasoning ran long. The engine then cuts the answer off.
        """
        if self.limit is None:
            return None
        left = self.limit - self.before - len(self.tokens)
        if not self.tokens:
            self._fits = self.distance() <= left
        if not self._fits:
            return None
        return left if left > 0 else 1

    def settle(self, written: int) -> None:
        """Record that the request has written so many tokens, the answer's included."""
        self.before = written - len(self.tokens)

    def accept(self, tokens: Iterable[int]) -> int:
        """Accept tokens as far as they are allowed; return how many were. Tokens after the end are ignored."""
        if not self.tokens:
            self.remaining()
        count = 0
        for token in tokens:
            if self.is_finished or not self._accepts(token):
                break
            count += 1
        return count

    def _accepts(self, token: int) -> bool:
        return self.guarded(lambda: self.guide.accept(token), False)

    def rollback(self, count: int) -> None:
        """Take back the last tokens."""
        if count and self.failure is None:
            self.guide.rollback(count)

    def reset(self) -> None:
        """Return to the start of the answer."""
        self.rollback(len(self.tokens))

    def agreed(self, guessed: Sequence[int], most: int = 0) -> list[int]:
        """Return the guessed tokens that the masks allow, followed by forced tokens, up to `most` in all.

        The grammar is left as it was. The masks include the limit and the tokenizer's spelling of forced text.
        """
        kept: list[int] = []
        for token in guessed:
            if not self._takes(token):
                break
            kept.append(token)
        while len(kept) < most and not self.is_finished:
            forced = self.forced()
            if forced is None or not self._takes(forced):
                break
            kept.append(forced)
        self.rollback(len(kept))
        return kept if self.failure is None else []

    def forced(self) -> int | None:
        """Return the only token that may come next, if there is one that is cheap to find."""
        left = self.remaining()
        return self.guarded(lambda: self.guide.forced(left), None)

    def _takes(self, token: int) -> bool:
        """Accept a token if the mask allows it; return whether it did."""
        if self.is_finished or not 0 <= token < self.vocabulary.tokens.size:
            return False
        if self._scratch is None:
            self._scratch = allocate_bitmask(1, self.vocabulary.tokens.size)
        fill([self], self._scratch, [0])
        if not self._scratch[0, token // WORD] >> token % WORD & 1:
            return False
        return self._accepts(token)


def fill(grammars: Sequence[TokenGrammar], words: NDArray[Any], rows: Sequence[int]) -> None:
    """Write the masks of the next tokens into rows of `words`, int32[rows, width or more], in one call.

    All grammars must have the same vocabulary.
    """
    free, forced, tokens = [], [], []
    for grammar, row in zip(grammars, rows, strict=True):
        token = grammar.forced()
        if token is not None:  # the mask has it, and it is all that trim would leave
            forced.append(row)
            tokens.append(token)
        elif grammar.failure is None:
            free.append((grammar, row))
    if tokens:
        allow_tokens(words, forced, tokens)
    if free:
        _fill_free(free, words)
    for grammar, row in zip(grammars, rows, strict=True):
        if grammar.failure is not None:
            words[row] = -1
            forbid(words[row], grammar.vocabulary.tokens.eos)


def _fill_free(free: Sequence[tuple[TokenGrammar, int]], words: NDArray[Any]) -> None:
    """Fill all rows in one call; then those that are late one by one, each as long as its grammar has patience."""
    matchers = [grammar.matcher for grammar, _ in free]
    rows = [row for _, row in free]
    budgets = [grammar.remaining() for grammar, _ in free]
    try:
        late = fill_bitmasks(matchers, words, rows, budgets, STEP)
    except (SchemaError, MemoryError):  # of one of them
        late = [True] * len(free)
    for at, (grammar, row) in enumerate(free):
        if late is not None and late[at]:
            one = [matchers[at]], words, [row], [budgets[at]], max(grammar.patience, 0.0)
            if grammar.guarded(functools.partial(fill_bitmasks, *one), None) == [True]:
                grammar.give_up(_IMPATIENT)
        if grammar.failure is None and grammar.guide.may_trim():
            guide = grammar.guide
            grammar.guarded(functools.partial(guide.trim, words[row, : grammar.vocabulary.width]), None)


def forbid(words: NDArray[Any], tokens: Iterable[int]) -> None:
    """Take tokens out of one mask, int32[words]."""
    bits = words.view("uint32")
    for token in tokens:
        bits[token // WORD] &= 0xFFFFFFFF ^ 1 << token % WORD
