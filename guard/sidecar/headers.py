"""Response headers that several files send."""

from __future__ import annotations

Header = tuple[bytes, bytes]  #: Name, in small letters, and value.

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
