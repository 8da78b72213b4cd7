"""Engines that are not installed: their stubs' modules stand in for them while a test module runs."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

STUBS = Path(__file__).parent / "integrations" / "stubs"


@contextlib.contextmanager
def stubs_of(engine: str) -> Iterator[None]:
    """Import an engine's stubs by its name, and Guard's modules for it anew."""
    ours = ("guard.integrations.vllm", "guard.integrations.sglang")

    def forget() -> dict[str, object]:
        names = [one for one in sys.modules if one.partition(".")[0] == engine or one.startswith(ours)]
        return {name: sys.modules.pop(name) for name in names}

    before = forget()
    sys.path.insert(0, str(STUBS))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(STUBS))
        forget()
        sys.modules.update(before)
