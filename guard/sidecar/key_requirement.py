"""Whether requests need a key, and that this is not forgotten.

They do beyond loopback, and wherever a key was ever made, unless the setting `needs_key` says otherwise. Where keys are
kept is a database, which may be deleted, emptied, or replaced while the sidecar runs, so that it does not decide alone:
what a process has seen once stays with it, its sister processes and those that come after them, and in a file beside
the trace for the next start. Only a start with `needs_key = false` opens the door again.
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
    """Return the file that says that keys were needed."""
    if store.path is not None:
        return Path(f"{store.path}-keys-needed")
    name = hashlib.sha256(store.place.encode()).hexdigest()[:32]
    return platformdirs.user_state_path("guard", appauthor=False) / "keys-needed" / name


class Door:
    """Asks for keys; `seen` is a number that all processes of a sidecar share, where it has several."""

    def __init__(self, store: TraceStore, setting: bool | None, *, is_beyond_loopback: bool, seen: Any = None) -> None:
        self._marker = marker(store)
        self._setting, self._seen = setting, seen
        self.needs_key = is_beyond_loopback or bool(setting)
        self.look(has_keys=False)

    def look(self, *, has_keys: bool) -> None:
        """Learn whether there are keys now, and what others have learned; blocking."""
        if self._setting is False:
            return
        if has_keys:
            self._keep()
        was_seen = self._seen is not None and bool(self._seen.value)
        self.needs_key = self.needs_key or has_keys or was_seen or self._marker.exists()

    def _keep(self) -> None:
        """Let others know that there are keys."""
        if self._seen is not None:
            self._seen.value = 1
        if not self._marker.exists():
            try:
                private_files.make_file(os.fspath(self._marker))
            except OSError as error:
                _log.error("that keys are needed is forgotten at the next start if the trace is: %s", error)


def forget(store: TraceStore) -> None:
    """Open the door for starts that do not say otherwise: one with needs_key = false was asked for."""
    marker(store).unlink(missing_ok=True)
