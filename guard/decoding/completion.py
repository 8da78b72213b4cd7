"""One completion, token by token, for any model runtime: the forced, allowed and written tokens.

The caller runs the model and alternates two steps until `advance` returns None: it feeds the tokens that `advance`
returns, and it passes the token that it chose from the logits under `mask` to `take`. Text that the schema forces
(guard/decoding/guide.py) is appended without asking the model, and fed together with the next token that the model is
asked for. The masks always make the value end within the budget. Without a matcher, the completion is plain text. A
reasoning model may think first, unmasked.

When the budget is nearly spent, it removes tokens that the schema allows. Then `wide` is the mask without the budget.
The caller tells `wish` which token the model would have chosen under it, and the model is asked even where only one
token is left. That shows which values the budget cut (`cut_at`), at no cost where it removes nothing.

The state is the list of written tokens and its tail that the model has not been fed. The model's cache holds exactly
the others, in order, because nothing is ever taken back.
"""

from __future__ import annotations

import codecs
import dataclasses
import time
from typing import TYPE_CHECKING

from guard.decoding import repetition
from guard.decoding.alternative import Alternative
from guard.decoding.confidence import Token
from guard.decoding.guide import Guide
from guard.decoding.mask_buffer import MaskBuffer, allowed_tokens, check_budget, closing_words
from guard.decoding.places import pointers_at
from guard.decoding.whole_values import MOST_TEXTS, Candidates, Scored, alternatives, token_logprobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guard.decoding.forced_tokens import Forcing
    from guard.decoding.reasoning import Thinking
    from guard.kernels._native import Matcher
    from guard.kernels.vocabulary import Vocabulary

#: A mask that leaves no more tokens than these is a closed choice, such as an enum's, and has a margin.
CHOICE = 64


class Completion:
    """One completion. Belongs to one thread at a time."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        matcher: Matcher | None,
        *,
        max_tokens: int,
        forcing: Forcing | None = None,
        thinking: Thinking | None = None,
        room: int | None = None,
        stops_repetition: bool = False,
        shown: Vocabulary | None = None,
    ) -> None:
        """Begin a completion of up to `max_tokens`, end-of-sequence token included; Truncated where they can't suffice.

        Without `forcing`, the model also writes forced text, where the masks leave a choice of tokens. `room` bounds
        thinking and value together. `stops_repetition` ends a string that repeats itself as soon as it may end. `shown`
        is the vocabulary that spells the text, if special tokens are to be seen in it.
        """
        self.written: list[int] = []  # everything: thinking, value, end-of-sequence token
        self.forced_tokens = 0
        self.details: list[Token] = []  # of the value
        self._vocabulary = vocabulary
        self._shown = vocabulary if shown is None else shown
        self._guide = Guide(matcher, vocabulary, forcing) if matcher is not None else None
        self._max_tokens = max_tokens if room is None or thinking is not None else min(max_tokens, room)
        self._room = room
        self._thinking = thinking
        self._is_thinking = thinking is not None
        self._start = 0  # where the value begins in what was written
        self._fed = 0  # how many of the tokens are in the model's cache
        self._mask: MaskBuffer | None = None
        self._wide: MaskBuffer | None = None
        is_format = matcher is not None and matcher.is_format()
        self._stops_repetition = stops_repetition and not is_format  # a string ends with a quote, a turn does not
        self._lead = "" if is_format else " "  # what a tokenizer of SentencePiece's kind puts before an answer
        self._is_scarce = False  # the mask lacks tokens that `_wide` has
        self._engine_seconds = 0.0
        self.decision: float | None = None  #: The probability that the value begins as it did; set by the sampler.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._told = 0  # how much of the text `fresh` has returned
        self._chosen: list[tuple[int, tuple[Alternative, ...]]] = []  # by byte offset, values that were chosen whole
        if matcher is not None:
            check_budget(matcher, self._max_tokens)

    @property
    def tokens(self) -> list[int]:
        """The value's tokens, the end-of-sequence token included."""
        return [] if self._is_thinking else self.written[self._start :]

    @property
    def is_finished(self) -> bool:
        """Whether the completion ends in an end-of-sequence token."""
        return len(self.written) > self._start and self.written[-1] in self._vocabulary.eos

    @property
    def mask_seconds(self) -> float:
        """Seconds spent in the mask engine and on applying masks."""
        masks = [mask for mask in (self._mask, self._wide) if mask is not None]
        return self._engine_seconds + sum(mask.seconds for mask in masks)

    @property
    def text(self) -> bytes:
        """The text of the value's tokens; special tokens have none."""
        return b"".join(map(self._shown.token_bytes, self.tokens))

    @property
    def answer(self) -> str:
        """The value's text, without the space that a tokenizer of SentencePiece's kind puts before it.

        In the turn of a format a space is one that the format has.
        """
        return self._text.removeprefix(self._lead)

    @property
    def thinking_tokens(self) -> int:
        """Tokens before the value."""
        return len(self.written) if self._is_thinking else self._start

    @property
    def thought(self) -> str:
        """The text of the thinking before the value."""
        return self._thinking.text(self.written[: self.thinking_tokens]) if self._thinking is not None else ""

    @property
    def is_thinking(self) -> bool:
        """Whether the value has not begun."""
        return self._is_thinking

    @property
    def mask(self) -> MaskBuffer | None:
        """The mask for the next token; None where any token is allowed."""
        return None if self._is_thinking else self._mask

    @property
    def wide(self) -> MaskBuffer | None:
        """The mask without the budget, where it allows more than `mask`; otherwise None."""
        return self._wide if self._is_scarce and not self._is_thinking else None

    @property
    def cut_at(self) -> tuple[str, ...]:
        """The JSON Pointers of the values that the budget cut: the model would have continued them."""
        return self._guide.cut_at() if self._guide is not None else ()

    @property
    def alternatives(self) -> dict[str, tuple[Alternative, ...]]:
        """What else the values that were chosen whole could have been, by JSON Pointer."""
        found = pointers_at(self.text, [offset for offset, _ in self._chosen])
        return dict(zip(found, (others for _, others in self._chosen), strict=True))

    def use(self, mask: MaskBuffer) -> None:
        """Set the mask buffer, of one row, to be filled. Call once, before the first step."""
        if self._guide is not None:
            self._mask = mask

    def advance(self) -> list[int] | None:
        """Append forced tokens; return the tokens to feed to the model, or None once the completion is over."""
        if self._thinking is not None and self._is_thinking:
            if not self._thinking.is_over(self.written):
                return self.written[self._fed :]
            self.written += self._thinking.rest(self.written)
            self._start, self._is_thinking = len(self.written), False
            if self._room is not None:
                self._max_tokens = min(self._max_tokens, self._room - self._start)
        while not self.is_finished and len(self.written) - self._start < self._max_tokens:
            token = self._guided(self._guide) if self._guide is not None else None
            if token is None:
                return self.written[self._fed :]
            self._append(token, forced=True)
        return None

    def take(self, token: int, logprob: float = 0.0, removed: float = 0.0, margin: float | None = None) -> None:
        """Append the token that was chosen from the logits."""
        self._fed = len(self.written)
        if self._thinking is not None and self._is_thinking:
            if token in self._vocabulary.eos:
                self._thinking.is_stopped = True
            else:
                self.written.append(token)
            return
        self._append(token, logprob=logprob, removed=removed, margin=margin)

    def closed_texts(self) -> tuple[list[bytes], bool]:
        """The texts of the value at hand, from here to its end, where they are a closed choice and several.

        Also whether they are the rest of a string, without its closing quote; else they are numbers.
        """
        if self._guide is None or self._is_thinking:
            return [], False
        found = self._guide.matcher.closed_texts(MOST_TEXTS)
        is_text = bool(found) and found[0].endswith(b'"')
        return [text.removesuffix(b'"') for text in found] if len(found) > 1 else [], is_text

    def take_value(self, choice: Candidates, *, is_text: bool) -> bool:
        """Append the best candidate that may come here, to its end; False, and unchanged, where the budget forbids it.

        Then it is decoded token by token, which tells what the budget cut.
        """
        guide = self._guide
        assert guide is not None
        remaining = self._max_tokens - (len(self.written) - self._start)
        for number, one in enumerate(choice.found, 1):
            tokens = self._accepted(guide, one)
            if not tokens:
                continue  # an item that the list has already
            left = remaining - len(tokens)
            is_within = guide.matcher.distance() <= left
            guide.rollback(len(tokens))
            if not is_within:
                return False
            self._fed = len(self.written)
            self._chosen.append((len(self.text), alternatives(choice, one, is_text=is_text)))
            next_best = choice.found[number].logprob if number < len(choice.found) else None
            margin = None if next_best is None else one.logprob - next_best  # of the whole value
            for token, logprob in zip(tokens, token_logprobs(choice, one), strict=True):
                self._append(token, logprob=logprob, margin=margin)
                margin = None
            return True
        return False

    @staticmethod
    def _accepted(guide: Guide, one: Scored) -> list[int]:
        """Have the guide accept a candidate and what ends it; none, and it is as it was, where it can't."""
        tokens: list[int] = []
        for token in one.tokens:
            if not guide.accept(token):
                guide.rollback(len(tokens))
                return []
            tokens.append(token)
        end = next((end for end in one.ends if guide.accept(end)), None)
        if end is None:
            guide.rollback(len(tokens))
            return []
        return [*tokens, end]

    def wish(self, token: int) -> None:
        """Take the token that the model would choose under `wide`; called before `take`."""
        assert self._guide is not None
        assert self._mask is not None
        if not self._mask.allows(0, token):
            self._guide.wish(token)

    def tell(self, likeliest: Sequence[tuple[int, float]]) -> None:
        """Record the likeliest tokens and their log-probabilities for the token taken last."""
        if likeliest and self.details:
            top = tuple((self._shown.token_bytes(token), logprob) for token, logprob in likeliest)
            self.details[-1] = dataclasses.replace(self.details[-1], top=top)

    def choices(self) -> list[int]:
        """The allowed tokens where they are a closed choice; otherwise none."""
        if self.mask is None:
            return []
        allowed = allowed_tokens(self.mask.words[0], CHOICE)
        return allowed if len(allowed) <= CHOICE else []

    def fresh(self) -> str:
        """The text written since the last call, in complete characters."""
        if self._told == 0 and self._text == self._lead:
            return ""  # SentencePiece's own leading space may be no part of it
        told, self._told = self._told, len(self._text)
        return self._text[told:].removeprefix(self._lead) if told == 0 else self._text[told:]

    def fresh_thought(self) -> str:
        """The thinking written since the last call; all of it is `thought`."""
        return self._thinking.fresh(self.written, self.thinking_tokens) if self._thinking is not None else ""

    def end(self) -> None:
        """End the text. An incomplete character becomes a replacement character."""
        self._text += self._decoder.decode(b"", final=True)

    def _append(
        self,
        token: int,
        *,
        logprob: float = 0.0,
        removed: float = 0.0,
        margin: float | None = None,
        forced: bool = False,
    ) -> None:
        if self._guide is not None:
            start = time.perf_counter()
            accepted = self._guide.accept(token)
            self._engine_seconds += time.perf_counter() - start
            assert accepted, f"token {token} was chosen under a mask that does not allow it"
        self.written.append(token)
        self.forced_tokens += forced
        text = self._decoder.decode(self._shown.token_bytes(token))
        self._text += text
        self.details.append(Token(text, logprob, removed, margin, forced))

    def _guided(self, guide: Guide) -> int | None:
        """Return the token to write without asking the model; None where it must choose, with the mask filled."""
        start = time.perf_counter()
        remaining = self._max_tokens - (len(self.written) - self._start)
        token = guide.forced(remaining)
        self._engine_seconds += time.perf_counter() - start
        self._is_scarce = False
        if token is None:
            assert self._mask is not None, "use(mask) comes before the first step"
            self._mask.fill([guide.matcher], [remaining])
            is_scarce = guide.matcher.is_scarce()
            token = guide.narrow(self._mask.words[0])
            if token is None and self._stops_repetition:
                token = self._closing(guide, self._mask)
            # Where text is forced the budget takes away a way to cut it, and nothing of it.
            if is_scarce and guide.forced() is None and self._widen(guide, self._mask):
                return None
        return token

    def _closing(self, guide: Guide, mask: MaskBuffer) -> int | None:
        """Leave in the mask of a string that repeats itself what ends it, if it may end; returns a token left alone."""
        if guide.matcher.lexeme() < 0 or not repetition.ends_so(self._text):
            return None
        kept = mask.words[0] & closing_words(self._vocabulary)  # none in a number: no quote comes behind it
        if self._text.endswith("\\") or not kept.any():
            return None
        mask.words[0] = kept
        allowed = allowed_tokens(kept, 1)
        return allowed[0] if len(allowed) == 1 else None

    def _widen(self, guide: Guide, mask: MaskBuffer) -> bool:
        """Fill the mask without the budget; return whether it allows more."""
        if self._wide is None:
            self._wide = mask.another()
        self._wide.fill([guide.matcher])
        guide.narrow(self._wide.words[0])
        self._is_scarce = bool((self._wide.words[0] & ~mask.words[0]).any())
        return self._is_scarce
