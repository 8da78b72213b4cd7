"""Loads what `module:name` or `file.py:name` names; modules may also be in the working directory."""

from __future__ import annotations

import difflib
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from guard.support.clipping import one_line

MOST_NAMES = 20  #: Of a module, that a message lists.


class LoadError(ValueError):
    """A name that does not exist or can't be imported; the message lists the names that exist."""


def load(place: str) -> Any:
    """Return the object that `module:name` or `file.py:name` names; the name may be dotted. Raises LoadError."""
    module_name, colon, name = place.rpartition(":")
    if colon and not module_name:
        raise LoadError(f"{place} names no module; write module{place}, or file.py{place}")
    if not name or not colon:
        module_name = module_name or name
        names = own_names(load_module(module_name))
        such = f"{module_name}:{names[0]}; it has {_listed(names)}" if names else f"{module_name}:NAME; but it has none"
        raise LoadError(f"name a type or a structured function of {module_name}, as {such}")
    found: Any = load_module(module_name)
    for part in name.split("."):
        if not hasattr(found, part):
            raise LoadError(f"{module_name} has no {name}{_instead(part, own_names(found))}")
        found = getattr(found, part)
    return found


def load_module(place: str) -> ModuleType:
    """Import a module by name, from the working directory too, or a file by path."""
    path = Path(place)
    name = place
    if path.suffix == ".py":
        if not path.is_file():
            raise LoadError(f"no such file: {path}; check the name")
        sys.path.insert(0, str(path.parent.resolve()))
        name = path.stem
    else:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name == name or name.startswith(f"{error.name}.")
        what = f"no module {name}" if missing else f"{place} can't be imported: no module {error.name}"
        raise LoadError(f"{what}; run from its folder, install it, or name a file.py:Type") from None
    except SystemExit as error:
        raise LoadError(f"{place} can't be imported: it ends the program, with {error.code!r}; correct it") from None
    except Exception as error:
        words = f"{place} can't be imported: {type(error).__name__}: {one_line(error)}; correct it"
        raise LoadError(words) from None
    finally:
        sys.path.pop(0)


def own_names(of: Any) -> list[str]:
    """Return the public names of the classes and functions that a module or a class defines itself."""
    home = of.__module__ if isinstance(of, type) else getattr(of, "__name__", None)
    named = vars(of).items() if hasattr(of, "__dict__") else ()
    return [
        name
        for name, value in named
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == home
    ]


def _instead(name: str, names: list[str]) -> str:
    if near := difflib.get_close_matches(name, names, 1):
        return f"; did you mean {near[0]}?"
    return f"; it has {_listed(names)}" if names else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (" …" if len(names) > MOST_NAMES else "")
