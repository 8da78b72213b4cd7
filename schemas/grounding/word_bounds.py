"""Word bounds: where in a text a quotation may begin and end.

A code, a number or an address is one word: marks such as `-` or `.` between two letters or digits are part of it. Signs
that belong to a word may be quoted with or without it: `$13.50`, `Inc.`, `(0113) 555`. A currency sign or `%` belongs
to a number also where a space stands between: `12,50 €`, `€ 12`, `5 %`. In scripts written without spaces, every
character is a word.
"""

from __future__ import annotations

import re
import unicodedata

from guard.kernels._native import word_bounds

#: Han, Kana, Bopomofo, Thai, Lao, Myanmar, Khmer: written without spaces between words.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_STARTERS = "+(#@/<[*"  #: Signs that may belong to the word after them, as currency signs may.
_ENDERS = ").!?%+#>]°*/="  #: Signs that may belong to the word before them, as currency signs may; = ends Base64.
_JOINERS = "-.@'’‐‑"  #: Marks that are part of a word between two of its letters.


def bounds(text: str) -> tuple[bytes, bytes]:
    """Return where a quotation may begin and where it may end: a byte, 0 or 1, for each index from 0 to len(text).

    `text` is in normal form: single spaces between words, and line feeds that no quotation crosses. O(characters).
    """
    return word_bounds(text, _classes)


def _classes(code: int) -> int:
    """Return the classes of a character as bits, in the order of `Class` in kernels/cpu/python/word_bounds.cpp."""
    char = chr(code)
    category = unicodedata.category(char)
    is_mark, is_currency = category[0] == "M", category == "Sc"
    is_word = char.isalnum() or char == "_"
    is_spaceless = _SPACELESS.match(char) is not None
    is_letter = is_mark or (is_word and not is_spaceless)
    return sum(
        is_so << place
        for place, is_so in enumerate((
            is_letter,
            is_spaceless and not is_letter,
            is_mark,
            char.isdecimal(),
            char in _JOINERS,
            char in _STARTERS or is_currency,
            char in _ENDERS or is_currency,
            is_word or is_mark,
            char == "%" or is_currency,
        ))
    )  # fmt: skip
