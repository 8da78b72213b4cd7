r"""Patterns of Rust's and of Python's regular expressions, as ECMA-262 has them.

Pydantic searches with Rust's `regex`, or with Python's `re`; a schema's `pattern` is of ECMA-262. Where they differ the
translation says the same or less: `\d` and `\w` stay ASCII, as ECMA-262 has them, where a text holds them; wherever
more would be let in (`\D`, `[^\w]`, `\s`, `.`) the sets are written out. What has no translation is a ValueError.
"""

from __future__ import annotations

import re

from guard.schemas import regex

#: What any of the two takes for part of a word, for a digit, for white space: inside of a class.
_WORD = r"\p{Alphabetic}\p{M}\p{N}\p{Pc}\u200c\u200d"
_RUST_WORD = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d"
_PYTHON_WORD = r"\p{L}\p{N}_"
_SPACE = r"\p{White_Space}"
_SPACES = rf"{_SPACE}\x1c-\x1f"
_PUNCTUATION = frozenset("^$\\.*+?()[]{}|/")
_FLAGS = re.compile(r"\(\?([a-zA-Z]+)\)")
_HEX = re.compile(r"x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]+)\}|U([0-9A-Fa-f]{8})")
_CONTROLS = {"a": "\\x07", "f": "\\f", "n": "\\n", "r": "\\r", "t": "\\t", "v": "\\v"}


def ecma(pattern: str, *, python: bool, ignores_case: bool = False) -> str:
    """Return a pattern of Rust's `regex`, or of `re` where `python`, as ECMA-262 has it; ValueError if it has not."""
    out = _Translation(pattern, python).run()
    if ignores_case:
        out = f"(?i:{out})"
    regex.parse(out)  # which raises a ValueError
    return out


class _Translation:
    def __init__(self, source: str, python: bool) -> None:
        self.source, self.python, self.at = source, python, 0
        self.word = _PYTHON_WORD if python else _RUST_WORD

    def run(self) -> str:
        flags = _FLAGS.match(self.source)
        wrap = ""
        if flags:
            if set(flags[1]) - set("isu"):
                raise ValueError(f"the flags {flags[0]}")
            self.at = flags.end()
            wrap = "".join(sorted(set(flags[1]) - {"u"}))
        body = "".join(self.pieces("s" in wrap))
        return f"(?{wrap.replace('s', '')}:{body})" if "i" in wrap else body

    def pieces(self, dot_is_any: bool) -> list[str]:
        out: list[str] = []
        source = self.source
        while self.at < len(source):
            char = source[self.at]
            self.at += 1
            if char == "\\":
                out.append(self.escape())
            elif char == "[":
                out.append(self.char_class())
            elif char == ".":
                out.append("[^]" if dot_is_any else "[^\\n]")
            elif char == "(":
                out.append(self.group())
            elif char in "]}":
                out.append("\\" + char)
            elif char == "{":
                out.append(self.brace())
            elif char == "+" and source[self.at - 2 : self.at - 1] in ("*", "+", "?", "}"):
                raise ValueError("a possessive quantifier")
            else:
                out.append(char)
        return out

    def group(self) -> str:
        if self.source.startswith("?P<", self.at):
            self.at += 3
            return "(?<"
        for plain in ("?:", "?=", "?!", "?<=", "?<!", "?<"):
            if self.source.startswith(plain, self.at):
                self.at += len(plain)
                return "(" + plain
        if self.source.startswith("?", self.at):
            raise ValueError("a group that ECMA-262 does not have")
        return "("

    def brace(self) -> str:
        found = re.compile(r"([0-9]*)(,?)([0-9]*)\}").match(self.source, self.at)
        if not found or not (found[1] or found[3]):
            return "\\{"
        self.at = found.end()
        return f"{{{found[1] or 0}{found[2]}{found[3]}}}"

    def escape(self) -> str:
        char = self.next("\\ at the end")
        if char in "AzZ":
            return "^" if char == "A" else "$"
        if char in "dw":
            return "\\" + char
        if char in "bB":
            inside, outside = f"[{self.word}]", f"[{self.word}]"
            if char == "b":
                return f"(?:(?<={inside})(?!{outside})|(?<!{inside})(?={outside}))"
            return f"(?:(?<={inside})(?={outside})|(?<!{inside})(?!{outside}))"
        if char in "DWSs":
            return {"D": "\\P{Nd}", "W": f"[^{_WORD}]", "S": f"[^{_SPACES}]", "s": _SPACE}[char]
        return self.one(char, in_class=False)

    def one(self, char: str, *, in_class: bool) -> str:
        """Return an escape that stands for one character or for a property."""
        if char in "pP":
            if self.source.startswith("{", self.at):
                end = self.source.find("}", self.at)
                name, self.at = self.source[self.at + 1 : end], end + 1
            else:
                name = self.next("\\p at the end")
            return f"\\{char}{{{name}}}"
        found = _HEX.match(self.source, self.at - 1)
        if found:
            self.at = found.end()
            code = next(digits for digits in found.groups() if digits)
            return f"\\u{{{code.lstrip('0') or '0'}}}"
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char.isalnum():
            raise ValueError(f"\\{char}")
        if char in _PUNCTUATION or (in_class and char in "-^"):
            return "\\" + char
        return char

    def char_class(self) -> str:
        """Return a class, from behind its bracket."""
        negated = self.source.startswith("^", self.at)
        self.at += negated
        out: list[str] = []
        first = True
        while True:
            char = self.next("a class that nothing closes")
            if char == "]" and not first:
                return f"[{'^' if negated else ''}{''.join(out)}]"
            first = False
            if char == "[":
                if not self.python:
                    raise ValueError("a class inside of a class")
                out.append("\\[")
            elif char == "]":
                out.append("\\]")
            elif char in "&~-" and self.source.startswith(char, self.at):
                raise ValueError("a class of two classes")
            elif char == "\\":
                out.append(self.class_escape(negated))
            else:
                out.append(char)

    def class_escape(self, negated: bool) -> str:
        char = self.next("\\ at the end")
        if char in "dw":
            return ("\\p{N}" if char == "d" else _WORD) if negated else "\\" + char
        if char == "s":
            return _SPACES if negated else _SPACE
        if char == "D":
            return "\\D" if negated else "\\P{N}"
        if char in "WS":
            if not negated:
                raise ValueError(f"\\{char} inside of a class")
            return "\\W" if char == "W" else "\\P{White_Space}"
        if char == "b":
            return "\\x08"
        return self.one(char, in_class=True)

    def next(self, reason: str) -> str:
        if self.at >= len(self.source):
            raise ValueError(reason)
        self.at += 1
        return self.source[self.at - 1]
