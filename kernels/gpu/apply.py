"""Token masks applied to logits on a GPU.

`apply_bitmask_` is the public wrapper, `_apply_bitmask` the Triton kernel, `apply_bitmask_torch_` the plain twin: the
judge in the kernel's test, and what runs on devices that Triton does not serve. Triton comes with CUDA builds of torch;
where it is absent, this module still imports and the wrapper runs the twin.
"""

from __future__ import annotations

import torch

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

BLOCK = 1024  #: Tokens a program, 32 words of a mask: enough programs to fill a GPU with one row of 32k tokens.

if triton is not None:

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]  # Triton has no types, or is not there
    def _apply_bitmask(  # type: ignore[no-untyped-def]  # Triton reads the annotations itself
        logits, bitmask, width, masked, stride_l, stride_t, stride_m, stride_w, BLOCK: tl.constexpr
    ):
        """In/out logits: float[rows, width]; in bitmask: int32[rows, masked / 32]; strides in elements, row and column.
        semantics: logits[r, t] = -inf where t >= masked or bit t % 32 of bitmask[r, t // 32] is 0.
        grid: (rows, cdiv(width, BLOCK))."""
        row = tl.program_id(0).to(tl.int64)  # int64: rows * width can pass 2**31
        token = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
        words = tl.load(bitmask + row * stride_m + token // 32 * stride_w, mask=token < masked, other=0)  # [BLOCK]
        allowed = (words >> (token % 32).to(tl.int32)) & 1  # [BLOCK]
        tl.store(logits + row * stride_l + token * stride_t, float("-inf"), mask=(token < width) & (allowed == 0))


def apply_bitmask_(logits: torch.Tensor, bitmask: torch.Tensor) -> None:
    """Write -inf over the logits of tokens that are not allowed, in place.

    `logits`: float[rows, width] or float[width], any strides; `bitmask`: int32[rows, words] or int32[words], on the
    same device. Nothing is synchronised.
    """
    rows, mask = _as_rows(logits, bitmask)
    if triton is None or not (rows.is_cuda or is_interpreted()):
        apply_bitmask_torch_(rows, mask)
        return
    count, width = rows.shape
    if count == 0 or width == 0:
        return
    grid = (count, triton.cdiv(width, BLOCK))
    with torch.cuda.device(rows.get_device()):  # -1, a CPU's under the interpreter, changes nothing
        _apply_bitmask[grid](rows, mask, width, mask.shape[1] * 32, *rows.stride(), *mask.stride(), BLOCK=BLOCK)


def apply_bitmask_torch_(logits: torch.Tensor, bitmask: torch.Tensor) -> None:
    """Do what `apply_bitmask_` does in plain torch, on any device."""
    rows, mask = _as_rows(logits, bitmask)
    width, masked = rows.shape[1], mask.shape[1] * 32
    bits = torch.arange(32, dtype=torch.int32, device=mask.device)
    allowed = ((mask.unsqueeze(-1) >> bits) & 1).bool().reshape(mask.shape[0], masked)[:, :width]
    rows[:, : allowed.shape[1]].masked_fill_(~allowed, float("-inf"))
    rows[:, masked:] = float("-inf")


def _as_rows(logits: torch.Tensor, bitmask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if logits.ndim == 1 and bitmask.ndim == 1:
        logits, bitmask = logits.unsqueeze(0), bitmask.unsqueeze(0)
    if logits.ndim != 2 or bitmask.ndim != 2 or logits.shape[0] != bitmask.shape[0]:
        shape, words = tuple(logits.shape), tuple(bitmask.shape)
        raise ValueError(f"logits of shape {shape} and a bitmask of shape {words} must have equally many rows")
    if not logits.is_floating_point() or bitmask.dtype != torch.int32:
        raise ValueError(f"logits of {logits.dtype} must be floats and a bitmask of {bitmask.dtype} int32")
    if logits.device != bitmask.device:
        raise ValueError(f"logits on {logits.device} and a bitmask on {bitmask.device} must be on the same device")
    return logits, bitmask


def is_interpreted() -> bool:
    """Tell whether Triton's interpreter runs the kernel, which works on CPU tensors too."""
    return type(_apply_bitmask).__name__ == "InterpretedFunction"
