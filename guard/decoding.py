"""Guard's own decoding loop for torch models, also for `model.generate(custom_generate=Decoding(...))`.

What it adds to transformers' loops is the completion's (guard/completion.py): forced text costs few passes, and every
value ends inside its budget. A model that reads several tokens in one pass may round the last bit of a logit otherwise
than token by token; guard/models/passes.py makes passes in which it does not. One sequence, no padding: batches are
LogitsProcessor's, or guard/models/passes.py's.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from guard.completion import LEAST, Completion, allowed_tokens
from guard.errors import ModelError
from guard.masks import MaskBuffer

if TYPE_CHECKING:
    from guard.forcing import Forcing
    from guard.kernels._native import Matcher
    from guard.kernels.vocabulary import Vocabulary
    from guard.thinking import Thinking


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
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        """See Completion. `temperature` 0 is greedy; `seed` is of the sampling."""
        super().__init__(vocabulary, matcher, max_tokens=max_tokens, forcing=forcing, thinking=thinking, room=room)
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
        if model_kwargs.get("inputs_embeds") is not None:
            raise ValueError("inputs_embeds can't be decoded from: pass input_ids, or use LogitsProcessor")
        if self.written:
            raise ValueError("this Decoding has been used: make a new one for each call of generate")
        forward = Forward(model, model_kwargs)
        self.start(input_ids.device)
        prompt = input_ids[0].tolist()
        self.can_take_back = forward.can_take_back
        unfed = self.advance()
        while unfed is not None:
            logits = forward(prompt + unfed if forward.is_first else unfed, 1 + len(self.draft))
            forward.take_back(self.decide(logits, logits_processor, prompt))
            self.can_take_back = forward.can_take_back
            unfed = self.advance()
        return torch.cat([input_ids, input_ids.new_tensor([self.written])], dim=1)

    def start(self, device: torch.device) -> None:
        """Get ready to choose by logits on that device; called once, before the first step."""
        self.use(MaskBuffer(1, self._vocabulary.size, device))

    def decide(self, logits: torch.Tensor, processor: Any = None, prompt: list[int] | None = None) -> int:
        """Write what the logits, `[1 + len(draft), width]`, choose; returns how many tokens must be taken back."""
        draft = self.draft

        def choose(place: int) -> None:
            if processor or self._temperature or place == len(draft) or not self._is_best(draft[place], logits[place]):
                self.choose(logits[place : place + 1], processor, prompt)
            else:  # nobody asks how likely it was
                self.take(draft[place])

        return self.judge(choose)

    def _is_best(self, token: int, logits: torch.Tensor) -> bool:
        """Whether greedy decoding chooses that token, as far as that is told by few others."""
        allowed = self.choices()
        if token not in allowed:
            return False
        scores = logits[allowed]
        best = int(scores.argmax())
        return allowed[best] == token and bool(scores[best].isfinite())

    def choose(self, logits: torch.Tensor, processor: Any = None, prompt: list[int] | None = None) -> None:
        """Write the next token, chosen among the allowed ones by the logits, `[1, width]`, under the mask."""
        mask = self.mask
        raw = logits.to(torch.float32, copy=True)
        whole = raw[0].logsumexp(dim=-1)
        kept = whole
        if mask is not None:
            mask.apply_(raw)
        elif raw.shape[1] > self._vocabulary.size:  # logits that pad the matrix; no token has them
            raw[:, self._vocabulary.size :] = -math.inf
        if mask is not None or raw.shape[1] > self._vocabulary.size:
            kept = raw[0].logsumexp(dim=-1)
        scores = raw
        if processor:
            ids = torch.tensor([[*(prompt or ()), *self.written]], device=logits.device)
            scores = processor(ids, raw.clone())
            if mask is not None:
                mask.apply_(scores)
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
            token = self._sample(scores[0], best)
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

    def _sample(self, scores: torch.Tensor, best: float) -> int:
        if self._generator is None:
            self._generator = torch.Generator(scores.device).manual_seed(self._seed)
        probabilities = ((scores - best) / self._temperature).softmax(dim=-1)
        return int(torch.multinomial(probabilities, 1, generator=self._generator).item())


class Forward:
    """A model's forward pass over the tokens of one sequence that it has not seen, with the sequence's cache."""

    def __init__(self, model: Any, model_kwargs: dict[str, Any], prompt: int = 0) -> None:
        """Take what transformers' generate prepared, and of how many tokens the prompt is."""
        self.is_first = True
        self.prompt = prompt
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

    @property
    def can_take_back(self) -> bool:
        """Whether the cache is of a kind that can forget its last tokens: the whole sequence, position by position."""
        cache: Any = self.kwargs.get(self.cache_name)
        return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)

    def take_back(self, count: int) -> None:
        """Have the cache forget so many tokens, the last ones fed."""
        if count:
            self.kwargs[self.cache_name].crop(-count)

    @torch.no_grad()
    def __call__(self, tokens: list[int], count: int = 1) -> torch.Tensor:
        """Feed the tokens; returns the logits after each of the last `count`, `[count, width]`."""
        if self._one_by_one and not self.is_first:
            for token in tokens[:-count]:
                self._feed([token], 1)
            tokens = tokens[-count:]
        return self._feed(tokens, count)

    def _feed(self, tokens: list[int], count: int) -> torch.Tensor:
        ids = torch.tensor([tokens], device=getattr(self._model, "device", None))
        if self.keeps_logits:
            self.kwargs["logits_to_keep"] = count
        outputs = self._model(input_ids=ids, use_cache=True, return_dict=True, **self.kwargs)
        self.kwargs[self.cache_name] = outputs[self.cache_name]
        self.is_first = False
        logits: torch.Tensor = outputs.logits[0, -count:]
        return logits
