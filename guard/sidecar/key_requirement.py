"""Whether requests need a key; once they do, no lost database makes them free again.

Requests need a key on any address but loopback, and wherever a key was ever made, unless the setting `needs_key` says
otherwise. The database of keys may be deleted, emptied or replaced while the sidecar runs, so it does not decide alone.
A process that has seen a key once remembers it, tells its sister processes and their successors, and writes a file
beside the trace for the next start. Only a start with `needs_key = false` lifts the requirement.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import platformdirs

from guard.support import private_files
from guard.trace import TraceStore

_log = logging.getLogger("guard.sidecar")


def marker(store: TraceStore) -> Path:
    """Return the path of the file that records that keys were needed."""
    if store.path is not None:
        return Path(f"{store.path}-keys-needed")
    name = hashlib.sha256(store.identity.encode()).hexdigest()[:32]
    return platformdirs.user_state_path("guard", appauthor=False) / "keys-needed" / name


class Door:
    """Decides whether a key is needed. `seen` is a number that all processes of a sidecar share, or None."""

    def __init__(self, store: TraceStore, setting: bool | None, *, is_beyond_loopback: bool, seen: Any = None) -> None:
        self._marker = marker(store)
        self._setting, self._seen = setting, seen
        self.needs_key = is_beyond_loopback or bool(setting)
        self.look(has_keys=False)

    def look(self, *, has_keys: bool) -> None:
        """Look whether there are keys now, or another process has seen one. Blocks."""
        if self._setting is False:
            return
        if has_keys:
            self._keep()
        was_seen = self._seen is not None and bool(self._seen.value)
        self.needs_key = self.needs_key or has_keys or was_seen or self._marker.exists()

    def _keep(self) -> None:
        """Tell other processes, and the next start, that there are keys."""
        if self._seen is not None:
            self._seen.value = 1
        if not self._marker.exists():
            try:
                private_files.make_file(os.fspath(self._marker))
            except OSError as error:
                _log.error("that keys are needed is forgotten at the next start if the trace is: %s", error)


def forget(store: TraceStore) -> None:
    """Lift the requirement, also for later starts: this one has `needs_key = false`."""
    marker(store).unlink(missing_ok=True)
