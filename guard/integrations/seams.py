"""The seams at which Guard goes into an engine: which names it uses there, with which parameters.

An engine whose seams are others is refused before anything of it is changed.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from importlib import metadata
from typing import Any


class SeamsError(RuntimeError):
    """An engine of a version that Guard does not fit; the message names version and places."""


def resolve(place: str) -> Any:
    """Return what `package.module:Class.name` names; raises ImportError or AttributeError where there is no such."""
    module, _, name = place.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def version(*packages: str) -> str:
    """Return the first of these packages that is installed, with its version."""
    for package in packages:
        try:
            return f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    return f"{packages[0]} of an unknown version"


def check(engine: str, seams: Mapping[str, tuple[str, ...]]) -> None:
    """Raise SeamsError where the engine has other names, or other parameters, than `seams` says of its callables."""
    wrong = []
    for place, expected in seams.items():
        try:
            parameters = tuple(inspect.signature(resolve(place)).parameters)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            wrong.append(f"{place} is not there ({error})")
            continue
        if parameters != expected:
            wrong.append(f"{place} takes ({', '.join(parameters)}), not ({', '.join(expected)})")
    if wrong:
        raise SeamsError(f"guard does not fit {engine}, and changes nothing of it: {'; '.join(wrong)}")
