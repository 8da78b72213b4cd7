"""Guard's own decoding loop for torch models, also for `model.generate(custom_generate=Decoding(...))`.

What it adds to transformers' loops is the completion's (guard/decoding/completion.py): forced text costs no pass, and
every value ends inside its budget. One sequence, no padding: batches are LogitsProcessor's, or
guard/models/local/passes.py's.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from guard.decoding.completion import Completion
from guard.decoding.mask_buffer import MaskBuffer, allowed_tokens
from guard.decoding.whole_values import LEAST
from guard.errors import ModelError, Unsupported

if TYPE_CHECKING:
    from guard.decoding.forced_tokens import Forcing
    from guard.decoding.reasoning import Thinking
    from guard.kernels._native import Matcher
    from guard.kernels.vocabulary import Vocabulary


class Decoding(Completion):
    """One completion of a torch model. Make a new one for each call of `generate`."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        matcher: Matcher | None,
        *,
        max_tokens: int,
        forcing: Forcing | None = None,
        thinking: Thinking | None = None,
        room: int | None = None,
        stops_repetition: bool = False,
        shown: Vocabulary | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        """See Completion. `temperature` 0 is greedy; `seed` is of the sampling."""
        super().__init__(
            vocabulary,
            matcher,
            max_tokens=max_tokens,
            forcing=forcing,
            thinking=thinking,
            room=room,
            stops_repetition=stops_repetition,
            shown=shown,
        )
        self._temperature = temperature
        self._seed = seed
        self._generator: torch.Generator | None = None

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
        forward = Forward(model, model_kwargs)
        self.start(input_ids.device)
        prompt = input_ids[0].tolist()
        unfed = self.advance()
        while unfed is not None:
            logits = forward(prompt + unfed if forward.is_first else unfed)
            self.choose(logits, logits_processor, prompt)
            unfed = self.advance()
        return torch.cat([input_ids, input_ids.new_tensor([self.written])], dim=1)

    def start(self, device: torch.device) -> None:
        """Get ready to choose by logits on that device; called once, before the first step."""
        self.use(MaskBuffer(1, self._vocabulary.size, device))

    def choose(self, logits: torch.Tensor, processor: Any = None, prompt: list[int] | None = None) -> None:
        """Write the next token, chosen among the allowed ones by the logits, `[1, width]`, after the last one fed."""
        mask, wide = self.mask, self.wide
        raw = logits.to(torch.float32, copy=True)
        free = raw.clone() if wide is not None else None  # to be masked without the budget
        whole = raw[0].logsumexp(dim=-1)
        kept = whole
        if mask is not None:
            mask.apply_(raw)
        elif raw.shape[1] > self._vocabulary.size:  # logits that pad the matrix; no token has them
            raw[:, self._vocabulary.size :] = -math.inf
        if mask is not None or raw.shape[1] > self._vocabulary.size:
            kept = raw[0].logsumexp(dim=-1)
        scores = raw
        ids = None
        if processor:
            ids = torch.tensor([[*(prompt or ()), *self.written]], device=logits.device)
            scores = processor(ids, raw.clone())
            if mask is not None:
                mask.apply_(scores)
        wished = None
        if free is not None and wide is not None:
            wished = self._wished(free, wide, lambda masked: processor(ids, masked) if processor else masked)
        # One transfer from the device: everything that is asked of the logits at once.
        found = torch.stack([whole, kept, *scores[0].max(dim=-1)]).tolist()
        if found[2] == -math.inf and scores is not raw:  # the processors left none of the allowed tokens
            scores = raw
            found = torch.stack([whole, kept, *scores[0].max(dim=-1)]).tolist()
        total, allowed, best, token = found[0], found[1], found[2], int(found[3])
        if not max(total, best) < math.inf or math.isnan(best):
            raise ModelError("the model's logits are not finite numbers; load it in a wider type")
        if best == -math.inf:  # the model rules out every allowed token: any will do
            token = allowed_tokens(mask.words[0], None)[0] if mask is not None else token
            self.take(token, LEAST, 1.0)
            return
        score = best
        if self._temperature:
            is_kept = wished is not None and mask is not None and mask.allows(0, wished)
            token = wished if wished is not None and is_kept else self._sample(scores[0], best)
            score = float(scores[0, token])
        among = allowed if scores is raw else float(scores[0].logsumexp(dim=-1))
        margin = None
        if len(self.choices()) > 1:
            first, second = scores[0].topk(2).values.tolist()
            margin = score - (second if score == first else first)
        self.take(
            token,
            logprob=min(0.0, score - among),
            removed=min(1.0, max(0.0, 1.0 - math.exp(allowed - total))) if mask is not None else 0.0,
            margin=margin if margin is not None and math.isfinite(margin) else None,
        )

    def _wished(self, free: torch.Tensor, wide: MaskBuffer, processed: Callable[[Any], Any]) -> int | None:
        """Say which token would be chosen without the budget; None where the model rules out all of them.

        Drawn first, and again under the budget where that lacks it, a token has the probability that it has there.
        """
        wide.apply_(free)
        scores = processed(free)
        wide.apply_(scores)
        best, token = scores[0].max(dim=-1)
        if not math.isfinite(float(best)):
            return None
        wished = self._sample(scores[0], float(best)) if self._temperature else int(token)
        self.wish(wished)
        return wished

    def _sample(self, scores: torch.Tensor, best: float) -> int:
        if self._generator is None:
            self._generator = torch.Generator(scores.device).manual_seed(self._seed)
        probabilities = ((scores - best) / self._temperature).softmax(dim=-1)
        return int(torch.multinomial(probabilities, 1, generator=self._generator).item())


class Forward:
    """A model's forward pass over the tokens of one sequence that it has not seen, with the sequence's cache."""

    def __init__(self, model: Any, model_kwargs: dict[str, Any], prompt: int = 0) -> None:
        """Take what transformers' generate prepared; `prompt`: how many tokens it would feed first, at once."""
        self.is_first = True
        self.prompt = prompt
        self._fed = 0  # tokens before those of a tree
        self._model = model
        # Without padding the model derives these itself, for any number of new tokens.
        self.kwargs = {
            key: value
            for key, value in model_kwargs.items()
            if key not in ("attention_mask", "position_ids", "cache_position", "use_cache")
        }
        known = inspect.signature(model.forward).parameters
        self.cache_name = "cache" if "cache" in known else "past_key_values"  # transformers renamed it in version 5
        self.keeps_logits = "logits_to_keep" in known  # whether it can be told of which tokens they are wanted
        self._one_by_one = bool(getattr(model, "_is_stateful", False))  # recurrent: may take one new token at a time

    @torch.no_grad()
    def __call__(self, tokens: list[int]) -> torch.Tensor:
        """Feed the tokens; returns the logits after the last, `[1, width]`."""
        if self._one_by_one and not self.is_first:
            for token in tokens[:-1]:
                self._feed([token])
            tokens = tokens[-1:]
        return self._feed(tokens)

    def begin_tree(self) -> int:
        """Return how many tokens were fed, before those of a tree; Unsupported where these can't be forgotten again."""
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        cache = self.kwargs[self.cache_name]
        if type(cache) is not DynamicCache or not all(type(layer) is DynamicLayer for layer in cache.layers):
            raise Unsupported('choose="score" needs a model that keeps all of a text in its cache; leave it out')
        self._fed = int(cache.get_seq_length())
        return self._fed

    def end_tree(self) -> None:
        """Forget the tree."""
        cache = self.kwargs[self.cache_name]
        if (count := cache.get_seq_length() - self._fed) > 0:
            cache.crop(-count)

    @torch.no_grad()
    def branch(self, tokens: list[int], positions: list[int], mask: torch.Tensor) -> torch.Tensor:
        """Feed tokens that need not follow each other; returns the logits after each, `[tokens, width]`.

        `mask` is bool[1, 1, tokens, cached + tokens]: what each may see. They stay in the cache.
        """
        device = getattr(self._model, "device", None)
        kwargs = {name: value for name, value in self.kwargs.items() if name != "logits_to_keep"}
        outputs = self._model(
            input_ids=torch.tensor([tokens], device=device),
            position_ids=torch.tensor([positions], device=device),
            attention_mask=mask.to(device) if device is not None else mask,
            use_cache=True,
            return_dict=True,
            **kwargs,
        )
        logits: torch.Tensor = outputs.logits[0]
        return logits

    def _feed(self, tokens: list[int]) -> torch.Tensor:
        ids = torch.tensor([tokens], device=getattr(self._model, "device", None))
        outputs = self._model(input_ids=ids, use_cache=True, return_dict=True, **self.kwargs)
        self.kwargs[self.cache_name] = outputs[self.cache_name]
        self.is_first = False
        logits: torch.Tensor = outputs.logits[:, -1]
        return logits
