"""Objects by their names: what another process that has the same modules finds under the same name."""

from __future__ import annotations

import sys
from typing import Any


def found(module: str, name: str) -> Any:
    """Return the object under a dotted name of a loaded module, as pickle finds it; None where there is none."""
    here: Any = sys.modules.get(module)
    for part in name.split("."):
        here = vars(here).get(part) if hasattr(here, "__dict__") else None
        here = here.__func__ if isinstance(here, classmethod | staticmethod) else here
    return here


def is_found(thing: Any) -> bool:
    """Whether an object is found under its own name."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    return isinstance(module, str) and isinstance(name, str) and found(module, name) is thing
