"""Values that are not whole, since `max_tokens` cut them or they repeat themselves: who takes no record is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from guard.decoding.places import listed
from guard.trace.records import Call

T = TypeVar("T")
#: What becomes of a call's value at the end of a stream.
End = Callable[[Any, Call], Any]
_log = logging.getLogger("guard")


def marks(call: Call) -> Iterator[str]:
    """Describe the incomplete parts of a call's value."""
    record = "" if call.number is None else f" (call {call.number})"
    if call.cut_at:
        yield f"max_tokens cut it {listed(call.cut_at)}{record}; raise it for all of it"
    if call.repeated_at:
        yield f"it says the same over and over {listed(call.repeated_at)}{record}"


def whole(value: T, call: Call) -> T:
    """Return the value of a call whose record the caller does not take; warn in the log if it is incomplete."""
    for words in marks(call):
        _log.warning("%s is not whole: %s", call.target, words)
    return value


def as_it_is(value: T, _: Call) -> T:
    """Return the value of a call whose record the caller takes."""
    return value
