"""Bitmasks on logits: allocation, and the one call that applies a mask wherever the logits are.

A bitmask is `int32[rows, ceil(size / 32)]`: bit `t % 32` of word `t // 32` is 1 when token `t` is allowed. Logits on a
CPU go to the C++ kernel, on a CUDA device to the Triton kernel, on any other device to that one's plain torch twin.
NumPy arrays never load torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from guard.kernels import _native

WORD = 32  #: Tokens in one word of a mask.

_NUMPY_FLOATS = frozenset({np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)})
_TORCH_FLOATS = frozenset({"torch.float16", "torch.bfloat16", "torch.float32", "torch.float64"})


def allocate_bitmask(rows: int, size: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return an int32[rows, ceil(size / 32)] mask for `rows` sequences over `size` tokens, which allows nothing.

    Raises ValueError for a negative number, and TypeError for anything but whole numbers.
    """
    if not (hasattr(rows, "__index__") and hasattr(size, "__index__")):
        raise TypeError(f"rows={rows!r:.60} and size={size!r:.60} must be whole numbers")
    if rows < 0 or size < 0:
        raise ValueError(f"rows={rows} and size={size} must be at least 0")
    return np.zeros((rows, -(-size // WORD)), dtype=np.int32)


def apply_bitmask_(logits: Any, bitmask: Any) -> None:
    """Write -inf over the logits of tokens that are not allowed, in place.

    `logits`: float[rows, width], or float[width] with a mask of one dimension; a NumPy array or a torch tensor of 16 to
    64 bits, any strides. `bitmask`: int32[rows, words], NumPy or torch, on any device. Logits beyond the mask become
    -inf; a mask may be wider than the logits. Raises ValueError where shapes or dtypes don't fit. O(rows x width).
    """
    if isinstance(logits, np.ndarray):
        _check(logits, bitmask, logits.dtype in _NUMPY_FLOATS)
        if not logits.flags.writeable:
            raise ValueError("logits must be writable: they are changed in place")
        _native.apply_bitmask(logits, _as_numpy(bitmask))
        return
    if not hasattr(logits, "data_ptr"):
        raise ValueError(f"logits must be a NumPy array or a torch tensor, not {type(logits).__name__}")
    _check(logits, bitmask, str(logits.dtype) in _TORCH_FLOATS)
    if logits.device.type == "cpu":
        _native.apply_bitmask(logits.detach(), _as_numpy(bitmask))
        return
    import torch  # here: only for a device that only torch reaches

    from guard.kernels.gpu import apply

    bitmask = torch.as_tensor(bitmask)
    apply.apply_bitmask_(logits.detach(), bitmask.to(logits.device, non_blocking=True))


def _check(logits: Any, bitmask: Any, is_float: bool) -> None:
    if not is_float:
        raise ValueError(f"logits of {logits.dtype} must be of a float type of 16, 32 or 64 bits")
    if not hasattr(bitmask, "dtype"):
        raise TypeError(f"a bitmask must be a NumPy array or a torch tensor, not {type(bitmask).__name__}")
    if str(bitmask.dtype) not in ("int32", "torch.int32"):
        raise ValueError(f"a bitmask of {bitmask.dtype} must be int32")
    shape, words = tuple(logits.shape), tuple(bitmask.shape)
    if len(shape) not in (1, 2) or len(words) != len(shape) or words[:-1] != shape[:-1]:
        raise ValueError(f"logits of shape {shape} and a bitmask of shape {words} must have equally many rows")


def _as_numpy(bitmask: Any) -> np.ndarray[Any, np.dtype[np.int32]]:
    """View a bitmask on the CPU, with the words of a row side by side; copied only where they are not."""
    array = bitmask if isinstance(bitmask, np.ndarray) else bitmask.detach().cpu().numpy()
    if array.shape[-1] > 1 and array.strides[-1] != array.itemsize:
        array = np.ascontiguousarray(array)
    return array
