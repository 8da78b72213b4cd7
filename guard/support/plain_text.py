r"""Text of strangers made fit for a terminal: what a model, a client or a file says may hold commands to it.

Escape sequences move the cursor, rename the window and write to the clipboard; overrides of direction show a text in
another order than it has. Such characters are shown by their escapes, `\x1b`, `\u202e`; all others stay as they are.
Whatever is printed for people goes through `plain`, and JSON for programs through `plain_json`, which says the same
value: in JSON, an escape is another spelling of the character.
"""

from __future__ import annotations

import json
import re
from typing import Any

_UNFIT = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tabs and ends of lines
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates of direction
    "\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # what is not seen, and other ends of lines
    "\ud800-\udfff\U000e0000-\U000e007f"  # halves of characters, which can't be written, and tags
)
_TEXT = re.compile(f"[{_UNFIT}]")
_LINE = re.compile(f"[\n\t{_UNFIT}]")


def plain(text: str) -> str:
    """Return a text as it may be shown; its lines stay lines."""
    return _TEXT.sub(_escaped, text)


def plain_line(text: str) -> str:
    """Return a text as it may be shown in one line."""
    return _LINE.sub(_escaped, text)


def plain_json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON that may be shown; in one line where nothing indents it."""
    return _TEXT.sub(_escaped_in_json, json.dumps(value, ensure_ascii=False, indent=indent))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "backslashreplace").decode("ascii")


def _escaped_in_json(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
