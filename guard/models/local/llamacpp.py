"""Local models through llama.cpp: a GGUF file of any architecture and quantisation that llama-cpp-python runs.

The loop is Guard's: llama.cpp evaluates a pass, the logits are masked in place in its own buffer, and the token is
chosen here. No code of Guard's runs in a callback of llama.cpp's, which would swallow an exception and go on without
masks: an exception ends the call. NumPy does the arithmetic; torch is not needed.

A llama.cpp context evaluates one sequence at a time, so requests take turns. While a stream's caller is busy with a
piece, others use the context; the stream's state is saved and restored, bit for bit.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guard.decoding.completion import Completion
from guard.decoding.forced_tokens import Forcing
from guard.decoding.mask_buffer import MaskBuffer, allowed_tokens
from guard.decoding.reasoning import Reasoning
from guard.decoding.whole_values import LEAST
from guard.errors import ModelError
from guard.kernels.vocabulary import Vocabulary, alphabet_of
from guard.models.base import Request, Sampling
from guard.models.chat_messages import without_system
from guard.models.local.local_model import LocalModel, Tools
from guard.models.local.sampling import Sampler
from guard.support.clipping import one_line

try:
    import llama_cpp
    from jinja2 import TemplateError
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter
except ImportError as error:
    raise ModelError(f"GGUF files need {error.name}: pip install 'guard-slm[llamacpp]'") from error

#: Default length of the context, in tokens. Loading a model allocates memory for all of them.
CONTEXT = 8192


class LlamaCppModel(LocalModel):
    """A model of llama.cpp that answers requests."""

    def __init__(self, name: str, llama: Any) -> None:
        """Wrap a `llama_cpp.Llama`, which nothing else may use from then on. `from_file` loads one."""
        self._name = name
        self._llama = llama
        self._turn = threading.RLock()  # of the context; reentrant for signal handlers, which look at `_has_turn`
        self._has_turn = False
        self._holder: _LlamaCppSession | None = None  # whose tokens the context holds
        self._context = min(llama.n_ctx(), llama._model.n_ctx_train())
        self._template = llama.metadata.get("tokenizer.chat_template")
        self._formatter = None
        self._ends = {
            name: llama._model.token_get_text(token) if token >= 0 else ""
            for name, token in (("eos_token", llama.token_eos()), ("bos_token", llama.token_bos()))
        }
        if self._template is not None:
            self._formatter = Jinja2ChatFormatter(self._template, **self._ends)
        self._vocabulary = _vocabulary(llama, name)
        self._forcing = {self._vocabulary: Forcing(_Tokenizer(self._encode), self._vocabulary)}
        self._reasoning = Reasoning.of(self._template, self._vocabulary, self._encode) if self._template else None

    @classmethod
    def from_file(
        cls, path: str | Path, *, name: str | None = None, context: int = CONTEXT, **options: Any
    ) -> LlamaCppModel:
        """Load a GGUF file, on a GPU where llama.cpp was built for one; the options are `llama_cpp.Llama`'s."""
        file = Path(path).expanduser()
        if not file.is_file():
            raise ModelError(f"no such file: {path}")
        try:
            llama = llama_cpp.Llama(
                str(file), **{"n_ctx": context, "n_gpu_layers": -1, "verbose": False, **options, "logits_all": False}
            )
        except (ValueError, RuntimeError, OSError, AssertionError) as error:
            raise ModelError(f"can't load {path}: {one_line(error)}") from error
        return cls(name or f"llamacpp:{path}", llama)

    @property
    def chat_template(self) -> tuple[str, Mapping[str, str]] | None:
        """The GGUF's chat template."""
        return None if self._template is None else (self._template, self._ends)

    def _render(self, messages: Sequence[Mapping[str, Any]], *, thinks: bool, tools: Tools = ()) -> str:
        if self._formatter is None:
            return "\n\n".join(message["content"] for message in messages) + "\n\n"
        try:
            return self._format(messages, thinks, tools)
        except (TemplateError, ValueError):  # some templates know no system message
            try:
                return self._format(without_system(messages), thinks, tools)
            except (TemplateError, ValueError) as error:
                raise ModelError(f"{self._name}'s chat template refuses the messages: {error}") from error

    def _format(self, messages: Sequence[Mapping[str, Any]], thinks: bool, tools: Tools) -> str:
        assert self._formatter is not None
        chat: Any = [dict(message) for message in messages]
        given: Any = list(tools) or None
        return str(self._formatter(messages=chat, tools=given, enable_thinking=thinks).prompt)

    def _tokenize(self, text: str) -> list[int]:
        # A chat template writes the token that begins a sequence itself.
        return list(self._llama.tokenize(text.encode(), add_bos=self._formatter is None, special=True))

    def _encode(self, text: str) -> list[int]:
        return list(self._llama.tokenize(text.encode(), add_bos=False, special=True))

    @contextlib.contextmanager
    def _open(self, prompt: list[int], request: Request, **limits: Any) -> Iterator[_LlamaCppSession]:  # noqa: ARG002 (LocalModel hands it on)
        vocabulary = limits.pop("vocabulary")
        if vocabulary not in self._forcing:
            self._forcing[vocabulary] = Forcing(_Tokenizer(self._encode), vocabulary)
        completion = Completion(vocabulary, forcing=self._forcing[vocabulary], **limits)
        completion.use(MaskBuffer(1, self._vocabulary.size))
        session = _LlamaCppSession(self, completion, request)
        try:
            session.enter()
            yield session
        finally:
            session.leave()


class _LlamaCppSession:
    """One request on the context."""

    def __init__(self, model: LlamaCppModel, completion: Completion, request: Request) -> None:
        self.completion = completion
        self._model = model
        self._llama = model._llama
        self._temperature = request.temperature
        self._sampler = None if request.sampling == Sampling() else Sampler(request.sampling, request.temperature)
        self._random = np.random.default_rng(request.seed % 2**64)
        self._is_in = False
        self._aside: tuple[int, Any] | None = None  # tokens and state, while the context is another request's

    def step(self, tokens: list[int]) -> None:
        try:
            self._llama.eval(tokens)
        except RuntimeError as error:
            raise ModelError(f"{self._model.name} failed: {error}") from error
        pointer = self._llama._ctx.get_logits_ith(-1)
        if not pointer:
            raise ModelError(f"{self._model.name} failed: llama.cpp gave no logits")
        self._choose(np.ctypeslib.as_array(pointer, shape=(self._llama.n_vocab(),)))

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        self._is_in = self._model._has_turn = False
        self._model._turn.release()
        yield  # a caller that closes the stream here does not come back
        self.enter()

    def enter(self) -> None:
        model = self._model
        model._turn.acquire()
        if model._has_turn:
            model._turn.release()
            raise ModelError(f"{model.name} is at work in what a signal interrupted; ask it outside of handlers")
        self._is_in = model._has_turn = True
        if model._holder is self:
            return
        if model._holder is not None:
            model._holder._put_aside()
        self._llama.reset()
        self._llama._ctx.kv_cache_seq_rm(-1, 0, -1)
        model._holder = self
        if self._aside is not None:
            self._llama.n_tokens, state = self._aside
            self._aside = None
            if not llama_cpp.llama_state_seq_set_data(self._llama.ctx, state, len(state), 0):
                raise ModelError(f"{model.name} failed: llama.cpp did not take its own state back")

    def leave(self) -> None:
        if not self._is_in:
            self._model._turn.acquire()
        if self._model._holder is self:
            self._model._holder = None
        self._model._has_turn = self._model._has_turn and not self._is_in
        self._model._turn.release()

    def _put_aside(self) -> None:
        context = self._llama.ctx
        state = (ctypes.c_uint8 * llama_cpp.llama_state_seq_get_size(context, 0))()
        llama_cpp.llama_state_seq_get_data(context, state, len(state), 0)
        self._aside = (self._llama.n_tokens, state)

    def _choose(self, logits: NDArray[np.float32]) -> None:
        """Choose the next token among the allowed ones. Masks the logits in place."""
        completion, mask, wide = self.completion, self.completion.mask, self.completion.wide
        free = logits.copy() if wide is not None else None  # to be masked without the budget
        whole = kept = _log_sum(logits)
        if mask is not None:
            mask.apply_(logits[None])
            kept = _log_sum(logits)
        sampler = None if self._sampler is None or self._sampler.is_over(completion.tokens) else self._sampler
        if sampler is not None:
            logits[:] = sampler.apply(completion.tokens, logits, is_thinking=completion.is_thinking)
            completion.decision = sampler.decision
            kept = _log_sum(logits)
        token = int(logits.argmax())
        best = float(logits[token])
        if not whole < np.inf or not best < np.inf:
            raise ModelError("the model's logits are not finite numbers; use a wider quantisation")
        wished = None
        if free is not None and wide is not None:
            wide.apply_(free[None])
            if free.max() > -np.inf:
                wished = self._drawn(free)
                completion.wish(wished)
        if best == -np.inf:  # the model gives every allowed token -inf: any will do
            completion.take(allowed_tokens(mask.words[0], None)[0] if mask is not None else token, LEAST, 1.0)
            return
        if wished is not None and mask is not None and mask.allows(0, wished):
            token = wished  # drawn without the budget first, and again where that lacks it: its probability is the same
        elif self._temperature:
            token = self._drawn(logits)
        others = [float(logits[other]) for other in completion.choices() if other != token]
        margin = float(logits[token]) - max(others, default=-np.inf)
        completion.take(
            token,
            logprob=min(0.0, float(logits[token]) - kept),
            removed=min(1.0, max(0.0, 1.0 - float(np.exp(kept - whole)))) if mask is not None else 0.0,
            margin=margin if np.isfinite(margin) else None,
        )
        if sampler is not None:
            completion.tell(sampler.likeliest(logits))

    def _drawn(self, logits: NDArray[np.float32]) -> int:
        """Draw a token; the likeliest at temperature 0."""
        if not self._temperature:
            return int(logits.argmax())
        weights = np.exp((logits.astype(np.float64) - float(logits.max())) / self._temperature).cumsum()
        return int(np.searchsorted(weights, self._random.random() * weights[-1], side="right"))


class _Tokenizer:
    """The tokenizer's interface that Forcing needs."""

    def __init__(self, encode: Any) -> None:
        self._encode = encode

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        tokens: list[int] = self._encode(text)
        return tokens


def _vocabulary(llama: Any, name: str) -> Vocabulary:
    """Return the bytes of a model's tokens. Tokens that end a turn or a text both end a sequence."""
    native = llama._model.vocab
    count = llama.n_vocab()
    ends = [token for token in range(count) if llama_cpp.llama_vocab_is_eog(native, token)]
    ends.sort(key=lambda token: token != llama.token_eos())
    special = [token for token in range(count) if llama_cpp.llama_vocab_is_control(native, token)]
    silent = {*ends, *special}
    tokens = [b"" if token in silent else _piece(native, token) for token in range(count)]
    try:
        return Vocabulary.from_bytes(tokens, ends, special, alphabet_of(tokens))
    except ValueError as error:
        raise ModelError(f"{name}: {error}") from error


def _piece(native: Any, token: int) -> bytes:
    buffer = ctypes.create_string_buffer(64)
    length = llama_cpp.llama_token_to_piece(native, token, buffer, len(buffer), 0, False)
    if length < 0:  # it is longer than that
        buffer = ctypes.create_string_buffer(-length)
        length = llama_cpp.llama_token_to_piece(native, token, buffer, len(buffer), 0, False)
    return buffer.raw[:length]


def _log_sum(logits: NDArray[np.float32]) -> float:
    """Return log(sum(exp(logits))), without overflow."""
    most = float(logits.max())
    if not np.isfinite(most):
        return most
    return most + float(np.log(np.exp(logits - np.float32(most)).sum()))
