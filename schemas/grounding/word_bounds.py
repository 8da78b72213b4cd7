"""Word bounds: where in a text a quotation may begin and end.

A code, a number or an address is one word: marks such as `-` or `.` between two letters or digits are part of it. Signs
that belong to a word may be quoted with or without it: `$13.50`, `Inc.`, `(0113) 555`. In scripts written without
spaces, every character is a word.
"""

from __future__ import annotations

import functools
import re
import unicodedata

#: Han, Kana, Bopomofo, Thai, Lao, Myanmar, Khmer: written without spaces between words.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_STARTERS = "+(#@/<$€£¥\\[*"  #: Signs that may belong to the word after them.
_ENDERS = ").!?%+#>\\]€£$¥°*"  #: Signs that may belong to the word before them.


@functools.cache
def _marks() -> str:
    """Return combining characters, which continue the character before them, as the inside of a regex class."""
    out, first = [], -1
    for code in range(0x300, 0x1F000):
        if unicodedata.category(chr(code))[0] == "M":
            first = code if first < 0 else first
        elif first >= 0:
            out.append(f"{chr(first)}-{chr(code - 1)}")
            first = -1
    return "".join(out)


@functools.cache
def _patterns(is_ascii: bool) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of a word, of a sign before one, and of a sign after one; those for ASCII are faster."""
    if is_ascii:
        flags, letter, alone = re.ASCII, r"\w", ""
    else:
        flags, letter = re.UNICODE, rf"(?:[^\W{_SPACELESS}]|[{_marks()}])"
        alone = rf"|[{_SPACELESS}][{_marks()}]*"
    inner = r"(?:[-.@_'’‐‑]|(?<=\d)[,:](?=\d)|/(?=\d)|(?<=\d)/)"
    any_letter = r"\w" if is_ascii else rf"\w{_marks()}"
    word = re.compile(rf"{letter}+(?:{inner}{letter}+)*{alone}", flags)
    # The character comes first: a lookbehind at each place takes ten times as long.
    before = re.compile(rf"(?:[{_STARTERS}]|[-−](?=\d))(?<![{any_letter}].)(?![ \n])", flags)
    behind = re.compile(rf"[{_ENDERS}](?<![ \n].)(?![{any_letter}])", flags)
    return word, before, behind


def bounds(text: str) -> tuple[bytes, bytes]:
    """Return where a quotation may begin and where it may end: a byte, 0 or 1, for each index from 0 to len(text).

    `text` is in normal form: single spaces between words, and line feeds that no quotation crosses. O(characters).
    """
    starts, ends = bytearray(len(text) + 1), bytearray(len(text) + 1)
    word, before, behind = _patterns(text.isascii())
    for match in word.finditer(text):
        first, last = match.span()
        starts[first] = ends[last] = 1
        if text[last - 1] == "s" and last - first > 2 and text[last - 2] in "'’":
            ends[last - 2] = 1  # Anna's
    for match in before.finditer(text):
        starts[match.start()] = 1
    for match in behind.finditer(text):
        ends[match.end()] = 1
    return bytes(starts), bytes(ends)
