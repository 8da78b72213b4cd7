"""Seams: the names of an engine that Guard uses, derives from or replaces, with their parameters.

An engine with other seams is refused before anything in it is changed.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable, Collection, Mapping
from importlib import metadata
from typing import Any


class SeamsError(RuntimeError):
    """The engine's version does not fit; the message names the version and the seams that differ."""


def resolve(place: str) -> Any:
    """Return the object named `package.module:Class.name`; raises ImportError or AttributeError where there is none."""
    module, _, name = place.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def version(*packages: str) -> str:
    """Return the name and version of the first of these packages that is installed."""
    for package in packages:
        try:
            return f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    return f"{packages[0]} of an unknown version"


def attempt(register: Callable[[], None], log: logging.Logger) -> None:
    """Register from an engine's entry point. An engine that does not fit logs why, and runs without Guard."""
    try:
        register()
    except Exception as error:
        log.error("%s", error)


def check_tested(engine: str, tested: Collection[str], log: logging.Logger) -> None:
    """Warn of an engine whose version was not tested, although its seams are those of one that was."""
    if engine.split()[-1].partition("+")[0] not in tested:
        log.warning("guard was tested with %s; this is %s, whose seams are the same", ", ".join(tested), engine)


def check(engine: str, seams: Mapping[str, tuple[str, ...]]) -> None:
    """Raise SeamsError where the engine lacks a name in `seams`, or a callable takes other parameters."""
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
