"""An answer as decoding would write it: which tokens, which of them the model chooses, and among which.

The loop's own completion is driven with the answer as its teacher, so what is trained and scored is cut exactly as what
is decoded: forced text is cut as decoding forces it, and a mask stands where the model has a choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guard.decoding.completion import Completion
from guard.decoding.mask_buffer import MaskBuffer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guard.decoding.forced_tokens import Forcing
    from guard.kernels.vocabulary import Vocabulary
    from guard.schemas.compiled import Compiled


@dataclass(frozen=True)
class AnswerPath:
    """An answer in tokens, the end-of-sequence token included."""

    tokens: tuple[int, ...]
    chosen: tuple[int, ...]  # places in `tokens` where the masks leave a choice
    masks: tuple[NDArray[np.int32], ...]  # one for each of those: what is allowed there


def follow(compiled: Compiled, vocabulary: Vocabulary, forcing: Forcing, answer: str, most: int) -> AnswerPath | None:
    """Return the path of an answer through the masks; None where they lead to no such text in so many tokens."""
    text = answer.encode()
    matcher = compiled.matcher(vocabulary)
    if not 0 <= matcher.distance() <= most:
        return None
    completion = Completion(vocabulary, matcher, max_tokens=most, forcing=forcing)
    mask = MaskBuffer(1, vocabulary.size)
    completion.use(mask)
    chosen: list[int] = []
    masks: list[NDArray[np.int32]] = []
    planned: list[int] = []  # tokens from `start` on
    start = -1
    while completion.advance() is not None:
        at = len(completion.written)
        if start < 0 or completion.written[start:] != planned[: at - start]:
            done = _written(completion, forcing)
            if not text.startswith(done):
                return None
            planned, start = [*forcing.rest(answer, len(done)), vocabulary.eos[0]], at
        token = planned[at - start] if at - start < len(planned) else vocabulary.eos[0]
        if not mask.allows(0, token):
            return None
        chosen.append(at)
        masks.append(mask.words[0].copy())
        completion.take(token)
    if not completion.is_finished or _written(completion, forcing) != text:
        return None
    return AnswerPath(tuple(completion.written), tuple(chosen), tuple(masks))


def _written(completion: Completion, forcing: Forcing) -> bytes:
    return completion.text.removeprefix(b" ") if forcing.leads_with_space else completion.text
