"""The property-based harness: inputs that a model may give, and models that give them.

`values`, `near_misses` and `texts` are Hypothesis strategies over any schema or type that Guard compiles. They need
the extra `testing`, and are imported on first use (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guard.testing.instances import values
    from guard.testing.misses import NearMiss, near_misses
    from guard.testing.writings import Text, texts

__all__ = ["NearMiss", "Text", "near_misses", "texts", "values"]

#: Where each public name lives. No module of the package may bear one of these names: importing it would hide the name.
_HOMES = {
    "guard.testing.instances": ("values",),
    "guard.testing.misses": ("NearMiss", "near_misses"),
    "guard.testing.writings": ("Text", "texts"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name's home on first use."""
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'guard.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
