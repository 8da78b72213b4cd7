"""Text that UTF-8 can encode. JSON can spell half of a surrogate pair, which is no character and has no encoding."""

from __future__ import annotations

import json
from typing import Any


def is_unicode(text: str) -> bool:
    """Whether a text is Unicode: it has no half of a surrogate pair. O(characters)."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def writable(text: str) -> str:
    """Return a text that UTF-8 can encode: one that stands alone of a surrogate pair is spelled, as JSON does."""
    return text if is_unicode(text) else text.encode(errors="backslashreplace").decode()


def json_text(value: Any) -> str:
    """Return a value as JSON that UTF-8 can encode: unescaped, or all escaped where a surrogate stands alone."""
    text = json.dumps(value, ensure_ascii=False)
    return text if is_unicode(text) else json.dumps(value)
