"""Tracebacks of handled errors: their frames keep all local variables of the failed work alive."""

from __future__ import annotations


def let_go(error: BaseException) -> None:
    """Remove the traceback of a handled error and of its causes and contexts. O(errors).

    An error refers to the frames it came through, and some of these refer to the error by a task or a variable. Such a
    reference cycle keeps a request and its answer alive until the next garbage collection.
    """
    waiting: list[BaseException | None] = [error]
    seen = set()
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        found.__traceback__ = None
        waiting += (found.__cause__, found.__context__)
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
