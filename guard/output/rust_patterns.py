r"""Patterns as the regular expressions of Rust are to read them, so that they mean what they do by ECMA 262.

jsonschema-rs reads most patterns so by itself. Not these: `\<` and `\>` are characters, and not ends of words; `\A`,
`\z` and `\Z` are `^` and `$`, of which ECMA 262 has no other spelling. And modifiers: inside of `(?s:…)` a `.` is any
character; inside of `(?m:…)` lines end at what ECMA 262 calls the end of one, `\r` and U+2028 too.
"""

from __future__ import annotations

import re

#: An escape, a class, what begins or ends a group, or any other character.
_PIECES = re.compile(r"\[(?:[^\]\\]|\\.)*\]|\\.|\(\?(?P<on>[ims]*)(?:-(?P<off>[ims]*))?:|.", re.DOTALL)
_ENDS_OF_WORDS = re.compile(r"\\([<>])")
_ESCAPES = {"\\A": "^", "\\z": "$", "\\Z": "$"}
_ANY = "[\\s\\S]"
_LINE = {"^": "(?<![^\n\r\u2028\u2029])", "$": "(?![^\n\r\u2028\u2029])"}
#: In the JSON of a schema: an escape that is read otherwise, or a modifier that may be.
_DIFFERS = re.compile(r"\\\\[<>AzZ]|\(\?[ims]*[sm][ims-]*:")


def differs(schema: str) -> bool:
    """Say whether a schema's JSON may hold such a pattern. O(size)."""
    return _DIFFERS.search(schema) is not None


def of(pattern: str) -> str:
    """Return a pattern as Rust is to read it. O(size)."""
    out: list[str] = []
    flags: list[frozenset[str]] = [frozenset()]  # of each group that is open; `i` is left to Rust
    for piece in _PIECES.finditer(pattern):
        text = piece[0]
        if piece["on"] is not None:
            on, off = frozenset(piece["on"]), frozenset(piece["off"] or "")
            flags.append((flags[-1] | on) - off)
            text = f"(?{'i' * ('i' in on)}{'-i' * ('i' in off)}:"
        elif text == "(":
            flags.append(flags[-1])
        elif text == ")" and len(flags) > 1:
            flags.pop()
        elif text == "." and "s" in flags[-1]:
            text = _ANY
        elif text in _LINE and "m" in flags[-1]:
            text = _LINE[text]
        else:
            text = _ESCAPES.get(text, _ENDS_OF_WORDS.sub(r"\1", text))
        out.append(text)
    return "".join(out)
