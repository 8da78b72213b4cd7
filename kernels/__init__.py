"""Kernels: the mask engine for CPUs, the mask kernels for GPUs, and what both need.

`fill_bitmasks(matchers, bitmask, rows=None, remaining=None, within=None)` fills a batch of rows without the GIL;
`apply_bitmask_(logits, bitmask)` writes -inf over what is not allowed, in place. `memory()` tells what the engine
holds, `limit_memory(nbytes)` how much its tables may. Names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guard.kernels._native import Matcher, fill_bitmasks, limit_memory, memory
    from guard.kernels.bitmask import allocate_bitmask, apply_bitmask_
    from guard.kernels.vocabulary import Vocabulary

__all__ = ["Matcher", "Vocabulary", "allocate_bitmask", "apply_bitmask_", "fill_bitmasks", "limit_memory", "memory"]

_HOME = {
    "Matcher": "guard.kernels._native",
    "fill_bitmasks": "guard.kernels._native",
    "limit_memory": "guard.kernels._native",
    "memory": "guard.kernels._native",
    "allocate_bitmask": "guard.kernels.bitmask",
    "apply_bitmask_": "guard.kernels.bitmask",
    "Vocabulary": "guard.kernels.vocabulary",
}


def __getattr__(name: str) -> Any:
    """Import a public name's home on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'guard.kernels' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
