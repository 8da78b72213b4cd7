"""The frames that an error leaves behind: they hold all that a failed piece of work had in its hands."""

from __future__ import annotations


def let_go(error: BaseException) -> None:
    """Take its traceback from an error that was told or passed over, and from those that led to it. O(errors).

    An error knows the frames it came through, and many of these know the error, by way of a task or a variable: a
    circle that keeps a request and its answer until the next collection of garbage.
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
