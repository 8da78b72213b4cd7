"""Guard's classes for vLLM's backends: a grammar for each request, and the masks of a step."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from vllm.v1.structured_output.backend_types import StructuredOutputBackend, StructuredOutputGrammar

from guard.integrations import seams
from guard.integrations.engine_metrics import StepCount
from guard.integrations.token_grammar import TokenGrammar, compile_constraint, fill, forbid, vocabulary_of
from guard.kernels.bitmask import WORD

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: vLLM's constraints, in the order in which vLLM checks for them.
CONSTRAINTS = ("json", "json_object", "regex", "choice", "grammar", "structural_tag")

_log = logging.getLogger("vllm.guard")  # a child of vLLM's logger, so that its lines are shown


class VLLMGrammar(StructuredOutputGrammar):
    """One request's grammar, as vLLM calls it."""

    def __init__(self, answer: TokenGrammar, backend: VLLMBackend) -> None:
        self.answer = answer
        self._backend = backend

    def accept_tokens(self, request_id: str, tokens: list[int]) -> bool:
        """Accept tokens and return whether all were allowed; tokens after the end of the answer are ignored."""
        if self.answer.accept(tokens) == len(tokens) or self.answer.is_finished:
            return True
        why = f"ends: {self.answer.failure}" if self.answer.failure else "went on with tokens outside of its mask"
        _log.error("guard: request %s %s", request_id, why)
        return False

    def validate_tokens(self, tokens: list[int]) -> list[int]:
        """Return the longest prefix of the tokens that the masks allow."""
        return self.answer.agreed(tokens)

    def rollback(self, num_tokens: int) -> None:
        """Take back the last `num_tokens` tokens."""
        self.answer.rollback(num_tokens)

    def fill_bitmask(self, bitmask: torch.Tensor, batch_index: int) -> None:
        """Write the mask of the next token."""
        fill([self.answer], self._backend.words(bitmask), [batch_index])

    def is_terminated(self) -> bool:
        """Whether an end-of-sequence token was accepted."""
        return self.answer.is_finished

    def reset(self) -> None:
        """Return to the start of the answer."""
        self.answer.reset()


class _Row:
    """A request in a step: its rows in the bitmask, and how many of its drafts were accepted to fill them."""

    def __init__(self, first: int, request: Any, grammar: VLLMGrammar, drafts: Sequence[int]) -> None:
        self.first, self.request, self.grammar, self.drafts = first, request, grammar, drafts
        self.usable = next((at for at, token in enumerate(drafts) if token < 0), len(drafts))  # the rest is padding
        self.accepted = 0
        self.refused: int | None = None  # the row whose mask forbids the next draft


class VLLMBackend(StructuredOutputBackend):
    """Guard's masks over one model's vocabulary."""

    def __init__(self, vllm_config: Any, tokenizer: Any, vocab_size: int) -> None:
        """Read the tokenizer; ValueError where it can't be read or has more tokens than the model."""
        super().__init__(vllm_config, tokenizer, vocab_size)
        self.vocabulary = vocabulary_of(tokenizer, ends_of(vllm_config.model_config, tokenizer))
        if self.vocabulary.tokens.size > -(-vocab_size // WORD) * WORD:
            raise ValueError(f"guard: {self.vocabulary.tokens.size} tokens, and a model of {vocab_size}")
        self.is_compact = False
        self.limit: int | None = None  # the limit of grammars without a request: beams
        speculation = vllm_config.speculative_config
        is_copied = speculation is not None and getattr(speculation, "method", None) == "ngram"
        # Drafts copied from earlier text carry no probabilities, so forced text can be added as drafts.
        self._most_forced = speculation.num_speculative_tokens if is_copied else 0
        self._seen: tuple[torch.Tensor, NDArray[np.int32]] | None = None
        self._count = StepCount()
        _log.info(
            "%s masks structured outputs: %d tokens, of which %s end a sequence; forced text is cut %s",
            seams.version("guard-slm"),
            self.vocabulary.tokens.size,
            list(self.vocabulary.tokens.eos),
            "as by the tokenizer" if self.vocabulary.forcing is not None else "as the model likes",
        )

    def compile_grammar(
        self,
        request_type: Any,
        grammar_spec: str,
        stop_token_ids: set[int] | None = None,  # noqa: ARG002 - the vocabulary knows the ends of a sequence
    ) -> VLLMGrammar:
        """Make a grammar without a request, as beam search asks for it."""
        compiled = compile_constraint(request_type.name.lower(), grammar_spec, is_compact=self.is_compact)
        return VLLMGrammar(TokenGrammar(compiled, self.vocabulary, self.limit), self)

    def grammar_of(self, request: Any) -> VLLMGrammar:
        """Make a request's grammar with the request's limit of tokens."""
        asked = request.structured_output_request.params
        kind, text = constraint_of(asked)
        compiled = compile_constraint(kind, text, is_compact=asked.disable_any_whitespace)
        limit = min(request.max_tokens, self.vllm_config.model_config.max_model_len - request.num_prompt_tokens)
        return VLLMGrammar(TokenGrammar(compiled, self.vocabulary, limit), self)

    def allocate_token_bitmask(self, max_num_seqs: int) -> torch.Tensor:
        """Make masks that allow everything."""
        return torch.full((max_num_seqs, -(-self.vocab_size // WORD)), -1, dtype=torch.int32)

    def words(self, bitmask: torch.Tensor) -> NDArray[np.int32]:
        """Return the NumPy view of a bitmask, int32[rows, words]. The engine has one bitmask, whose view is cached."""
        if self._seen is None or self._seen[0] is not bitmask:
            self._seen = bitmask, bitmask.numpy()
        return self._seen[1]

    def destroy(self) -> None:
        """Release what belongs to this backend; the process keeps the vocabulary."""
        self._seen = None

    def drafts(self, manager: Any, request: Any, guessed: list[int]) -> list[int]:
        """Return the drafts of a request that its masks allow, followed by forced text."""
        usable = _Row(0, request, request.structured_output_request.grammar, guessed).usable
        guessed = guessed[:usable]
        begin, _ = manager._get_constraint_bounds(request, guessed)
        if begin > len(guessed):
            return guessed
        answer: TokenGrammar = request.structured_output_request.grammar.answer
        answer.settle(request.num_output_tokens + begin)
        return guessed[:begin] + answer.agreed(guessed[begin:], self._most_forced - begin)

    def bitmask(
        self,
        manager: Any,
        requests: Mapping[str, Any],
        ids: Sequence[str],
        drafts: Mapping[str, Sequence[int]],
    ) -> NDArray[np.int32] | None:
        """Return the masks of a step: for each request one row for each draft and one for the token after them.

        One call fills the first rows of all requests, a second call all second rows, and so on.
        """
        if not ids:
            return None
        start = time.perf_counter()
        words = self._masks(manager, requests, ids, drafts)
        self._count.add(len(words), start, time.perf_counter())
        return words

    def _masks(
        self,
        manager: Any,
        requests: Mapping[str, Any],
        ids: Sequence[str],
        drafts: Mapping[str, Sequence[int]],
    ) -> NDArray[np.int32]:
        config = self.vllm_config
        if manager._grammar_bitmask is None:
            most = config.scheduler_config.max_num_seqs * (1 + config.num_speculative_tokens)
            manager._grammar_bitmask = self.allocate_token_bitmask(most)
        words = self.words(manager._grammar_bitmask)
        if not drafts:
            self._fill_plain(manager, requests, ids, words)
            return words[: len(ids)]
        rows, count = [], 0
        for name in ids:
            request = requests[name]
            rows.append(_Row(count, request, request.structured_output_request.grammar, drafts.get(name) or ()))
            count += 1 + len(rows[-1].drafts)
        bounds = [manager._get_constraint_bounds(row.request, row.drafts[: row.usable]) for row in rows]
        try:
            for depth in range(max(1 + len(row.drafts) for row in rows)):
                self._fill(manager, depth, rows, bounds, words)
        finally:
            for row in rows:  # back to what is written: an answer that begins next has the tokens that are left now
                row.grammar.answer.rollback(row.accepted)
                row.grammar.answer.settle(row.request.num_output_tokens)
        return words[:count]

    def _fill_plain(
        self, manager: Any, requests: Mapping[str, Any], ids: Sequence[str], words: NDArray[np.int32]
    ) -> None:
        """Fill the rows of a step without drafts."""
        answers, rows = [], []
        for row, name in enumerate(ids):
            request = requests[name]
            answer: TokenGrammar = request.structured_output_request.grammar.answer
            answer.settle(request.num_output_tokens)
            # The masks hold from the answer's first token on.
            if answer.tokens or manager._get_constraint_bounds(request, ())[1] == 0:
                answers.append(answer)
                rows.append(row)
            else:
                self._let_reason(manager, request, words[row])
        fill(answers, words, rows)

    def _fill(
        self,
        manager: Any,
        depth: int,
        rows: Sequence[_Row],
        bounds: Sequence[tuple[int, int]],
        words: NDArray[np.int32],
    ) -> None:
        """Fill the rows after `depth` drafts, and accept the next draft of each."""
        there = [(row, bound) for row, bound in zip(rows, bounds, strict=True) if depth <= len(row.drafts)]
        masked = []
        for row, (_, constrained) in there:
            if row.refused is not None:
                words[row.first + depth] = words[row.refused]
                continue
            if depth > row.usable:
                words[row.first + depth] = -1
                continue
            row.grammar.answer.settle(row.request.num_output_tokens + depth)
            if depth >= constrained:
                masked.append(row)
            else:
                self._let_reason(manager, row.request, words[row.first + depth])
        fill([row.grammar.answer for row in masked], words, [row.first + depth for row in masked])
        for row, (begin, _) in there:
            if begin <= depth < row.usable and row.refused is None:
                if row.grammar.answer.accept([row.drafts[depth]]):
                    row.accepted += 1
                else:
                    row.refused = row.first + depth
                    if row.grammar.answer.failure is None:  # else accept_tokens says so
                        _log.error("guard: request %s has a draft outside of its mask", row.request.request_id)

    def _let_reason(self, manager: Any, request: Any, words: NDArray[np.int32]) -> None:
        """Mask reasoning: anything but the end of the sequence, while the answer still fits.

        Once it would no longer fit, only the token that ends reasoning is allowed. Where no single token ends
        reasoning, it is not masked.
        """
        words[:] = -1
        answer = request.structured_output_request.grammar.answer
        end = getattr(manager._get_reasoner(request), "end_token_id", None)
        if not isinstance(end, int) or answer.tokens:
            return
        if answer.limit is not None and answer.limit - answer.before <= answer.distance() + 1:
            words[:] = 0
            words.view("uint32")[end // WORD] = 1 << end % WORD
            return
        forbid(words, self.vocabulary.tokens.eos)


def constraint_of(asked: Any) -> tuple[str, str]:
    """Return the kind of a request's constraint and its text; a constraint that is no text is returned as JSON."""
    for kind in CONSTRAINTS:
        value = getattr(asked, kind)
        if value is not None and value is not False:
            return kind, value if isinstance(value, str) else json.dumps(value)
    raise ValueError("structured outputs without a constraint")


def ends_of(model_config: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens at which vLLM ends a sequence, the tokenizer's own first."""
    own = getattr(tokenizer, "eos_token_id", None)
    others = (model_config.try_get_generation_config() or {}).get("eos_token_id")
    listed = [others] if isinstance(others, int) else list(others or ())
    return tuple(dict.fromkeys([*([own] if own is not None else []), *listed]))
