"""Guard's own decoding loop: one completion under masks, for `model.generate(custom_generate=Decoding(...))`.

What it adds to transformers' loops: text that the schema forces is appended without asking the model, and fed
together with the next token that the model is asked for; and the masks steer, so that the value ends inside the
budget, always. Without a matcher it decodes plain text.

The state is the list of tokens written and the tail of it that the model has not been fed. The cache holds exactly the
others, in order, because nothing is ever taken back. One sequence, no padding: batches are LogitsProcessor's.
"""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from guard.errors import ModelError
from guard.masks import MaskBuffer, check_budget

if TYPE_CHECKING:
    from guard.forcing import Forcing
    from guard.kernels._native import Matcher
    from guard.kernels.vocabulary import Vocabulary

#: The bytes that a JSON value may begin with.
FIRST_BYTES = tuple(bytes([byte]) for byte in b'{["-0123456789tfn')


class Decoding:
    """One completion. Make a new one for each call of `generate`."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        matcher: Matcher | None,
        *,
        max_tokens: int,
        forcing: Forcing | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Decode up to `max_tokens`, the end-of-sequence token included; raises Truncated where they can't suffice.

        Without `forcing`, the model writes forced text too, where its masks leave a choice. `temperature` 0 is greedy.
        """
        self.tokens: list[int] = []  # what was written, the end-of-sequence token included
        self.forced_tokens = 0
        self._vocabulary = vocabulary
        self._matcher = matcher
        self._max_tokens = max_tokens
        self._forcing = forcing
        self._temperature = temperature
        self._seed = seed
        self._fed = 0  # how many of the tokens are in the cache
        self._engine_seconds = 0.0
        self._mask: MaskBuffer | None = None
        if matcher is not None:
            check_budget(matcher, max_tokens)

    @property
    def is_finished(self) -> bool:
        """Whether the completion ends in an end-of-sequence token."""
        return bool(self.tokens) and self.tokens[-1] in self._vocabulary.eos

    @property
    def mask_seconds(self) -> float:
        """Seconds spent in the mask engine and on applying masks."""
        return self._engine_seconds + (self._mask.seconds if self._mask is not None else 0.0)

    @property
    def text(self) -> bytes:
        """What the tokens spell; special tokens spell nothing."""
        return b"".join(map(self._vocabulary.token_bytes, self.tokens))

    def __call__(
        self,
        model: Any,
        input_ids: torch.Tensor,
        logits_processor: Any = None,
        stopping_criteria: Any = None,  # noqa: ARG002 (generate passes it)
        generation_config: Any = None,  # noqa: ARG002 (generate passes it)
        **model_kwargs: Any,
    ) -> torch.Tensor:
        """Run the loop; transformers' generate calls this with everything prepared. Returns prompt and completion.

        `logits_processor` works on masked logits and can't undo a mask. Stopping criteria would cut a value off: the
        budget and the end-of-sequence tokens end a completion, nothing else does.
        """
        if input_ids.shape[0] != 1:
            raise ValueError(f"input_ids of {input_ids.shape[0]} rows must be one: batches are LogitsProcessor's")
        attention = model_kwargs.get("attention_mask")
        if attention is not None and not bool(attention.all()):
            raise ValueError("attention_mask must not hide tokens: one sequence needs no padding")
        device = input_ids.device
        forward = _Forward(model, model_kwargs)
        generator = torch.Generator(device).manual_seed(self._seed) if self._temperature else None
        if self._matcher is not None:
            self._mask = MaskBuffer(1, self._vocabulary.size, device)
        prompt = input_ids
        while not self.is_finished and len(self.tokens) < self._max_tokens:
            if self._matcher is not None:
                self._append_forced(is_first=not self.tokens)
                token = self._fill(is_first=not self.tokens)
                if token is not None:
                    self._append(token)
                    self.forced_tokens += 1
                    continue
            unfed = torch.tensor([self.tokens[self._fed :]], dtype=input_ids.dtype, device=device)
            logits = forward(torch.cat([prompt, unfed], dim=1) if self._fed == 0 and forward.is_first else unfed)
            self._fed = len(self.tokens)
            self._append(self._choose(logits, input_ids, logits_processor, generator))
        written = torch.tensor([self.tokens], dtype=input_ids.dtype, device=device)
        return torch.cat([input_ids, written], dim=1)

    def _append(self, token: int) -> None:
        if self._matcher is not None:
            start = time.perf_counter()
            accepted = self._matcher.accept(token)
            self._engine_seconds += time.perf_counter() - start
            assert accepted, f"token {token} was chosen under a mask that does not allow it"
        self.tokens.append(token)

    def _append_forced(self, *, is_first: bool) -> None:
        """Append the certain tokens of what every completion begins with from here."""
        matcher, forcing = self._matcher, self._forcing
        if matcher is None or forcing is None:
            return
        start = time.perf_counter()
        forced = matcher.forced_bytes()
        if is_first and not forced and not forcing.leads_with_space:
            forced = _without_leading_space(matcher)
        if forced:
            is_final = self._ends_after(forced)
            for token in forcing.tokens(self.tokens, forced, is_final=is_final):
                if not matcher.accept(token):
                    break
                self.tokens.append(token)
                self.forced_tokens += 1
        self._engine_seconds += time.perf_counter() - start

    def _ends_after(self, forced: bytes) -> bool:
        """Whether nothing but the end of the sequence can follow."""
        matcher, mask = self._matcher, self._mask
        assert matcher is not None
        assert mask is not None
        if not matcher.accept_bytes(forced):
            return False
        try:
            if not matcher.can_stop():
                return False
            matcher.fill_bitmask(mask.words)
            return set(_allowed(mask.words[0], len(self._vocabulary.eos))) <= set(self._vocabulary.eos)
        finally:
            matcher.rollback()

    def _fill(self, *, is_first: bool) -> int | None:
        """Fill the mask; returns the token to write if it leaves no choice."""
        assert self._matcher is not None
        assert self._mask is not None
        self._mask.fill([self._matcher], [self._max_tokens - len(self.tokens)])
        words, eos = self._mask.words[0], self._vocabulary.eos
        if is_first and self._forcing is not None and not self._forcing.leads_with_space:
            kept = words & ~self._forcing.space_words
            if kept.any():
                words[:] = kept
        allowed = _allowed(words, len(eos))
        if len(allowed) == 1:
            return allowed[0]
        if allowed and set(allowed) <= set(eos):
            return next(token for token in eos if token in allowed)  # the tokenizer's own comes first
        return None

    def _choose(self, logits: torch.Tensor, input_ids: torch.Tensor, processor: Any, generator: Any) -> int:
        """Choose among the allowed tokens, by the logits."""
        raw = logits.to(torch.float32, copy=True)
        if self._mask is not None:
            self._mask.apply_(raw)
        scores = raw
        if processor:
            written = torch.tensor([self.tokens], dtype=input_ids.dtype, device=input_ids.device)
            scores = processor(torch.cat([input_ids, written], dim=1), raw.clone())
            if self._mask is not None:
                self._mask.apply_(scores)
        best, token = (value.item() for value in scores[0].max(dim=-1))
        if best == -np.inf and scores is not raw:  # the processors left none of the allowed tokens
            scores = raw
            best, token = (value.item() for value in scores[0].max(dim=-1))
        if best != best or best == np.inf:
            raise ModelError("the model's logits are not finite numbers; load it in a wider type")
        if best == -np.inf:  # the model rules out every allowed token: any will do
            return int(_allowed(self._mask.words[0], None)[0]) if self._mask is not None else int(token)
        if generator is None:
            return int(token)
        probabilities = ((scores[0] - best) / self._temperature).softmax(dim=-1)
        return int(torch.multinomial(probabilities, 1, generator=generator).item())


class _Forward:
    """The model's forward pass over the tokens that it has not seen, with its cache."""

    def __init__(self, model: Any, model_kwargs: dict[str, Any]) -> None:
        self.is_first = True
        self._model = model
        # Without padding the model derives these itself, for any number of new tokens.
        self._kwargs = {
            key: value
            for key, value in model_kwargs.items()
            if key not in ("attention_mask", "position_ids", "cache_position", "use_cache")
        }
        # transformers renamed its cache argument in version 5.
        self._cache = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
        self._one_by_one = bool(getattr(model, "_is_stateful", False))  # recurrent: may take one new token at a time

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Feed the tokens; returns the logits after the last, `[1, width]`."""
        if self._one_by_one and not self.is_first:
            for index in range(tokens.shape[1] - 1):
                self._feed(tokens[:, index : index + 1])
            tokens = tokens[:, -1:]
        return self._feed(tokens)

    def _feed(self, tokens: torch.Tensor) -> torch.Tensor:
        outputs = self._model(input_ids=tokens, use_cache=True, return_dict=True, **self._kwargs)
        self._kwargs[self._cache] = outputs[self._cache]
        self.is_first = False
        logits: torch.Tensor = outputs.logits[:, -1]
        return logits


def _allowed(words: np.ndarray[Any, np.dtype[np.int32]], most: int | None) -> list[int]:
    """The allowed tokens, if they lie in no more than `most` words; else an empty list."""
    held = np.flatnonzero(words)
    if most is not None and len(held) > most:
        return []
    bits = np.unpackbits(words[held].view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
    rows, columns = np.nonzero(bits)
    return [int(token) for token in held[rows] * 32 + columns]


def _without_leading_space(matcher: Matcher) -> bytes:
    """What a completion begins with if it does not begin with a space; b"" where there is a choice."""
    found = b""
    for byte in FIRST_BYTES:
        if matcher.accept_bytes(byte):
            forced = byte + matcher.forced_bytes()
            matcher.rollback()
            if found:
                return b""
            found = forced
    return found
