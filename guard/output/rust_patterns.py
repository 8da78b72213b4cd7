r"""Patterns as the regular expressions of Rust are to read them, so that they mean what they do by ECMA 262.

jsonschema-rs reads most patterns so by itself. Not these: `\<` and `\>` are characters, and not ends of words; `\A`,
`\z` and `\Z` are `^` and `$`, of which ECMA 262 has no other spelling. And modifiers: inside of `(?s:…)` a `.` is any
character; inside of `(?m:…)` lines end at what ECMA 262 calls the end of one, `\r` and U+2028 too. And a pattern that
looks around itself or refers back: another engine runs it, for which `.`, `\d`, `\w` and `\s` are Unicode's, as `\b` is
for both.
"""

from __future__ import annotations

import re

#: An escape, a class, what begins or ends a group, or any other character.
_PIECES = re.compile(r"\[(?:[^\]\\]|\\.)*\]|\\.|\(\?(?P<on>[ims]*)(?:-(?P<off>[ims]*))?:|.", re.DOTALL)
_IN_CLASS = re.compile(r"\\.|.", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ENDS_OF_WORDS = re.compile(r"\\([<>])")
_ESCAPES = {"\\A": "^", "\\z": "$", "\\Z": "$"}
_ANY = "[\\s\\S]"
_NO_END = "[^\n\r\u2028\u2029]"
_SETS = {"d": "0-9", "w": "A-Za-z0-9_", "s": "\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"}
#: What is in none of these sets, for the inside of a class, which may hold no other class.
_OTHERS = {
    "D": "\\x00-/:-\U0010ffff",
    "W": "\\x00-/:-@\\[-\\^`{-\u017e\u0180-\u2129\u212b-\U0010ffff",
    "S": (
        "\\x00-\x08\x0e-\x1f!-\x9f\xa1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2fff\u3001-\ufefe"
        "\uff00-\U0010ffff"
    ),
}
_FOLDED = "\u017f\u212a"  #: Letters that are a word's only where case does not count.
_WORD = f"[{_SETS['w']}]"
_EDGES = {
    "\\b": f"(?:(?<={_WORD})(?!{_WORD})|(?<!{_WORD})(?={_WORD}))",
    "\\B": f"(?:(?<={_WORD})(?={_WORD})|(?<!{_WORD})(?!{_WORD}))",
}
_LINE = {"^": f"(?<!{_NO_END})", "$": f"(?!{_NO_END})"}
#: What the other engine runs, maybe. With `\b` where case does not count: it is written as one that looks around.
_LOOKS = re.compile(r"\(\?<?[=!]|\\[1-9k]|\(\?[is]*m[ims]*[-:]|\\[bB].*\(\?[ms]*i|\(\?[ms]*i.*\\[bB]", re.DOTALL)
#: In the JSON of a schema: an escape that is read otherwise, or a modifier that may be.
_DIFFERS = re.compile(r"\\\\[<>AzZ1-9kbB]|\(\?[ims]*[sm][ims-]*:|\(\?<?[=!]")


def differs(schema: str) -> bool:
    """Say whether a schema's JSON may hold such a pattern. O(size)."""
    return _DIFFERS.search(schema) is not None


def of(pattern: str) -> str:
    """Return a pattern as Rust is to read it. O(size)."""
    out: list[str] = []
    looks = _LOOKS.search(pattern) is not None
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
        elif text == ".":
            text = _ANY if "s" in flags[-1] else _NO_END if looks else text
        elif text in _LINE and "m" in flags[-1]:
            text = _LINE[text]
        elif text in _EDGES:
            text = _EDGES[text] if looks else f"(?-u:{text})"
        else:
            text = _ESCAPES.get(text, _ENDS_OF_WORDS.sub(r"\1", text))
            if looks:
                text = _spelled(text, ignores_case="i" in flags[-1])
        out.append(text)
    return "".join(out)


def _spelled(text: str, *, ignores_case: bool) -> str:
    """Return an escape, or a class with escapes, with the characters that ECMA 262 has for them."""
    is_class = text.startswith("[")

    def spelled(escape: re.Match[str]) -> str:
        letter = escape[1]
        if letter in _SETS:
            return _SETS[letter] if is_class else f"[{_SETS[letter]}]"
        if letter not in _OTHERS:
            return escape[0]
        if not is_class:
            return f"[^{_SETS[letter.lower()]}]"
        return _OTHERS[letter] + _FOLDED * (letter == "W" and not ignores_case)

    parts = _IN_CLASS.findall(text) if is_class else [text]
    for at, part in enumerate(parts):  # beside a set, `-` is a character
        if part == "-" and any(_is_set(beside) for beside in (parts[at - 1], *parts[at + 1 : at + 2])):
            parts[at] = "\\-"
    return "".join([_ESCAPE.sub(spelled, part) for part in parts])


def _is_set(part: str) -> bool:
    return part[0] == "\\" and part[1].lower() in _SETS
