"""`python -m garbage FILE serve …` is `guard serve …` that collects no garbage by itself.

Told to by SIGUSR1, it writes into FILE what of Guard's own a collection finds: frames of its code, its errors, its
objects. The file is renamed into place, so that who waits for it reads all of it.
"""

from __future__ import annotations

import gc
import json
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import guard
import guard.kernels
import guard.schemas

ROOTS = tuple(f"{Path(str(room.__file__)).parent}/" for room in (guard, guard.kernels, guard.schemas))


def label(found: Any) -> str | None:
    """Return what to call an object of Guard's; None for others."""
    if type(found).__name__ == "frame":
        code = found.f_code
        return f"frame of {code.co_qualname}" if code.co_filename.startswith(ROOTS) else None
    kind = type(found)
    return f"{kind.__module__}.{kind.__qualname__}" if kind.__module__.partition(".")[0] == "guard" else None


def main() -> None:
    """Serve."""
    file = Path(sys.argv[1])
    sys.argv = ["guard", *sys.argv[2:]]
    gc.disable()

    def tell(*_: object) -> None:
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        found = Counter(name for each in gc.garbage if (name := label(each)) is not None)
        gc.garbage.clear()
        gc.collect()
        written = file.with_suffix(".part")
        written.write_text(json.dumps(found), encoding="utf-8")
        written.rename(file)

    signal.signal(signal.SIGUSR1, tell)
    runpy.run_module("guard", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
