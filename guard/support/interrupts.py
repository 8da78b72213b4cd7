"""Recognises exceptions raised by signal handlers, which are the caller's and not a model's failure.

Python runs signal handlers in the main thread, between any two of its steps. So a worker's soft time limit or an alarm
may be raised in the middle of a model's, an SDK's or Guard's code, and must reach the caller unchanged. Its type does
not tell it from a failure: most are plain Exceptions, some a TimeoutError. Its traceback does: a handler gets the frame
that it interrupts as an argument, and in the traceback that frame is the one right above it. No other function has its
caller's frame as an argument, except a debugger's trace function.
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
    """Return the exception of a signal handler that an error is, or was caused by; None where there is none.

    `known` is the exception that the caller was already handling (`sys.exception()`); it is not looked at.
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
