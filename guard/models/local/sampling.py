"""Sampling beyond temperature and seed: penalties, the nucleus (Holtzman et al. 2020), and the likeliest tokens.

Masks come first: only tokens that the schema allows are considered here. Penalties count the tokens of the value so
far, as OpenAI defines them. The nucleus is the least set of tokens with `top_p` of the probability.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guard.models.base import Sampling


class Sampler:
    """The sampling of one request."""

    def __init__(self, sampling: Sampling, temperature: float) -> None:
        self._sampling, self._temperature = sampling, temperature
        self.decision: float | None = None  #: Probability that the first token is one of `Sampling.decision`.

    def is_over(self, written: Sequence[int]) -> bool:
        """Whether nothing is left to do, because only the first token mattered."""
        return bool(written) and dataclasses.replace(self._sampling, decision=(), decision_bias=0.0) == Sampling()

    def apply(
        self, written: Sequence[int], logits: NDArray[np.float32], *, is_thinking: bool = False
    ) -> NDArray[np.float32]:
        """Return the next token's logits, `[vocabulary]`, with penalties, and -inf outside of the nucleus.

        `written` are the tokens of the value, which has not begun while the model is thinking.
        """
        asked = self._sampling
        changed = logits.copy()
        if asked.decision and not written and not is_thinking:
            self._decide(changed)
        if written and (asked.frequency_penalty or asked.presence_penalty):
            tokens, counts = np.unique(np.asarray(written, dtype=np.int64), return_counts=True)
            changed[tokens] -= (asked.frequency_penalty * counts + asked.presence_penalty).astype(np.float32)
        best = changed.max()
        if asked.top_p < 1 and self._temperature and best > -np.inf:
            order = np.argsort(-changed, kind="stable")
            weights = np.exp((changed[order].astype(np.float64) - float(best)) / self._temperature)
            before = np.cumsum(weights) - weights  # of the likelier ones
            beyond = before >= asked.top_p * weights.sum()
            beyond[0] = False
            changed[order[beyond]] = -np.inf
        return changed

    def _decide(self, logits: NDArray[np.float32]) -> None:
        """Set the probability of the tokens of `decision` among the allowed ones, then add their bias."""
        tokens = list(self._sampling.decision)
        best = logits.max()
        if best > -np.inf:
            weights = np.exp(logits.astype(np.float64) - float(best))
            self.decision = float(weights[tokens].sum() / weights.sum())
        logits[tokens] += np.float32(self._sampling.decision_bias)

    def likeliest(self, logits: NDArray[np.float32]) -> list[tuple[int, float]]:
        """Return the likeliest allowed tokens, with their log-probabilities."""
        count = min(self._sampling.top_logprobs, len(logits))
        best = logits.max()
        if not count or best == -np.inf:
            return []
        whole = float(best) + float(np.log(np.exp(logits - best).sum()))
        order = np.argpartition(-logits, count - 1)[:count]
        order = order[np.argsort(-logits[order], kind="stable")]
        return [(int(at), min(0.0, float(logits[at]) - whole)) for at in order if logits[at] > -np.inf]
