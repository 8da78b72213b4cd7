"""Weights in blocks of 32 numbers of four bits, as a GGUF file holds them, and torch's own product by them.

torch's product takes a number of a block as `(quant - 8) * scale + offset`, the quant of 0 to 15. GGUF's Q4_0 and Q4_1
are of that form. A number of Q8_0 is the sum of two of them, for its upper and its lower four bits: such a matrix has
both beside each other, and what is multiplied by it is written twice. So the quants are the file's own; only the two
numbers of each block are rounded, to the bfloat16 that the product takes.

The products of all rows are the same sums in the same order, whatever else is in the pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

#: Numbers in a block.
BLOCK = 32
#: Bytes of a block, by GGUF's name of its kind.
KINDS = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}
#: The product takes so many rows of a matrix at a time.
ROWS = 16
#: So many are laid out at a time: a multiple of the rows that any layout puts together.
PACKED = 4096
#: The size of a head is a multiple of that: attention works on so many numbers at once.
HEAD = 16
#: The file beside a model's plain weights.
FILE = "blocks.safetensors"
#: Where torch's product is written for the processor's vectors; elsewhere it goes number by number.
CAPABILITIES = ("AVX512", "AVX2")


def is_fast() -> bool:
    """Whether this processor and this torch multiply by blocks faster than by plain weights."""
    return (
        torch.backends.cpu.get_cpu_capability() in CAPABILITIES
        and hasattr(torch.ops.aten, "_weight_int4pack_mm_for_cpu")
        and hasattr(torch.ops.aten, "_convert_weight_to_int4pack_for_cpu")
    )


def has_blocks(folder: Path) -> bool:
    """Whether a model's folder has weights in blocks, and they are what is fast here."""
    return (folder / FILE).is_file() and is_fast()


def from_gguf(data: NDArray[np.uint8], kind: str) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Take a matrix of a GGUF file, `[rows, bytes]`; None where it is of a kind or shape that the product can't take.

    Returns the quants, two a byte, `uint8[rows, columns / 2]`, the first in the lower bits, and the scales and offsets,
    `bfloat16[blocks of a row, rows, 2]`.
    """
    if kind not in KINDS or data.ndim != 2 or data.shape[0] % ROWS or data.shape[1] % KINDS[kind]:
        return None
    parts = data.reshape(len(data), -1, KINDS[kind])
    scale = _halves(parts[:, :, :2])
    if kind == "Q8_0":
        numbers = parts[:, :, 2:].astype(np.uint8) ^ 128  # of -128 to 127 it makes 0 to 255
        quants = np.concatenate([numbers >> 4, numbers & 15], axis=1)
        # 16 (upper - 8) + (lower - 8) + 8 is the number.
        scales = np.concatenate([16 * scale, scale], axis=1)
        offsets = np.concatenate([0 * scale, 8 * scale], axis=1)
    else:
        quants = np.concatenate([parts[:, :, -16:] & 15, parts[:, :, -16:] >> 4], axis=2)
        scales = scale
        offsets = 8 * scale + _halves(parts[:, :, 2:4]) if kind == "Q4_1" else 0 * scale
    flat = quants.reshape(len(data), -1)
    pairs = torch.from_numpy(np.stack([scales, offsets], axis=-1)).to(torch.bfloat16)
    return torch.from_numpy(flat[:, ::2] | flat[:, 1::2] << 4), pairs.transpose(0, 1).contiguous()


def from_llama(tensors: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, torch.Tensor] | None:
    """Take a llama's tensors of a GGUF file, by their names there; None where one has no blocks that the product takes.

    Matrices by which the same rows are multiplied are joined.
    """
    hidden, inner, size = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    if size % HEAD:
        return None
    heads, groups = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    last = "token_embd" if config["tie_word_embeddings"] else "output"
    matrices = {"logits": (hidden, {last: config["vocab_size"]})}
    norms = {"norm": "output_norm"}
    for number in range(config["num_hidden_layers"]):
        block = f"blk.{number}."
        matrices |= {
            f"{number}.qkv": (hidden, {f"{block}attn_q": heads, f"{block}attn_k": groups, f"{block}attn_v": groups}),
            f"{number}.output": (heads, {f"{block}attn_output": hidden}),
            f"{number}.gate_up": (hidden, {f"{block}ffn_gate": inner, f"{block}ffn_up": inner}),
            f"{number}.down": (inner, {f"{block}ffn_down": hidden}),
        }
        norms |= {f"{number}.attention_norm": f"{block}attn_norm", f"{number}.norm": f"{block}ffn_norm"}
    found: dict[str, torch.Tensor] = {}
    for name, (columns, parts) in matrices.items():
        taken = [_matrix(tensors.get(f"{part}.weight"), rows, columns) for part, rows in parts.items()]
        joined = [matrix for matrix in taken if matrix is not None]
        if len(joined) < len(taken) or len({quants.shape[1] for quants, _ in joined}) != 1:
            return None
        found[name] = torch.cat([quants for quants, _ in joined])
        found[f"{name}.scales"] = torch.cat([scales for _, scales in joined], dim=1)
    for name, theirs in norms.items():
        tensor = tensors.get(f"{theirs}.weight")
        if tensor is None or tensor.tensor_type.name != "F32" or tensor.data.shape != (hidden,):
            return None
        found[name] = torch.from_numpy(np.array(tensor.data))
    return found


def _matrix(tensor: Any, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    if tensor is None or [*map(int, tensor.shape)] != [columns, rows]:
        return None
    return from_gguf(tensor.data, tensor.tensor_type.name)


def _packed(quants: torch.Tensor) -> torch.Tensor:
    """Lay some rows out; meanwhile they take eight times the memory."""
    numbers = torch.stack([quants & 15, quants >> 4], dim=-1).flatten(1).to(torch.int32)
    packed: torch.Tensor = torch.ops.aten._convert_weight_to_int4pack_for_cpu(numbers, 2)
    return packed


def _halves(data: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(data).view(np.float16)[:, :, 0].astype(np.float32)


class BlockProduct:
    """Multiplies rows by a matrix in blocks: `bfloat16[n, columns]` to `bfloat16[n, rows of the matrix]`."""

    def __init__(self, columns: int, quants: torch.Tensor, scales: torch.Tensor) -> None:
        """Lay the quants out as the product wants them on this processor."""
        self._quants = torch.cat([_packed(some) for some in torch.split(quants, PACKED)])
        self._scales = scales.clone()  # not the pages of a file, which would keep those of the quants
        self._is_double = quants.shape[1] == columns
        self._product: Any = torch._weight_int4pack_mm_for_cpu

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor], name: str, columns: int) -> BlockProduct:
        """Take the matrix of that name, of so many columns."""
        return cls(columns, weights[name], weights[f"{name}.scales"])

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the products."""
        if self._is_double:
            rows = torch.cat([rows, rows], dim=-1)
        found: torch.Tensor = self._product(rows, self._quants, BLOCK, self._scales)
        return found
