"""Kernels: the mask engine for CPUs, the mask kernels for GPUs, and what both need.

`fill_bitmasks(matchers, bitmask, rows=None, remaining=None, within=None)` fills a batch of rows without the GIL;
`apply_bitmask_(logits, bitmask)` writes -inf over what is not allowed, in place. `memory()` tells what the engine
holds, `limit_memory(nbytes)` how much its tables may. Names are imported on first use.
"""

from __future__ import annotations

import importlib
import sys
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


def _stand_aside() -> None:
    """Let `import kernels` find the installed package of that name, as transformers does, where a checkout hides it.

    Installed, this package is guard.kernels alone; in a checkout's root Python finds its folder as `kernels`, too.
    """
    import importlib.machinery
    import importlib.util
    from pathlib import Path

    checkout = Path(__file__).resolve().parent.parent
    elsewhere = [folder for folder in sys.path if Path(folder or ".").resolve() != checkout]
    spec = importlib.machinery.PathFinder.find_spec(__name__, elsewhere)
    if spec is None or spec.loader is None or spec.origin is None:  # none, or a folder that only has that name
        return
    ours, theirs = sys.modules[__name__], importlib.util.module_from_spec(spec)
    sys.modules[__name__] = theirs
    try:
        spec.loader.exec_module(theirs)
    except BaseException:
        sys.modules[__name__] = ours
        raise


if __name__ == "kernels":
    _stand_aside()
