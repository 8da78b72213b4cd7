"""The frames that an error leaves behind: they hold all that a failed piece of work had in its hands."""

from __future__ import annotations

import traceback


def let_go(error: BaseException) -> None:
    """Empty the frames of an error that was told, and of those that led to it.

    An error knows the frames it came through, and many of these know the error, by way of a task or a variable: a
    circle that keeps a request and its answer until the next collection of garbage. Frames that still run are left as
    they are. O(frames).
    """
    waiting, seen = [error], set()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        traceback.clear_frames(found.__traceback__)
        waiting += [each for each in (found.__cause__, found.__context__) if each is not None]
