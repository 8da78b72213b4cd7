"""The one error of a trace."""

from guard.errors import GuardError


class TraceError(GuardError):
    """The trace can't be read or written."""
