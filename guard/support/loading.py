"""Loading what a command line names: a module, by name or by file, in which somebody's types and functions are."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType


class LoadError(ValueError):
    """What was named can't be imported; the message is one line and says what to do."""


def load_module(place: str) -> ModuleType:
    """Import a module by name, from the working directory too, or a file by path; LoadError says why it can't be."""
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
        said = str(error).strip().split("\n", 1)[0]
        raise LoadError(f"{place} can't be imported: {type(error).__name__}: {said}; correct it") from None
    finally:
        sys.path.pop(0)
