"""Masks for anyone's `model.generate(..., logits_processor=[LogitsProcessor(...)])`: batches, padding, several schemas.

Row i of the batch has a guide of its own (guard/decoding/guide.py). It is told of the tokens behind the prompt, and of
nothing else: what the prompt holds, left padding too, is only compared, so that a new call of `generate` starts anew. A
loop may extend a row by several tokens (assisted decoding) or exchange rows (beams): the guide goes back to where its
row parted.

A finished row is allowed the end-of-sequence tokens alone, and what is appended to it is not looked at. With
`max_tokens`, every row ends inside it. With the tokenizer, forced text is cut as in Guard's own loop: its masks leave
one token. Masks are filled and applied by guard/decoding/mask_buffer.py. A processor belongs to one thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "guard.LogitsProcessor needs torch: pip install 'guard-slm[local]'", name="torch"
    ) from error

from guard.decoding.forced_tokens import forcing_of
from guard.decoding.guide import Guide, cut_places
from guard.decoding.mask_buffer import MaskBuffer, check_budget
from guard.kernels.vocabulary import Vocabulary
from guard.schemas.compiled import Compiled, warmed
from guard.support.bounds import MOST_COUNT, check, check_kind


class LogitsProcessor:
    """Masks float[batch, width] logits, so that each row becomes a valid value. Time a step is linear in their size."""

    def __init__(
        self,
        compiled: Compiled | Sequence[Compiled],
        vocabulary: Vocabulary,
        *,
        max_tokens: int | None = None,
        tokenizer: Any = None,
    ) -> None:
        """Take one schema for all rows, or one for each prompt of the batch.

        With several sequences a prompt (`num_return_sequences`, beams) every schema serves that many rows in turn.
        `max_tokens` is generate's `max_new_tokens`: with it, values end inside the budget; without it, an output that
        reaches the end of generate's budget is cut off.

        `tokenizer`, of transformers, must be the one that the vocabulary was read from. With it, text that the schema
        forces is written in the tokens that the model was trained to see, and a sequence ends in the vocabulary's first
        end-of-sequence token; without it, the model may cut forced text as it likes.

        Raises ValueError without any schema, and for `max_tokens` below 1; TypeError for arguments of another kind.
        """
        self._compiled = list(compiled) if isinstance(compiled, Sequence) else [compiled]
        if not self._compiled:
            raise ValueError("compiled=[] must hold at least one schema")
        for one in self._compiled:
            check_kind("compiled", one, Compiled, "what guard.compile returns, or a list of these")
        check_kind("vocabulary", vocabulary, Vocabulary, "a guard.Vocabulary")
        if max_tokens is not None:
            check("max_tokens", max_tokens, 1, MOST_COUNT, is_whole=True)
        self._vocabulary = warmed(vocabulary)
        self._forcing = forcing_of(tokenizer, vocabulary) if tokenizer is not None else None
        self._max_tokens = max_tokens
        self._prompt: torch.Tensor | None = None  # [rows, length], on the CPU
        self._seen = 0  # the length of the rows in the last call
        self._rows: list[Guide] = []
        # Of each prompt: the tokens that the budget took away, by what was written before. Rows may be exchanged.
        self._wishes: dict[int, dict[tuple[int, ...], int]] = {}
        self._mask: MaskBuffer | None = None
        self._wide: MaskBuffer | None = None  # of one row, without the budget
        self._seconds = 0.0  # of the batches before this one, and of forced text

    @property
    def mask_seconds(self) -> float:
        """Seconds spent on filling and applying masks."""
        return self._seconds + sum(mask.seconds for mask in (self._mask, self._wide) if mask is not None)

    @property
    def cut_at(self) -> tuple[tuple[str, ...], ...]:
        """For each row, the JSON Pointers of the values that `max_tokens` cut.

        There the likeliest of the tokens that the schema allows was taken away for the budget; where tokens are
        sampled, another one might have been drawn. These are the rows of the last call: beam search returns others, of
        which `cuts` tells.
        """
        return tuple(self._cut(number, row.tokens) for number, row in enumerate(self._rows))

    def cuts(self, sequences: torch.Tensor) -> tuple[tuple[str, ...], ...]:
        """Return the same for each of the sequences that `generate` returned, prompt included.

        Raises ValueError for one that does not begin with its prompt in the last call of `generate`.
        """
        if self._prompt is None:
            return ((),) * len(sequences)
        rows, length = self._prompt.shape
        found = []
        for number, ids in enumerate(sequences.cpu()):
            row = number * rows // len(sequences)
            if not torch.equal(ids[:length], self._prompt[row]):
                raise ValueError(f"sequences[{number}] does not begin with its prompt in the last call of generate")
            found.append(self._cut(row, ids[length:].tolist()))
        return tuple(found)

    def reset(self) -> None:
        """Forget the batch; the next call starts a new one.

        Needed only where the next prompts may go on from the last ones: they would be taken for answers that go on.
        """
        self._prompt, self._rows, self._wishes = None, [], {}
        self._seconds, self._mask, self._wide = self.mask_seconds, None, None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores with -inf over every token that can't come next; `scores` may be wider than the vocabulary.

        Raises Truncated before the first token where `max_tokens` can't hold a row's shortest value.
        """
        ids = input_ids.cpu()
        if not self._continues(ids):
            self._start(ids, scores.device)
        self._seen = ids.shape[1]
        assert self._prompt is not None
        assert self._mask is not None
        refused = [
            _follow(row, written)
            for row, written in zip(self._rows, ids[:, self._prompt.shape[1] :].tolist(), strict=True)
        ]
        self._check_lost(refused)
        is_scarce = self._fill(self._mask)
        for number, row in enumerate(self._rows):
            if is_scarce[number] and refused[number] is None and not row.matcher.is_finished():
                self._look_for_a_cut(number, row, self._mask, scores)
        self._mask.words[[token is not None for token in refused]] = 0
        masked = scores.clone()  # generate may keep the raw scores
        self._mask.apply_(masked)
        return masked

    def _continues(self, ids: torch.Tensor) -> bool:
        prompt = self._prompt
        if prompt is None or ids.shape[0] != prompt.shape[0] or ids.shape[1] <= prompt.shape[1]:
            return False
        if not torch.equal(ids[:, : prompt.shape[1]], prompt):
            return False
        if ids.shape[1] <= self._seen + 1:
            return True
        # Several tokens at once, and every row had ended before the last of them: the next turn of a conversation.
        eos = torch.tensor(self._vocabulary.eos)
        return not bool(torch.isin(ids[:, prompt.shape[1] : -1], eos).any(dim=1).all())

    def _check_lost(self, refused: list[int | None]) -> None:
        """Raise where a row was continued with a token that its mask ruled out, unless it may be a beam of no weight.

        Beams that are sampled are as many as they are, however few tokens the masks leave: the others go on anyhow, at
        probability 0, as long as one of the same prompt and schema is in its schema.
        """
        if all(token is None for token in refused):
            return
        assert self._prompt is not None
        each = len(self._rows) // len(self._compiled)
        living = {
            (number // each, *self._prompt[number].tolist()) for number, token in enumerate(refused) if token is None
        }
        for number, token in enumerate(refused):
            if token is not None and (number // each, *self._prompt[number].tolist()) not in living:
                raise ValueError(
                    f"row {number} was continued with token {token}, which its schema does not allow after"
                    f" {len(self._rows[number].tokens)} tokens: another processor overrode the mask, an assistant with"
                    " another tokenizer drafted it, or reset() is missing"
                )

    def _fill(self, mask: MaskBuffer) -> list[bool]:
        """Fill the rows' masks; returns of each whether it may lack tokens for the budget."""
        remaining = None
        if self._max_tokens is not None:
            remaining = [max(1, self._max_tokens - len(row.tokens)) for row in self._rows]
        mask.fill([row.matcher for row in self._rows], remaining)
        is_scarce = [row.matcher.is_scarce() for row in self._rows]
        if self._forcing is not None:
            start = time.perf_counter()
            for row, words in zip(self._rows, mask.words, strict=True):
                row.narrow(words)
            self._seconds += time.perf_counter() - start
        return is_scarce

    def _look_for_a_cut(self, number: int, row: Guide, mask: MaskBuffer, scores: torch.Tensor) -> None:
        """Note whether the budget takes the row's likeliest token away; of forced text, only a way to cut it."""
        if row.forced() is not None:
            return
        if self._wide is None:
            self._wide = MaskBuffer(1, self._vocabulary.size, scores.device)
        self._wide.fill([row.matcher])
        if self._forcing is not None:
            row.narrow(self._wide.words[0])
        if not (self._wide.words[0] & ~mask.words[number]).any():
            return
        free = scores[number : number + 1].clone()
        self._wide.apply_(free)
        best, token = free[0].max(dim=-1)
        if bool(best.isfinite()) and not mask.allows(number, int(token)):
            self._wishes.setdefault(self._prompt_of(number), {})[tuple(row.tokens)] = int(token)

    def _prompt_of(self, row: int) -> int:
        """Return the first row that has the same schema and prompt: beams of one prompt go on from each other."""
        assert self._prompt is not None
        schema = row * len(self._compiled) // len(self._rows)
        first = schema * len(self._rows) // len(self._compiled)
        return next(other for other in range(first, row + 1) if torch.equal(self._prompt[other], self._prompt[row]))

    def _cut(self, row: int, tokens: Sequence[int]) -> tuple[str, ...]:
        wishes = self._wishes.get(self._prompt_of(row), {})
        lengths = sorted({len(before) for before in wishes if len(before) <= len(tokens)})
        found = [(length, wishes[before]) for length in lengths if (before := tuple(tokens[:length])) in wishes]
        is_format = self._rows[row].matcher.is_format()
        return cut_places(self._vocabulary, tokens, found, is_format=is_format)

    def _start(self, ids: torch.Tensor, device: torch.device) -> None:
        rows = ids.shape[0]
        if rows % len(self._compiled):
            raise ValueError(f"{len(self._compiled)} schemas can't be shared out evenly among {rows} rows")
        each = rows // len(self._compiled)
        self.reset()
        matchers = [compiled.matcher(self._vocabulary) for compiled in self._compiled for _ in range(each)]
        if self._max_tokens is not None:
            for matcher in matchers[::each]:
                check_budget(matcher, self._max_tokens)
        self._rows = [Guide(matcher, self._vocabulary, self._forcing) for matcher in matchers]
        self._mask = MaskBuffer(rows, self._vocabulary.size, device)
        self._prompt = ids.clone()


def _follow(row: Guide, written: list[int]) -> int | None:
    """Bring the guide to the end of what was written, or to the token that its schema does not allow: returns that one.

    Past the end of a sequence nothing is looked at.
    """
    shared = 0
    for old, new in zip(row.tokens, written, strict=False):
        if old != new:
            break
        shared += 1
    row.rollback(len(row.tokens) - shared)
    for token in written[shared:]:
        if row.matcher.is_finished():
            return None
        if not row.accept(token):
            return token
    return None
