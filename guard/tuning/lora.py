"""LoRA: low-rank additions to the linear maps of a model's upper layers, merged into the weights at the end.

A map `W x` becomes `W x + scale * up (down x)`, with `down` and `up` of a small rank in float32 and W frozen. `up`
starts at zero, so the model is unchanged before the first step. The merged model has its original shape.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from guard.errors import ModelError

#: Tokens of a row up to which attention that keeps its scores trains faster on a processor than PyTorch's fused kernel,
#: which computes them again in the backward pass: 15 ms a layer at 134 tokens where that takes 23 (bfloat16, AVX-512).
SHORT = 192


class LoraLinear(nn.Module):
    """A frozen linear map with a trained low-rank addition."""

    def __init__(self, base: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        bound = 1 / math.sqrt(base.in_features)
        self.down = nn.Parameter(torch.empty(rank, base.in_features).uniform_(-bound, bound, generator=generator))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = 2.0  # alpha = 2 * rank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the frozen map's output plus the addition: [..., inputs] to [..., outputs]."""
        low = nn.functional.linear(x, self.down.to(x.dtype))
        total: torch.Tensor = self.base(x) + nn.functional.linear(low, (self.scale * self.up).to(x.dtype))
        return total

    def merged(self) -> nn.Linear:
        """Return one linear map that computes the same."""
        with torch.no_grad():
            weight = self.base.weight
            weight.copy_((weight.float() + self.scale * self.up @ self.down).to(weight.dtype))
        return self.base


class Adapter:
    """LoRA on the upper layers of a decoder. The lower layers run separately, once for each example.

    `lower` returns the states that enter the first trained layer, and `upper` continues from them. Both run the model's
    own forward pass, which keeps positions and attention right.
    """

    def __init__(self, model: Any, layers: int, rank: int, seed: int) -> None:
        self.model = model.requires_grad_(False)
        self._attention = model.config.get_text_config()._attn_implementation  # transformers has no public name for it
        self._stack = _layers(model)
        self._first = max(0, len(self._stack) - layers)
        generator = torch.Generator().manual_seed(seed)
        self.parameters: list[nn.Parameter] = []
        self._wrapped: list[tuple[nn.Module, str]] = []
        for layer in self._stack[self._first :]:
            for name, child in list(layer.named_modules()):
                if isinstance(child, nn.Linear):
                    parent, _, last = name.rpartition(".")
                    owner = layer.get_submodule(parent)
                    made = LoraLinear(child, rank, generator)
                    setattr(owner, last, made)
                    self._wrapped.append((owner, last))
                    self.parameters += [made.down, made.up]

    @property
    def layers(self) -> int:
        """The number of trained layers."""
        return len(self._stack) - self._first

    def attend(self, length: int) -> None:
        """Choose how attention is computed from now on, for rows of so many tokens."""
        wanted = "eager" if self._attention == "sdpa" and length <= SHORT else self._attention
        if self.model.config.get_text_config()._attn_implementation != wanted:
            self.model.set_attn_implementation(wanted)

    def lower(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the states that enter the first trained layer: int64[rows, tokens] to float[rows, tokens, width]."""

        def stop(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            raise _Reached(args[0] if args else kwargs["hidden_states"])

        with torch.no_grad(), _hooked(self._stack[self._first], stop):
            try:
                self.model.base_model(input_ids=ids, use_cache=False)
            except _Reached as reached:
                return reached.states
        raise AssertionError("the forward pass went past the first trained layer")

    def upper(self, ids: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Return the last hidden states: float[rows, tokens, width]."""

        def put(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return ((states, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": states})

        with _hooked(self._stack[self._first], put), _skipped(self._stack[: self._first]):
            out: torch.Tensor = self.model.base_model(input_ids=ids, use_cache=False)[0]
        return out

    def merge(self) -> None:
        """Merge the additions into the weights; the model is an ordinary one again."""
        for owner, name in self._wrapped:
            setattr(owner, name, getattr(owner, name).merged())
        self._wrapped, self.parameters = [], []
        self.attend(SHORT + 1)


class _Reached(Exception):  # noqa: N818 - what ends a forward pass half-way
    def __init__(self, states: torch.Tensor) -> None:
        super().__init__()
        self.states = states


@contextlib.contextmanager
def _hooked(layer: nn.Module, hook: Any) -> Iterator[None]:
    handle = layer.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _skipped(layers: Any) -> Iterator[None]:
    """Make layers pass on their input unchanged."""
    for layer in layers:
        layer.forward = _handed_on
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _handed_on(hidden_states: Any, *_: Any, **__: Any) -> Any:
    return hidden_states


def _layers(model: Any) -> nn.ModuleList:
    """Return a decoder's stack of layers; ModelError where the architecture is unknown."""
    count = model.config.get_text_config().num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ModelError(f"{type(model).__name__} has no stack of layers that can be tuned")
