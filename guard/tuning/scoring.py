"""Teacher forcing: how likely a model is to write known answers, by one forward pass each instead of decoding.

Each token is predicted after the right tokens before it, under the mask that decoding would have there. Greedy decoding
writes the answer exactly where the likeliest allowed token is the answer's at every choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from guard.tuning.examples import Example

IMPOSSIBLE = -1e9  #: The logit of a masked token.
PASS_TOKENS = 4096  #: Most tokens of one forward pass, padding included, by default.


@dataclass(frozen=True)
class Score:
    """How well a model predicts one answer."""

    nll: float  # negative log-likelihood in nats, summed over all choices
    choices: int
    wrong: int  # choices at which another allowed token is likelier

    @property
    def is_written(self) -> bool:
        """Whether greedy decoding writes the answer."""
        return self.wrong == 0


def score(model: Any, examples: Sequence[Example], most: int = PASS_TOKENS) -> list[Score]:
    """Score examples with a model of transformers; the scores are in the order of the examples."""
    found: dict[int, Score] = {}
    by_size = sorted(range(len(examples)), key=lambda number: examples[number].size)
    with torch.no_grad():
        for numbers in passes(by_size, [e.size for e in examples], most):
            rows = [examples[number] for number in numbers]
            hidden = model.base_model(input_ids=padded(rows).to(model.device), use_cache=False)[0]
            choices = [example.path.chosen for example in rows]
            logits = head(model, behind(hidden, rows, choices)).cpu()
            logits = logits.masked_fill(~allowed([m for e in rows for m in e.path.masks], logits.shape[1]), IMPOSSIBLE)
            targets = torch.tensor(list(tokens_at(rows, choices)))
            losses = functional.cross_entropy(logits, targets, reduction="none").numpy()
            wrong = (logits.argmax(-1) != targets).numpy()
            at = 0
            for number, example in zip(numbers, rows, strict=True):
                end = at + len(example.path.chosen)
                found[number] = Score(float(losses[at:end].sum()), end - at, int(wrong[at:end].sum()))
                at = end
    return [found[number] for number in range(len(examples))]


def passes(numbers: Iterable[int], sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield the indexes of examples in groups that fit into one forward pass, padding included."""
    group: list[int] = []
    for number in numbers:
        longest = max(sizes[other] for other in (*group, number))
        if group and longest * (len(group) + 1) > most:
            yield group
            group = []
        group.append(number)
    if group:
        yield group


def padded(rows: Sequence[Example]) -> torch.Tensor:
    """Return the tokens of prompts and answers, padded on the right: int64[rows, tokens]."""
    ids = torch.zeros(len(rows), max(example.size for example in rows), dtype=torch.long)
    for row, example in enumerate(rows):
        ids[row, : example.size] = torch.tensor([*example.prompt, *example.path.tokens])
    return ids


def behind(hidden: torch.Tensor, rows: Sequence[Example], places: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the hidden states that predict the answer tokens at `places`: float[places, width]."""
    width = hidden.shape[1]
    at = [row * width + len(e.prompt) + place - 1 for row, e in enumerate(rows) for place in places[row]]
    return hidden.reshape(-1, hidden.shape[-1])[torch.tensor(at)]


def tokens_at(rows: Sequence[Example], places: Sequence[Sequence[int]]) -> Iterator[int]:
    """Yield the answer tokens at `places`."""
    for row, example in enumerate(rows):
        for place in places[row]:
            yield example.path.tokens[place]


def head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Return logits of hidden states: float[places, width] to float32[places, vocabulary]."""
    found: torch.Tensor = model.get_output_embeddings()(hidden).float()
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return found if cap is None else cap * torch.tanh(found / cap)


def allowed(masks: Sequence[Any], width: int) -> torch.Tensor:
    """Unpack masks, int32[rows, words], to bool[rows, width]; tokens beyond the masks are not allowed."""
    bits = np.unpackbits(np.stack(masks).view(np.uint8), axis=-1, bitorder="little")[:, :width]
    found = torch.zeros(len(masks), width, dtype=torch.bool)
    found[:, : bits.shape[1]] = torch.from_numpy(bits).bool()
    return found
