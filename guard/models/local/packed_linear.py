"""Prepacking: weights in bfloat16 on a CPU, laid out once in the blocks that its matrix product needs.

oneDNN multiplies by blocks of a weight. torch gives it plain rows, so each product first reorders them into blocks. For
the few rows of a decoding pass that takes longer than the product. With packed weights the same kernel runs on the same
numbers, so the results have the same bits, and SmolLM2's pass takes 40 ms instead of 57
(docs/explanation/performance.md). With AMX there are further kernels, and some shapes are rounded otherwise.

The operators are those of torch's own compiler for frozen models (torch/_inductor/mkldnn_lowerings.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

#: CPU features with which bfloat16 is faster than float32 (SmolLM2: prefill 2 times, decoding 1.4 times).
FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16")


def is_fast_in_bfloat16() -> bool:
    """Whether this processor has bfloat16 products. False also where torch, before 2.10, can't tell."""
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in FAST_BFLOAT16)


class PackedLinear(torch.nn.Module):
    """A torch.nn.Linear for inference only. Its weight is in oneDNN's blocks, which no other code can read."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        # Not a parameter: blocks can't be moved to a device, converted or saved.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), 1)
        self._product = torch.ops.mkldnn._linear_pointwise.default

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """`[..., in_features]` to `[..., out_features]`, the numbers that the plain layer gives."""
        found: torch.Tensor = self._product(rows, self._weight, self.bias, "none", [], "")
        return found

    def extra_repr(self) -> str:
        """Return its description in torch's print of a model."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def pack(model: Any) -> None:
    """Replace a model's linear layers by packed ones, where that is faster. Plain weights are freed.

    A shared weight, such as one of embedding and output layer, is then in memory twice.
    """
    if not is_fast_in_bfloat16() or not torch._C._has_mkldnn:
        return
    if not hasattr(torch.ops.mkldnn, "_reorder_linear_weight") or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            weight = layer.weight if type(layer) is torch.nn.Linear else None
            if weight is not None and weight.dtype == torch.bfloat16 and weight.device.type == "cpu":
                setattr(parent, name, PackedLinear(layer))
