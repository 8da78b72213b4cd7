"""What a signal handler raises, told apart from what a model raises.

Python runs signal handlers in the main thread, between two steps of whatever it does there: a worker's soft time limit
or an alarm is then raised in the middle of a model's code, an SDK's, or Guard's. It is the caller's word, not the
model's failure, and must reach the caller as it is. By its type it can't be told (most are plain Exceptions, some a
TimeoutError), by its traceback it can: a handler is handed the very frame that it interrupts, so that in a traceback
it stands right below its own argument, which no other function does. A debugger's trace function is found alike.
"""

from __future__ import annotations

import inspect
import sys
from types import FrameType

_OWN = 3  # references to a frame's copy of its variables while it is looked at here: the frame's, ours, the count's


def is_injected(error: BaseException) -> bool:
    """Whether a signal handler raised this very error."""
    trace, above = error.__traceback__, None
    while trace is not None:
        frame = trace.tb_frame
        if above is not None and _is_handed(frame, above):
            return True
        trace, above = trace.tb_next, frame
    return False


def injected(error: BaseException, known: BaseException | None = None) -> BaseException | None:
    """Return what a signal handler raised where an error is that or was made of that, by whoever caught it; else None.

    `known` is what the caller was handling before (`sys.exception()`): it belongs to what went before.
    """
    seen: set[int] = {id(known)}
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if is_injected(one):
            return one
        left += [one.__context__, one.__cause__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
    return None


def _is_handed(frame: FrameType, above: FrameType) -> bool:
    """Whether a function was called with its own caller's frame."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS)
    known = frame.f_locals
    try:
        for name in code.co_varnames[:count]:
            value = known.get(name)
            if value is above or (isinstance(value, tuple) and any(part is above for part in value)):
                return True
        return False
    finally:
        # Until Python 3.13 this is a copy that the frame keeps: what it holds would live as long as the error. Someone
        # who called locals() there holds the same.
        if code.co_flags & inspect.CO_OPTIMIZED and type(known) is dict and sys.getrefcount(known) == _OWN:
            known.clear()
