"""Guard's classes for SGLang's grammar backends, and what its hooks call."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from sglang.srt.constrained.base_grammar_backend import (
    BaseGrammarBackend,
    BaseGrammarObject,
    GrammarStats,
    InvalidGrammarObject,
)
from sglang.srt.constrained.reasoner_grammar_backend import ReasonerGrammarBackend, ReasonerGrammarObject

from guard.errors import GuardError
from guard.integrations import seams
from guard.integrations.engine_metrics import StepCount, count_request
from guard.integrations.token_grammar import (
    EngineVocabulary,
    TokenGrammar,
    check_request,
    compile_constraint,
    fill,
    vocabulary_of,
)
from guard.kernels.bitmask import WORD, apply_bitmask_

if TYPE_CHECKING:
    from guard.schemas.compiled import Compiled

ANY_OBJECT = "$$ANY$$"  #: SGLang's constraint for any JSON object.

_log = logging.getLogger("sglang.guard")
_count = StepCount()  # of the scheduler's one thread


class GivenUpError(ValueError):
    """A grammar was given up: SGLang ends its request, as where any accepting of a token raises ValueError."""


class SGLangGrammar(BaseGrammarObject):
    """One request's grammar, as SGLang calls it."""

    def __init__(self, answer: TokenGrammar, kind: str) -> None:
        super().__init__()
        self.answer = answer
        self.grammar_stats = GrammarStats(dispatch_type=kind)
        self._kind = kind

    def accept_token(self, token: int) -> None:
        """Accept a token; ValueError where the mask does not allow it, GivenUpError where nothing is accepted."""
        if self.answer.is_finished:
            return
        self.current_token = token
        if self.answer.accept([token]):
            return
        if self.answer.failure is not None:
            raise GivenUpError(f"guard: {self.answer.failure}")
        raise ValueError(f"guard: token {token} lies outside of its mask")

    def rollback(self, k: int) -> None:
        """Take back the last k tokens."""
        self.answer.rollback(k)

    def is_terminated(self) -> bool:
        """Whether an end-of-sequence token was accepted."""
        return self.answer.is_finished

    def allocate_vocab_mask(self, vocab_size: int, batch_size: int, device: Any) -> torch.Tensor:
        """Make masks that allow everything."""
        return allocate_mask(vocab_size, batch_size, device)

    def fill_vocab_mask(self, vocab_mask: torch.Tensor, idx: int) -> None:
        """Write the mask of the next token."""
        start = time.perf_counter()
        fill([self.answer], vocab_mask.numpy(), [idx])
        _count.add(1, start, time.perf_counter())

    @staticmethod
    def fill_vocab_mask_batched(entries: Sequence[Any], vocab_mask: torch.Tensor) -> None:
        """Write the masks of a step, all of Guard's in one call."""
        start = time.perf_counter()
        ours = [entry for entry in entries if isinstance(entry.grammar, SGLangGrammar)]
        fill([entry.grammar.answer for entry in ours], vocab_mask.numpy(), [entry.row for entry in ours])
        _count.add(len(ours), start, time.perf_counter())
        for entry in entries:
            if not isinstance(entry.grammar, SGLangGrammar):
                entry.grammar.fill_vocab_mask(vocab_mask, entry.row)

    @staticmethod
    def reset_vocab_mask(vocab_mask: torch.Tensor) -> None:
        """Make masks allow everything."""
        vocab_mask.fill_(-1)

    @staticmethod
    def move_vocab_mask(vocab_mask: torch.Tensor, device: Any) -> torch.Tensor:
        """Copy masks to the logits' device."""
        return vocab_mask.to(device, non_blocking=True)

    @staticmethod
    def apply_vocab_mask(logits: torch.Tensor, vocab_mask: torch.Tensor) -> None:
        """Set the logits of masked tokens to -inf, in place."""
        apply_bitmask_(logits, vocab_mask)

    def copy(self) -> SGLangGrammar:
        """Return a new grammar of the same constraint, at its start."""
        return SGLangGrammar(TokenGrammar(self.answer.compiled, self.answer.vocabulary), self._kind)

    def try_jump_forward(self, tokenizer: Any) -> None:  # noqa: ARG002 - SGLang's name
        """Do nothing: where text is forced, the masks allow one token."""
        return


class SGLangBackend(BaseGrammarBackend):
    """Guard's masks over one model's vocabulary."""

    is_support_token_filter = True

    def __init__(self, tokenizer: Any, vocab_size: int, ends: Sequence[int], *, is_compact: bool = False) -> None:
        """Read the tokenizer; ValueError where it can't be read or has more tokens than the model."""
        super().__init__()
        own = getattr(tokenizer, "eos_token_id", None)
        ordered = dict.fromkeys([*([own] if own is not None else []), *sorted(ends)])
        self.vocabulary: EngineVocabulary = vocabulary_of(tokenizer, tuple(ordered))
        if self.vocabulary.tokens.size > -(-vocab_size // WORD) * WORD:
            raise ValueError(f"guard: {self.vocabulary.tokens.size} tokens, and a model of {vocab_size}")
        self._is_compact = is_compact
        _log.info(
            "%s masks structured outputs: %d tokens, of which %s end a sequence",
            seams.version("guard-slm"),
            self.vocabulary.tokens.size,
            list(self.vocabulary.tokens.eos),
        )

    def dispatch_json(self, key_string: str) -> BaseGrammarObject:
        """Make a grammar of a JSON Schema."""
        return self._made("json_object" if key_string == ANY_OBJECT else "json", key_string)

    def dispatch_regex(self, key_string: str) -> BaseGrammarObject:
        """Make a grammar of a regular expression."""
        return self._made("regex", key_string)

    def dispatch_ebnf(self, key_string: str) -> BaseGrammarObject:
        """Make a grammar of an EBNF."""
        return self._made("grammar", key_string)

    def dispatch_structural_tag(self, key_string: str) -> BaseGrammarObject:
        """Make a grammar of a structural tag."""
        return self._made("structural_tag", key_string)

    def _made(self, kind: str, text: str) -> BaseGrammarObject:
        try:
            compiled: Compiled = compile_constraint(kind, text, is_compact=self._is_compact)
            check_request(compiled, self.vocabulary, None)
        except (GuardError, ValueError) as error:
            count_request(kind, is_taken=False)
            return InvalidGrammarObject(f"guard: {error}")
        count_request(kind, is_taken=True)
        return SGLangGrammar(TokenGrammar(compiled, self.vocabulary), kind)

    @staticmethod
    def allocate_vocab_mask(vocab_size: int, batch_size: int, device: Any) -> torch.Tensor:
        """Make masks that allow everything."""
        return allocate_mask(vocab_size, batch_size, device)

    move_vocab_mask = staticmethod(SGLangGrammar.move_vocab_mask)
    apply_vocab_mask = staticmethod(SGLangGrammar.apply_vocab_mask)

    @staticmethod
    def set_token_filter(
        vocab_mask: torch.Tensor,
        token_ids: Sequence[int],
        batch_idx: int,
        is_allowed: bool = True,
        reset_vocab_mask: bool = True,
    ) -> None:
        """Allow or forbid tokens; with `reset_vocab_mask` all other tokens get the opposite."""
        words = vocab_mask[batch_idx].numpy().view("uint32")
        if reset_vocab_mask:
            words[:] = 0 if is_allowed else 0xFFFFFFFF
        for token in token_ids:
            bit = 1 << token % WORD
            words[token // WORD] = int(words[token // WORD]) | bit if is_allowed else int(words[token // WORD]) & ~bit


def allocate_mask(vocab_size: int, batch_size: int, device: Any) -> torch.Tensor:
    """Make masks that allow everything, in pinned memory where there is a GPU: int32[batch, words]."""
    is_pinned = torch.device(device).type == "cuda" and torch.cuda.is_available()
    return torch.full((batch_size, -(-vocab_size // WORD)), -1, dtype=torch.int32, pin_memory=is_pinned)


def make(server_args: Any, tokenizer: Any, vocab_size: int, eos_token_ids: Any) -> BaseGrammarBackend:  # noqa: ARG001 (SGLang's)
    """Make the backend that SGLang's arguments ask for, inside SGLang's wrapper for reasoning.

    SGLang itself wraps only its own backends.
    """
    from sglang.srt.runtime_context import get_serving

    serving = get_serving()
    if serving.constrained_json_whitespace_pattern:
        raise ValueError("guard: --constrained-json-whitespace-pattern is not kept")
    is_compact = bool(serving.constrained_json_disable_any_whitespace)
    backend = SGLangBackend(tokenizer, vocab_size, list(eos_token_ids or ()), is_compact=is_compact)
    if not serving.reasoning_parser:
        return backend
    from sglang.srt.parser.reasoning_parser import ReasoningParser

    parser = ReasoningParser(model_type=serving.reasoning_parser, stream_reasoning=False, tokenizer=tokenizer)
    return ReasonerGrammarBackend(backend, parser, tokenizer, enable_strict_thinking=serving.enable_strict_thinking)


def after_a_request(result: Any, manager: Any, req: Any) -> Any:  # noqa: ARG001 - as SGLang calls it
    """Set the limit of tokens on a grammar that came from the cache."""
    keep_budget(req)
    return result


def after_requests(result: Any, manager: Any) -> Any:  # noqa: ARG001 - as SGLang calls it
    """Set the limits of tokens on grammars that have just been compiled."""
    for req in result:
        keep_budget(req)
    return result


def keep_budget(req: Any) -> None:
    """Make a request's answer end within its limit of tokens, and its reasoning leave room for the answer.

    A request whose limit can't hold the shortest answer, and the end of reasoning before it, is refused.
    """
    grammar, reasoner = req.grammar, None
    if isinstance(grammar, ReasonerGrammarObject):
        grammar, reasoner = grammar.grammar, grammar
    if not isinstance(grammar, SGLangGrammar):
        return
    answer, limit = grammar.answer, req.sampling_params.max_new_tokens
    try:
        check_request(answer.compiled, answer.vocabulary, limit)
    except GuardError as error:
        req.set_finish_with_abort(f"guard: {error}")
        return
    answer.limit = limit
    if reasoner is not None and limit is not None and not reasoner.reasoning_in_grammar:
        needed = answer.distance() + len(reasoner.think_end_ids)
        if reasoner.tokens_in_think >= 0 and needed > limit:
            req.set_finish_with_abort(
                f"guard: max_tokens={limit} can't hold the end of reasoning and the shortest answer;"
                f" they may need {needed}: raise max_tokens to that"
            )
            return
        room = max(0, limit - needed)
        reasoner.max_think_tokens = min(room, reasoner.max_think_tokens) if reasoner.max_think_tokens >= 0 else room
        ends = list(answer.vocabulary.tokens.eos)
        reasoner.think_excluded_token_ids = [*(reasoner.think_excluded_token_ids or ()), *ends]
        reasoner.enable_token_filter, reasoner.token_filter_fn = True, SGLangBackend.set_token_filter


def before_a_fill(reasoner: Any, vocab_mask: Any, idx: int) -> None:  # noqa: ARG001 - as SGLang calls it
    """Tell a grammar how many tokens the reasoning took."""
    grammar = reasoner.grammar
    if isinstance(grammar, SGLangGrammar) and not reasoner.reasoning_in_grammar and reasoner.tokens_in_think >= 0:
        grammar.answer.before = reasoner.tokens_in_think + len(reasoner.think_end_ids)


def around_a_tree(traverse: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Mask a request's tree of drafts, as far as its grammar goes before it is given up.

    SGLang catches what accepting a sampled token raises, and ends the request. What accepting a draft raises would end
    the scheduler.
    """
    with contextlib.suppress(GivenUpError):
        traverse(*args, **kwargs)
