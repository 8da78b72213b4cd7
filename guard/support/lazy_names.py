"""Public names of a package that are imported on first use (PEP 562), so that importing the package costs little."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]], modules: Collection[str] = (), extra: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__`.

    `homes` maps each module to its public names. No module of the package may have such a name, since importing the
    module would hide it. `modules` are imported when they are first used as attributes. `extra` names the extra that
    installs what these modules need; the error for a missing package names it.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name in home:
            try:
                value = getattr(importlib.import_module(home[name]), name)
            except ModuleNotFoundError as error:
                if extra is None or (error.name or "").startswith("guard"):
                    raise
                words = f"{package}.{name} needs {error.name}: pip install 'guard-slm[{extra}]'"
                raise ModuleNotFoundError(words, name=error.name) from error
            vars(sys.modules[package])[name] = value
            return value
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home, *modules})

    return get, names
