"""python -m benchmarks.apply: masks applied to logits on a CPU, beside a copy of the logits with as many threads.

`apply_bitmask_` on 64 rows of 151,936 logits of every type, where few, half and most tokens are allowed: rows side by
side, rows that lie apart (llama.cpp's), tokens that lie apart (a transposed array). `torch.Tensor.copy_` of the same
logits and xgrammar's `apply_token_bitmask_inplace` (fp32 only) take turns with it; the least of several. The bar: twice
the copy.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.__main__ import table
from guard.kernels.bitmask import apply_bitmask_

BENCH: dict[str, list[str]] = {"full": [], "short": []}  #: What `make bench` runs.

TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
SHARES = {"few": 0.001, "half": 0.5, "most": 0.999}
TIMES = 5
BAR = 2.0  #: Times the copy.


def least(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the least time of each call, in milliseconds; they take turns."""
    out = dict.fromkeys(calls, float("inf"))
    for _ in range(TIMES):
        for name, call in calls.items():
            for _ in range(2):
                start = time.perf_counter()
                call()
                out[name] = min(out[name], (time.perf_counter() - start) * 1e3)
    return out


def measured(rows: int, width: int) -> Iterator[list[str]]:
    """Measure every type with every share of allowed tokens."""
    for dtype in TYPES:
        for what, share in SHARES.items():
            found = least(calls_of(dtype, rows, width, share))
            ratio = found["side"] / found["copy"]
            figures = [
                f"{found[key]:.2f}" if key in found else "" for key in ("copy", "side", "apart", "across", "peer")
            ]
            shown = f"{ratio:.2f}" if ratio <= BAR else f"**{ratio:.2f}**"
            yield [str(dtype).removeprefix("torch."), what, *figures, shown]


def calls_of(dtype: torch.dtype, rows: int, width: int, share: float) -> dict[str, Callable[[], Any]]:
    """Return what is measured on logits of one type and one mask."""
    source = torch.randn(rows, width).to(dtype)
    side = source.clone()
    apart = torch.randn(rows, width + 64).to(dtype)[:, :width]
    across = torch.randn(width, rows).to(dtype).T
    bits = np.random.default_rng(2).random((rows, -(-width // 32) * 32)) < share
    mask = np.packbits(bits, axis=1, bitorder="little").view(np.int32)
    calls: dict[str, Callable[[], Any]] = {
        "copy": lambda: side.copy_(source),
        "side": lambda: apply_bitmask_(side, mask),
        "apart": lambda: apply_bitmask_(apart, mask),
        "across": lambda: apply_bitmask_(across, mask),
    }
    if dtype == torch.float32 and importlib.util.find_spec("xgrammar") is not None:
        import xgrammar

        words = torch.from_numpy(mask)
        calls["peer"] = lambda: xgrammar.apply_token_bitmask_inplace(side, words, backend="cpu")
    return calls


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.apply", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--width", type=int, default=151_936)
    args = parser.parse_args()
    print(
        f"### {args.rows} × {args.width:,} logits: {platform.machine()}, load {os.getloadavg()[0]:.1f}, milliseconds\n"
    )
    cores = os.sched_getaffinity(0)
    header = ["type", "allowed", "copy", "side by side", "rows apart", "tokens apart", "xgrammar", "side by side/copy"]
    for used in ({min(cores)}, cores):
        os.sched_setaffinity(0, used)
        torch.set_num_threads(len(used))
        print(f"{len(used)} core{'s' if len(used) > 1 else ''}\n")
        table(header, measured(args.rows, args.width))
    return 0


if __name__ == "__main__":
    sys.exit(main())
