"""The trace stores that are open in this process: for what looks at records that others have written here."""

from __future__ import annotations

import os

from guard.trace.store import TraceStore


def open_stores() -> list[TraceStore]:
    """Return the stores that are open, one for each place. Connections don't survive a fork. Does not block."""
    made = [store() for store in TraceStore.made.valuerefs()]
    usable = [one for one in made if one is not None and one.process == os.getpid() and one.is_open]
    return list({one.identity: one for one in usable}.values())
