"""Every test's own trace."""

from traces import trace_file

__all__ = ["trace_file"]
