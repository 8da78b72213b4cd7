"""Formats: the names that are asserted, and the exact language of each as a regex tree.

A tree matches the whole text. A format that is known but has no tree is refused by the scan; a name that is not known
is an annotation, as the drafts say.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from guard.schemas.ops import Tree

#: Every format that the drafts define. Others are annotations.
KNOWN = frozenset(
    "date time date-time duration email idn-email hostname idn-hostname ipv4 ipv6 uri uri-reference iri iri-reference "
    "uri-template uuid json-pointer relative-json-pointer regex".split()
)

_TREES: dict[str, Callable[[], Tree]] = {}


def is_known(name: Any) -> bool:
    """Say whether a format is one that is asserted."""
    return isinstance(name, str) and name in KNOWN


@cache
def tree(name: str) -> Tree | None:
    """Return the language of a format, or None where it has no tree."""
    make = _TREES.get(name)
    return make() if make is not None else None
