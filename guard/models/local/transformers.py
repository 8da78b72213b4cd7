"""Local models through transformers: a folder or a hub id, its own chat template, and Guard's decoding loop.

A model is loaded once and answers from any thread: weights and vocabulary are only read, each request has a cache,
a matcher and a random generator of its own, the tokenizer, which is not made for threads, is taken under a lock, and
forward passes are shared (guard/models/local/passes.py).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from guard.errors import ModelError, Unsupported
from guard.models.base import Request, Sampling
from guard.models.chat_messages import without_system
from guard.models.local.local_model import LocalModel, Tools
from guard.support.clipping import one_line

# torch's threads on a CPU wait for each other many times a token. On a shared machine, busy waiting halves the speed or
# worse; sleeping has no measurable cost. The variable is read when torch is loaded, so it is set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

try:
    import torch
    import transformers
    from jinja2 import TemplateError
except ImportError as error:
    raise ModelError(f"local models need {error.name}: pip install 'guard-slm[local]'") from error

from guard.decoding.calibration import Calibration, Calibrations
from guard.decoding.forced_tokens import Forcing
from guard.decoding.reasoning import Reasoning
from guard.decoding.teacher import AnswerPath, follow
from guard.decoding.torch_loop import Decoding, Forward
from guard.decoding.whole_values import Endings, scored
from guard.kernels.vocabulary import Vocabulary
from guard.models.local.blocks import has_blocks
from guard.models.local.llama import Llama
from guard.models.local.packed_linear import is_fast_in_bfloat16, pack
from guard.models.local.passes import OneSequence, Passes, Shareable
from guard.models.local.sampling import Sampler
from guard.models.local.tree_passes import TreePasses, log_probabilities
from guard.schemas.compiled import Compiled, warmed

#: Characters of what was written that tell the tokenizer how a text goes on.
CONTEXT = 8


class TransformersModel(LocalModel):
    """A causal language model of transformers. Thread-safe."""

    can_score = True

    def __init__(self, name: str, model: Any, tokenizer: Any, *, share: bool | None = None) -> None:
        """Wrap a loaded model and its tokenizer. `from_pretrained` loads them by name.

        `share` decides whether concurrent requests share forward passes: None, where no result depends on it, and on a
        GPU; True, also where the last digits of logits do; False, never.
        """
        if model.config.is_encoder_decoder:
            raise ModelError(f"{name} is an encoder-decoder model; Guard decodes causal language models")
        self._name = name
        self._model = model
        self._tokenizer = tokenizer
        self._lock = threading.RLock()  # of the tokenizer; reentrant for signal handlers
        self._context: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        try:
            self._vocabulary = warmed(Vocabulary.from_tokenizer(tokenizer, eos=_eos(model, tokenizer)))
        except ValueError as error:
            raise ModelError(f"{name}: {error}") from error
        self._forcing = {self._vocabulary: Forcing(tokenizer, self._vocabulary)}
        template = tokenizer.chat_template
        self._reasoning = Reasoning.of(str(template), self._vocabulary, self._tokenize) if template else None
        # What the passes of a sequence are made by.
        self._runner: Shareable = model if isinstance(model, Llama) else self._by_transformers()
        self._passes = Passes(self._runner, share=share)
        self._endings: dict[Vocabulary, Endings] = {}
        self._calibrations: Calibrations | None = None

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        name: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        share: bool | None = None,
    ) -> TransformersModel:
        """Load a folder, or an id of the hub. A folder is read without the network.

        `device` None takes the GPU where there is one; `dtype` None takes what the weights are in, but on a CPU the
        faster of bfloat16 and float32, with the weights laid out for decoding only
        (guard/models/local/packed_linear.py): to train or to save a model, load it by transformers and give it to
        __init__. There too, what `guard pull` made of a GGUF in blocks of four bits decodes by these
        (guard/models/local/llama.py), unless a `dtype` is named. `share` is __init__'s.
        """
        path = Path(path_or_id).expanduser()
        is_local = path.exists()
        if not is_local and (path.is_absolute() or str(path_or_id).startswith((".", "~"))):
            raise ModelError(f"no such folder: {path_or_id}")
        source = str(path if is_local else path_or_id)
        device = device or _device()
        try:
            with quiet(is_local):
                tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=is_local)
                if is_local and device == "cpu" and dtype is None and has_blocks(Path(source)):
                    llama = Llama.from_folder(Path(source))
                    return cls(name or f"transformers:{path_or_id}", llama, tokenizer, share=share)
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    source, local_files_only=is_local, dtype=getattr(torch, dtype) if dtype else _dtype(device)
                )
            model = model.to(device)
            pack(model)
            made = cls(name or f"transformers:{path_or_id}", model, tokenizer, share=share)
            made._calibrations = Calibrations(path) if is_local else None
            return made
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"can't load {path_or_id}: {one_line(error)}") from error

    @property
    def calibration(self) -> Calibration | None:
        """What lies in the model's folder, as it is now."""
        return None if self._calibrations is None else self._calibrations.now()

    @property
    def chat_template(self) -> tuple[str, Mapping[str, str]] | None:
        """The tokenizer's chat template; of several, the one for tools."""
        template = self._tokenizer.chat_template
        if isinstance(template, Mapping):
            template = template.get("tool_use", template.get("default"))
        if not isinstance(template, str):
            return None
        named = self._tokenizer.special_tokens_map
        return template, {name: token for name, token in named.items() if isinstance(token, str)}

    @property
    def response_template(self) -> Mapping[str, Any] | None:
        """How the tokenizer reads turns, where it says so (transformers 5.13 and later)."""
        found = getattr(self._tokenizer, "response_template", None)
        return found if isinstance(found, Mapping) else None

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self._tokenizer

    @property
    def model(self) -> Any:
        """The wrapped model."""
        return self._model

    @property
    def passes(self) -> Passes:
        """The forward passes; `passes.is_shared` tells whether concurrent requests share them."""
        return self._passes

    def follow(self, compiled: Compiled, answer: str, most: int) -> AnswerPath | None:
        """Return the path of tokens that decodes to an answer; None where the masks forbid the answer."""
        with self._lock:
            return follow(compiled, self._vocabulary, self._forcing[self._vocabulary], answer, most)

    @contextlib.contextmanager
    def _open(self, prompt: list[int], request: Request, **limits: Any) -> Iterator[_TransformersSession]:
        vocabulary = limits.pop("vocabulary")
        if vocabulary not in self._forcing:
            self._forcing[vocabulary] = Forcing(self._tokenizer, vocabulary)
        decoding = Decoding(
            vocabulary, forcing=self._forcing[vocabulary], temperature=request.temperature, seed=request.seed, **limits
        )
        decoding.start(self._model.device)
        try:
            forward = self._runner.prepare(prompt, request.max_tokens)
            with self._passes.here():
                sampler = None if request.sampling == Sampling() else Sampler(request.sampling, request.temperature)
                session = _TransformersSession(decoding, forward, self._passes, sampler)
                matcher = limits.get("matcher")
                if _scores_values(request) and matcher is not None and not matcher.is_format():
                    endings = self._endings_of(vocabulary)
                    session.choose_whole(
                        vocabulary, self._forcing[vocabulary], endings, is_wish=request.choose == "score"
                    )
                yield session
        except RuntimeError as error:  # torch's: out of memory, a device that fails
            raise ModelError(f"{self._name} failed: {one_line(error)}") from error

    def _endings_of(self, vocabulary: Vocabulary) -> Endings:
        if vocabulary not in self._endings:
            self._endings[vocabulary] = Endings(vocabulary)
        return self._endings[vocabulary]

    def _by_transformers(self) -> Shareable:
        from guard.models.local.batching import TransformersPasses  # late: it imports much of transformers, 0.15 GB

        return TransformersPasses(self._model.eval(), self._prepare)

    def _prepare(self, prompt: list[int], max_tokens: int) -> Forward:
        """Return a Forward, prepared as by transformers' generate, with the right kind of cache."""

        def take(model: Any, input_ids: Any, logits_processor: Any = None, **model_kwargs: Any) -> Forward:  # noqa: ARG001 (generate's)
            for ours in ("stopping_criteria", "generation_config"):
                model_kwargs.pop(ours, None)
            return Forward(model, model_kwargs, prompt=len(prompt))

        ids = torch.tensor([prompt], device=self._model.device)
        forward: Forward = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=self._generation_config(max_tokens),
            custom_generate=take,
        )
        return forward

    def _generation_config(self, max_tokens: int) -> Any:
        """Return a neutral generation config: a model's own penalties would break keys and quotes."""
        return transformers.GenerationConfig(
            max_new_tokens=max_tokens,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            eos_token_id=list(self._vocabulary.eos),
            pad_token_id=self._vocabulary.eos[0],
        )

    def _tokenize(self, text: str) -> list[int]:
        with self._lock:
            is_chat = self._tokenizer.chat_template is not None
            # Not verbose: Truncated already says that a text is too long.
            return list(self._tokenizer(text, add_special_tokens=not is_chat, verbose=False).input_ids)

    def _render(self, messages: Sequence[Mapping[str, Any]], *, thinks: bool, tools: Tools = ()) -> str:
        if self._tokenizer.chat_template is None:
            return "\n\n".join(message["content"] for message in messages) + "\n\n"
        with self._lock:
            try:
                return self._template(messages, thinks, tools)
            except TemplateError:  # some templates know no system message
                try:
                    return self._template(without_system(messages), thinks, tools)
                except TemplateError as error:
                    raise ModelError(f"{self._name}'s chat template refuses the messages: {error}") from error

    def _template(self, messages: Sequence[Mapping[str, Any]], thinks: bool, tools: Tools) -> str:
        text: str = self._tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tools=list(tools) or None,
            add_generation_prompt=True,
            tokenize=False,
            enable_thinking=thinks,
        )
        return text


class _TransformersSession:
    """One request on one model."""

    def __init__(self, decoding: Decoding, forward: OneSequence, passes: Passes, sampler: Sampler | None) -> None:
        self.completion = decoding
        self._forward = forward
        self._passes = passes
        self._sampler = sampler
        self._scores: Any = None  # of the token that is chosen: what the sampler first left
        self._whole: tuple[Vocabulary, Forcing, Endings] | None = None  # values are chosen whole
        self._is_wish = False  # whether the caller asked for it

    def choose_whole(self, vocabulary: Vocabulary, forcing: Forcing, endings: Endings, *, is_wish: bool) -> None:
        """Have values of a closed choice chosen whole from here on; where the model can't, and it is a wish, refuse."""
        self._whole, self._is_wish = (vocabulary, forcing, endings), is_wish

    def step(self, tokens: list[int]) -> None:
        logits = self._passes(self._forward, tokens)
        if self._whole is not None and self._took_whole(logits, *self._whole):
            return
        if self._sampler is None or self._sampler.is_over(self.completion.tokens):
            self.completion.choose(logits)
            return
        self._scores = None
        self.completion.choose(logits, self._sampled)
        self.completion.tell(self._sampler.likeliest(self._scores))

    def _took_whole(self, logits: torch.Tensor, vocabulary: Vocabulary, forcing: Forcing, endings: Endings) -> bool:
        """Choose the value at hand whole, where it is a closed choice; False where it is none."""
        texts, is_text = self.completion.closed_texts()
        if not texts:
            return False
        context = self.completion.answer[-CONTEXT:]
        size = len(context.encode())
        try:
            passes = TreePasses(self._passes, self._forward)
        except Unsupported:
            if self._is_wish:
                raise
            self._whole = None
            return False
        with passes:
            choice = scored(
                texts,
                log_probabilities(logits)[0],
                lambda text: forcing.rest(context + text.decode(), size),
                endings,
                vocabulary,
                passes,
                is_text=is_text,
            )
        return self.completion.take_value(choice, is_text=is_text)

    def _sampled(self, _: Any, scores: torch.Tensor) -> torch.Tensor:
        assert self._sampler is not None
        written, is_thinking = self.completion.tokens, self.completion.is_thinking
        left = self._sampler.apply(written, scores[0].cpu().numpy(), is_thinking=is_thinking)
        self.completion.decision = self._sampler.decision
        self._scores = left if self._scores is None else self._scores
        return torch.from_numpy(left).to(scores.device)[None]

    def away(self) -> contextlib.AbstractContextManager[None]:
        return self._passes.away()


def _scores_values(request: Request) -> bool:
    """Whether values of a closed choice are scored as a whole."""
    if request.choose != "auto":
        return request.choose == "score"
    is_plain = request.temperature == 0 and request.sampling == Sampling()
    return is_plain and request.compiled is not None and request.compiled.is_grounded


def _eos(model: Any, tokenizer: Any) -> list[int]:
    """Return the end-of-sequence tokens: the tokenizer's, then those of the model's generation config."""
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    ids = [tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])]
    return list(dict.fromkeys(token for token in ids if token is not None))


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _dtype(device: str) -> Any:
    if device != "cpu":
        return "auto"
    return torch.bfloat16 if is_fast_in_bfloat16() else torch.float32


@contextlib.contextmanager
def quiet(is_local: bool = True) -> Iterator[None]:
    """Switch off progress bars for weights on this machine, whose loading takes a second."""
    logging = transformers.utils.logging
    if not is_local or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
