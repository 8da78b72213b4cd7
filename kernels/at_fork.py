"""What is done where a process forks, registered in one place: where a system can't fork, nothing is."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import Any


def in_child(work: Callable[[], Any]) -> None:
    """Have something done in every child of this process, which lacks all threads but the one that forked."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=work)


def let_it_wait_for(lock: RLock) -> None:
    """Have a fork wait for a lock, so that the child never finds it taken by a thread that is not there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
