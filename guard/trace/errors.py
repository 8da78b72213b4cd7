"""The one error of a trace."""

from guard.errors import GuardError


class TraceError(GuardError):
    """The trace can't be read or written.

    `outline` says so to strangers: without where the trace is, and without the words of its driver.
    """

    def __init__(self, message: str, outline: str = "") -> None:
        super().__init__(message)
        self.outline = outline or message
