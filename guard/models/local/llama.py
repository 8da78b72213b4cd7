"""A llama whose weights are in blocks of four bits: one forward pass, joined by hand, for the few rows of decoding.

A pass of a small model is hundreds of operations of a microsecond each, and what transformers does around them takes
longer than they do. Here a layer is some twenty calls of torch: queries, keys and values are one product, gate and up
another; sums run on in float32; keys and values lie in a cache that was made for the whole answer, over which later
tokens attend by `kernels/cpu/attention`. A head's numbers stay in GGUF's order, of pairs that are turned together, so
that a turn is one product of complex numbers.

A pass is of any number of sequences side by side, without padding. All but attention works row by row. Attention is
computed piece by piece: the prompt at once, each later token on its own, over its own sequence. So no result depends on
what else is in a pass, which `guard/models/local/passes.py` tries out as it does with transformers' models.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch.nn.functional import scaled_dot_product_attention, silu

from guard.kernels._native import attend
from guard.models.local.blocks import FILE, BlockProduct

#: A model's cache grows by so many tokens where an answer is longer than it was said to be.
MORE = 64


class _Norm:
    """Divides rows by their root mean square, and multiplies by the weights; float32 to bfloat16."""

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        self._weight = weight.float() * math.sqrt(len(weight))
        self._least = len(weight) * epsilon

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        length: torch.Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
        return (rows / length.square_().add_(self._least).sqrt_()).mul_(self._weight).bfloat16()


@dataclass(frozen=True, slots=True)
class _Layer:
    attention_norm: _Norm
    qkv: BlockProduct
    output: BlockProduct
    norm: _Norm
    gate_up: BlockProduct
    down: BlockProduct

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor], number: int, config: Any) -> _Layer:
        return cls(
            _Norm(weights[f"{number}.attention_norm"], config.rms_norm_eps),
            BlockProduct.of(weights, f"{number}.qkv", config.hidden_size),
            BlockProduct.of(weights, f"{number}.output", config.num_attention_heads * config.head_dim),
            _Norm(weights[f"{number}.norm"], config.rms_norm_eps),
            BlockProduct.of(weights, f"{number}.gate_up", config.hidden_size),
            BlockProduct.of(weights, f"{number}.down", config.intermediate_size),
        )


class _Weights(dict[str, torch.Tensor]):
    """Weights that are read when they are asked for, so that a file's pages are in memory for one of them at a time."""

    def __init__(self, path: Path, embeddings: torch.Tensor) -> None:
        super().__init__(embeddings=embeddings)
        self._path = path

    def __missing__(self, name: str) -> torch.Tensor:
        with safe_open(self._path, "pt") as file:
            found: torch.Tensor = file.get_tensor(name)
            return found


class Llama:
    """The weights, and passes over them. Only read, so any thread may run passes."""

    device = torch.device("cpu")

    def __init__(self, config: Any, generation_config: Any, weights: Mapping[str, torch.Tensor]) -> None:
        """Take a configuration of transformers' and the weights, named as in `blocks.from_llama`."""
        self.config = config
        self.generation_config = generation_config
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._size = config.head_dim
        self._embeddings = weights["embeddings"]
        self._layers = [_Layer.of(weights, number, config) for number in range(config.num_hidden_layers)]
        self._norm = _Norm(weights["norm"], config.rms_norm_eps)
        self._logits = BlockProduct.of(weights, "logits", config.hidden_size)
        theta = config.rope_parameters["rope_theta"] if hasattr(config, "rope_parameters") else config.rope_theta
        steps = theta ** -(torch.arange(0, self._size, 2, dtype=torch.float64) / self._size)
        angles = torch.arange(config.max_position_embeddings, dtype=torch.float64)[:, None] * steps
        self._turns = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)

    @classmethod
    def from_folder(cls, folder: Path) -> Llama:
        """Load a folder of `guard/models/local/gguf.py` that has blocks."""
        with safe_open(folder / "model.safetensors", "pt") as plain:
            embeddings = plain.get_tensor("model.embed_tokens.weight")  # rows are read from the file as they are met
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        generation_config = transformers.GenerationConfig.from_pretrained(folder, local_files_only=True)
        return cls(config, generation_config, _Weights(folder / FILE, embeddings))

    def prepare(self, prompt: list[int], max_tokens: int) -> LlamaForward:
        """Begin a sequence of that prompt and so many tokens more."""
        return LlamaForward(self, len(prompt), len(prompt) + max_tokens)

    def is_shareable(self) -> bool:
        """Passes are shared wherever a trial finds that products work row by row."""
        return True

    def take_apart(self) -> bool:
        """Nothing is to be done for it."""
        return True

    def give_up(self) -> None:
        """Nothing is to be done for it."""

    def cache(self, tokens: int) -> torch.Tensor:
        """Return room for the keys and values of so many tokens: `[layers, keys then values, tokens, size]`."""
        shape = (len(self._layers), 2 * self._groups, tokens, self._size)
        return torch.empty(shape, dtype=torch.bfloat16)

    @torch.inference_mode()
    def run(self, sequences: Sequence[LlamaForward], tokens: Sequence[list[int]], way: Any = None) -> torch.Tensor:  # noqa: ARG002 (there is one)
        """Feed each sequence its new tokens; returns each one's last logits, `[sequences, width]`."""
        spans = [sequence.take(len(new)) for sequence, new in zip(sequences, tokens, strict=True)]
        places = [place for past, prompt, later in spans for place in range(past, past + prompt + later)]
        fed = [*itertools.chain(*tokens)]
        rows = self._rows(fed, places, lambda turned, number: self._attention(turned, sequences, spans, number))
        lasts = [end - 1 for end in itertools.accumulate(map(len, tokens))]
        return self._logits(self._norm(rows[lasts] if len(rows) > len(lasts) else rows))

    @torch.inference_mode()
    def branch(
        self, sequence: LlamaForward, tokens: list[int], positions: list[int], mask: torch.Tensor
    ) -> torch.Tensor:
        """Feed tokens of a tree behind a sequence, as `OneSequence.branch` does."""
        seen = mask.shape[-1]
        sequence.make_room(seen)
        heads, groups = self._heads, self._groups

        def attention(turned: torch.Tensor, number: int) -> torch.Tensor:
            cache = sequence.cache[number]
            cache[:, seen - len(tokens) : seen] = turned[:, heads:].transpose(0, 1)
            query = turned[:, :heads].transpose(0, 1)[None]
            keys, values = (part[:, :seen].repeat_interleave(heads // groups, 0)[None] for part in cache.chunk(2))
            found = scaled_dot_product_attention(query, keys, values, attn_mask=mask)
            return found[0].transpose(0, 1).reshape(len(tokens), -1)

        return self._logits(self._norm(self._rows(tokens, positions, attention)))

    def _rows(
        self, tokens: list[int], places: list[int], attention: Callable[[torch.Tensor, int], torch.Tensor]
    ) -> torch.Tensor:
        """Return what the layers make of tokens at their places, float32 `[tokens, hidden]`.

        `attention` is given the queries, keys and values of a layer, `[tokens, heads, size]`, and its number.
        """
        rows: torch.Tensor = self._embeddings[torch.tensor(tokens)].float()
        count = len(rows)
        heads, groups, size = self._heads, self._groups, self._size
        turns = torch.ones((count, heads + 2 * groups, size // 2), dtype=torch.complex64)  # values are not turned
        turns[:, : heads + groups] = self._turns[torch.tensor(places)][:, None]
        for number, layer in enumerate(self._layers):
            joined = layer.qkv(layer.attention_norm(rows)).float().view(count, -1, size // 2, 2)
            turned = torch.view_as_real(torch.view_as_complex(joined) * turns).flatten(2).to(torch.bfloat16)
            rows += layer.output(attention(turned, number))
            gate, up = layer.gate_up(layer.norm(rows)).chunk(2, dim=1)
            rows += layer.down(silu(gate) * up)
        return rows

    def _attention(
        self,
        turned: torch.Tensor,
        sequences: Sequence[LlamaForward],
        spans: Sequence[tuple[int, int, int]],
        number: int,
    ) -> torch.Tensor:
        """What the rows of queries, keys and values see: those of a prompt by torch, later ones by our own kernel."""
        heads, groups, size = self._heads, self._groups, self._size
        width = heads * size
        found = torch.empty((len(turned), width), dtype=torch.bfloat16)
        at = 0
        for sequence, (past, prompt, later) in zip(sequences, spans, strict=True):
            cache = sequence.cache[number]
            new = prompt + later
            cache[:, past : past + new] = turned[at : at + new, heads:].transpose(0, 1)
            if prompt:  # from the start
                query = turned[at : at + prompt, :heads].transpose(0, 1)[None]
                keys, values = (part[:, :prompt].repeat_interleave(heads // groups, 0)[None] for part in cache.chunk(2))
                out = scaled_dot_product_attention(query, keys, values, is_causal=True)
                found[at : at + prompt] = out[0].transpose(0, 1).reshape(prompt, width)
            if later:
                at_row, row = at + prompt, turned.stride(0)
                attend(
                    turned.data_ptr() + 2 * at_row * row,
                    row,
                    cache.data_ptr(),
                    cache.stride(0),
                    found.data_ptr() + 2 * at_row * width,
                    later,
                    past + prompt,
                    heads,
                    groups,
                    size,
                )
            at += new
        return found


class LlamaForward:
    """The passes of one sequence: what it has been fed, and its cache."""

    def __init__(self, model: Llama, prompt: int, tokens: int) -> None:
        """Begin a sequence, of so many tokens of prompt, and so many in all."""
        self.prompt = prompt
        self.cache = model.cache(tokens)
        self._model = model
        self._fed = 0

    @property
    def is_first(self) -> bool:
        """Whether nothing was fed yet."""
        return self._fed == 0

    def __call__(self, tokens: list[int]) -> torch.Tensor:
        """Feed the tokens; returns the logits after the last, `[1, width]`."""
        return self._model.run([self], [tokens])

    def begin_tree(self) -> int:
        """Return how many tokens were fed."""
        return self._fed

    def branch(self, tokens: list[int], positions: list[int], mask: torch.Tensor) -> torch.Tensor:
        """Feed tokens of a tree; returns the logits after each, `[tokens, width]`."""
        return self._model.branch(self, tokens, positions, mask)

    def end_tree(self) -> None:
        """Nothing is to be done: what comes next takes the tree's places."""

    def make_room(self, tokens: int) -> None:
        """Have room for so many tokens in all."""
        if tokens > self.cache.shape[2]:
            grown = self._model.cache(tokens + MORE)
            grown[:, :, : self.cache.shape[2]] = self.cache
            self.cache = grown

    def take(self, count: int) -> tuple[int, int, int]:
        """Make room for so many tokens; returns how many were before, and how many are prompt, and behind it."""
        past, self._fed = self._fed, self._fed + count
        self.make_room(self._fed)
        prompt = min(self.prompt, count) if past == 0 else 0
        return past, prompt, count - prompt
