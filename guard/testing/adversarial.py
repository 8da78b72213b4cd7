"""`AdversarialModel`: logits that always prefer the worst token, under Guard's own masks.

It wants to write prose, fences, endless white space, ever deeper brackets, and endless strings and numbers. Only the
masks make it write JSON, and only the budget ends it. It needs no weights and no torch.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import numpy as np

from guard.decoding.completion import Completion
from guard.decoding.mask_buffer import MaskBuffer, allowed_tokens
from guard.kernels.vocabulary import Vocabulary
from guard.models.base import Request
from guard.models.local.local_model import LocalModel, Tools
from guard.testing.flaky import seed_of

#: Texts that it prefers to JSON. Each is a token, beside all single bytes.
_TEMPTATIONS = (
    *("Sure! ", "Here is the JSON:\n", "```json\n", "```", "I'm sorry", "<think>", "</think>", "NaN", "Infinity"),
    *("\n\n\n\n", "        ", "\t\t", '{"', '":', '","', '"}', "[[", "]]", "[{", "}]", "null", "true", "false", "000"),
    *("1e9", "999", "\\u0000", "\\ud83d", '\\"', "\\\\", "//", "aaaaaaaa", "é", "文", "🙂", "None", "undefined"),
)
#: Preferences by name: from the bytes of a token to its score.
TASTES = ("far", "prose", "blank", "deep", "long", "digits", "escapes", "noise")


@functools.cache
def _vocabulary() -> Vocabulary:
    tokens = [*(bytes([byte]) for byte in range(256)), *(text.encode() for text in _TEMPTATIONS), b""]
    return Vocabulary.from_bytes(tokens, eos=[len(tokens) - 1])


class AdversarialModel(LocalModel):
    """A model that takes, among the tokens that the masks allow, the one that leads furthest astray.

    `taste`, one of `TASTES`, is its preference. "far" takes the token after which the most tokens are still needed, and
    so tries every allowed token. The others prefer prose, white space, brackets, text, digits or escapes that do not
    end, or nothing in particular. The seed breaks ties. Time per token is linear in the vocabulary. Raises ValueError
    for an unknown taste.
    """

    def __init__(self, seed: int = 0, *, taste: str = "far", name: str = "adversarial") -> None:
        if taste not in TASTES:
            raise ValueError(f"taste={taste!r} must be one of {', '.join(TASTES)}")
        self.seed, self.taste = seed, taste
        self._name, self._vocabulary = name, _vocabulary()
        self._context, self._reasoning = None, None

    @property
    def chat_template(self) -> None:
        """None, because it does not read messages."""
        return None

    def _render(self, messages: Sequence[Mapping[str, Any]], *, thinks: bool, tools: Tools = ()) -> str:  # noqa: ARG002 (it never thinks)
        return "\n".join(str(message.get("content", "")) for message in messages)

    def _tokenize(self, text: str) -> list[int]:
        return list(text.encode(errors="replace"))

    @contextlib.contextmanager
    def _open(self, prompt: list[int], request: Request, **limits: Any) -> Iterator[_AdversarialSession]:  # noqa: ARG002 (LocalModel hands it on)
        completion = Completion(limits.pop("vocabulary"), **limits)
        completion.use(MaskBuffer(1, self._vocabulary.size))
        yield _AdversarialSession(self, completion, limits["matcher"], request.seed)


class _AdversarialSession:
    def __init__(self, model: AdversarialModel, completion: Completion, matcher: Any, seed: int) -> None:
        self.completion = completion
        self._matcher, self._taste = matcher, model.taste
        self._random = Random(f"{model.seed} {seed}")  # noqa: S311 (a test's choices)
        self._likes = np.array([_liked(model.taste, token) for token in _tokens()], np.float32)

    def away(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def step(self, tokens: list[int]) -> None:  # noqa: ARG002 (it does not listen)
        mask, wide = self.completion.mask, self.completion.wide
        noise = np.array([self._random.random() for _ in range(len(self._likes))], np.float32)
        logits = (self._likes * 10 + noise)[None, :].copy()
        whole = _logsumexp(logits[0])
        if mask is None:
            logits[0, -1] = -math.inf  # nothing makes it stop
            token = int(logits[0].argmax())
            self.completion.take(token, float(logits[0, token] - whole), 0.0, None)
            return
        if self._taste == "far" and self._matcher is not None:
            for allowed in allowed_tokens((wide or mask).words[0], None):
                logits[0, allowed] = self._distance(allowed) + noise[allowed]
        if wide is not None:
            free = logits.copy()
            wide.apply_(free)
            self.completion.wish(int(free[0].argmax()))
        mask.apply_(logits)
        kept = _logsumexp(logits[0])
        token = int(logits[0].argmax())
        score = float(logits[0, token])
        self.completion.take(token, min(0.0, score - kept), min(1.0, max(0.0, 1 - math.exp(kept - whole))), None)

    def _distance(self, token: int) -> float:
        if token in self.completion._vocabulary.eos or not self._matcher.accept(token):
            return -1e3
        distance = float(self._matcher.distance())
        self._matcher.rollback()
        return min(distance, 1e6)


@functools.cache
def _tokens() -> tuple[bytes, ...]:
    vocabulary = _vocabulary()
    return tuple(vocabulary.token_bytes(token) for token in range(vocabulary.size))


def _liked(taste: str, token: bytes) -> float:
    if not token:
        return -100.0  # the end
    text = token.decode(errors="replace")
    liked = {
        "far": text.isalpha() and len(text) > 2,
        "prose": text.startswith(("Sure", "Here", "```", "I'm", "<", "None", "undefined", "//")),
        "blank": text.isspace(),
        "deep": all(c in '[{"' for c in text),
        "long": text.isalnum(),
        "digits": text.isdigit() or text in ("1e9", "-", "."),
        "escapes": text.startswith("\\"),
        "noise": False,
    }[taste]
    return len(text) if liked else -1.0 if text in ('"', "}", "]", '"}', "}]", "]]") else 0.0


def _logsumexp(logits: Any) -> float:
    most = float(logits.max())
    return most + math.log(float(np.exp(logits - most).sum())) if math.isfinite(most) else most


def by_name(rest: str, name: str) -> AdversarialModel:
    """Return the model of the name `adversarial:SEED`. Raises ValueError for a malformed seed."""
    return AdversarialModel(seed_of(rest), name=name)
