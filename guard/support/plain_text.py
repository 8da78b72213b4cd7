r"""Makes texts of models, clients and files safe to print on a terminal.

Escape sequences can move the cursor, rename the window and write to the clipboard; direction overrides show a text in
another order than it has. Such characters are replaced by their escapes, like `\x1b` and `\u202e`; all others stay.
All that is printed for people goes through `plain`, and JSON for programs through `plain_json`. The JSON value stays
the same, since an escape is another spelling of the character.
"""

from __future__ import annotations

import json
import re
from typing import Any

from guard.support import exact_json

_UNFIT = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tabs and ends of lines
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates of direction
    "\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # what is not seen, and other ends of lines
    "\ud800-\udfff\U000e0000-\U000e007f"  # halves of characters, which can't be written, and tags
)
_TEXT = re.compile(f"[{_UNFIT}]")
_LINE = re.compile(f"[\n\t{_UNFIT}]")


def plain(text: str) -> str:
    """Return a text that is safe to print; line breaks stay. Linear time."""
    return _TEXT.sub(_escaped, text)


def plain_line(text: str) -> str:
    """Return a text that is safe to print, in one line. Linear time."""
    return _LINE.sub(_escaped, text)


def plain_json(value: Any, indent: int | None = None) -> str:
    """Return a value of `exact_json` as JSON that is safe to print, in one line unless `indent` is given."""
    return _TEXT.sub(_escaped_in_json, exact_json.written(value, indent))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "backslashreplace").decode("ascii")


def _escaped_in_json(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
