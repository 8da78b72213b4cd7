"""Redaction: what is cut out of every text before it is written.

Always cut out: the values of environment variables that are named like secrets, and texts in the form of keys, bearer
tokens and passwords in URLs. An application adds hooks of its own with `redact_with`: functions from text to text, each
applied to every text of a record. A hook that fails fails the write; nothing unredacted is ever written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guard.support.interrupts import is_injected
from guard.trace.errors import TraceError

SECRET_LENGTH = 8  #: Shortest value of an environment variable that is taken for a secret: "1" is not one.
WORD_LENGTH = 16  #: A value of letters that is shorter may be a word.
WINDOW = 65_536  #: Characters of a text that are searched for forms of secrets at once: a millisecond.
NEEDED = 600  #: Characters by which it shows whether a secret begins at a place: a URL's, before its @.
SHORTEST = 19  #: Characters of the shortest secret that is no password in a URL, its mark among them: "sk-" and 16.
LONGEST_MARK = 6  #: Characters before a secret by which it shows: "earer ".
REDACTED = "[redacted]"  #: What stands in a text where a secret stood.

Hook = Callable[[str], str]

#: Environment variables whose values are secrets, by the end of the name.
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
#: Secrets that show by their form: provider keys, bearer tokens, passwords in URLs.
_SECRET_FORM = re.compile(
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|\bhf_[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bAKIA[0-9A-Z]{16}\b"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,}=*|(?<=://)[^/\s:@\"]{1,256}:[^/\s:@\"]{1,256}(?=@)"
)
#: What a text that holds such a secret holds too; looking for these is much faster than the expression.
_SECRET_MARKS = ("sk-", "pk-", "rk-", "hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "AKIA", "earer ", "://")
_SHORT_MARKS = ("://",)  # of those that a text below SHORTEST may hold
#: The same forms, each by its mark: where one begins, behind the mark or (True) with it. Looking for a plain text first
#: is quick, and as little is looked at as tells it: a text of nothing but beginnings takes no longer than its length.
_SECRET_STARTS = [
    *((f"{mark}-", re.compile(rf"{mark}-(?<=\b{mark}-)(?=[A-Za-z0-9_-]{{16}})"), True) for mark in ("sk", "pk", "rk")),
    *(
        (f"{mark}_", re.compile(rf"{mark}_(?<=\b{mark}_)(?=[A-Za-z0-9]{{20}})"), True)
        for mark in ("hf", "ghp", "gho", "ghu", "ghs", "ghr")
    ),
    ("AKIA", re.compile(r"AKIA(?<=\bAKIA)(?=[0-9A-Z]{16}\b)"), True),
    ("earer ", re.compile(r"earer (?<=[Bb]earer )(?=[A-Za-z0-9._~+/-]{16})"), False),
    ("://", re.compile(r'://(?=[^/\s:@"]{1,256}:[^/\s:@"]{1,256}@)'), False),
]

# Named, for `list | tuple` is made anew wherever it stands; and a dict before what takes long to be told.
_ARRAYS, _OBJECTS, _NUMBERS = (list, tuple), (dict, Mapping), (int, float)

_hooks: tuple[Hook, ...] = ()  # of the process


def redact_with(hook: Hook) -> Hook:
    """Apply a function to every text before it is written, in this process from now on; serves as a decorator too.

    It is given a text whole (a message, an answer, an error …) and returns what may be written of it.
    """
    global _hooks
    if not callable(hook):
        raise TypeError(f"hook={hook!r} must be a function from a text to a text")
    if hook not in _hooks:
        _hooks = (*_hooks, hook)
    return hook


def stop_redacting_with(hook: Hook) -> None:
    """Undo `redact_with`."""
    global _hooks
    _hooks = tuple(other for other in _hooks if other is not hook)


def redacted(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return a text without the given secrets and without any that show by their form."""
    for secret in secrets:
        if secret in text:
            text = _without(text, secret)
    if len(text) > WINDOW:
        return _redacted_long(text)
    for mark in _SECRET_MARKS if len(text) >= SHORTEST else _SHORT_MARKS:
        if mark in text:
            return _SECRET_FORM.sub(REDACTED, text)
    return text


def _without(text: str, secret: str) -> str:
    """Return a text without a secret; one that might be a word only where it stands as one."""
    if len(secret) >= WORD_LENGTH or not secret.isalpha():
        return text.replace(secret, REDACTED)
    return re.sub(rf"(?<!\w){secret}(?!\w)", REDACTED, text)


def _redacted_long(text: str) -> str:
    """Do what `_SECRET_FORM.sub` does, many times faster, and in short calls, between which other threads run."""
    parts: list[str] = []
    kept = 0  # all before is in parts
    for begin in range(0, len(text), WINDOW):
        end = begin + WINDOW
        if end <= kept:  # a secret that goes on and on
            continue
        first = max(0, begin - LONGEST_MARK)
        starts: list[int] = []
        for mark, form, is_part in _SECRET_STARTS:
            if text.find(mark, first, end + len(mark)) >= 0:
                found = form.finditer(text, first, end + NEEDED)
                starts += [at for each in found if (at := each.start() if is_part else each.end()) < end]
        for start in sorted(starts):
            if start >= kept and (secret := _SECRET_FORM.match(text, start)) is not None:
                parts += (text[kept:start], REDACTED)
                kept = secret.end()
    return "".join((*parts, text[kept:]))


@dataclass(frozen=True)
class Redaction:
    """What is cut out of the texts of one record."""

    secrets: tuple[str, ...]  # the longest first: one may hold another
    hooks: tuple[Hook, ...]

    @classmethod
    def current(cls) -> Redaction:
        """Return what is cut out as the environment and the hooks stand now."""
        return cls(_secrets(), _hooks)

    def text(self, text: str) -> str:
        """Return a text as it may be written."""
        text = redacted(text, self.secrets)
        for hook in self.hooks:
            try:
                changed = hook(text)
            except Exception as error:
                if is_injected(error):
                    raise
                # Without the error's own words: they may quote the text.
                raise TraceError(f"{_named(hook)} failed with {type(error).__name__}; nothing was written") from error
            if not isinstance(changed, str):
                raise TraceError(f"{_named(hook)} returned {type(changed).__name__}, not str; nothing was written")
            text = changed
        return text

    def value(self, part: Any) -> Any:
        """Return a value of JSON with every text inside as it may be written, keys included."""
        if isinstance(part, str):
            return self.text(part)
        if part is None or isinstance(part, _NUMBERS):
            return part
        # Loops, for a comprehension takes a frame of its own, and a value may be as deep as Python lets functions call.
        if isinstance(part, _OBJECTS):
            named: dict[str, Any] = {}
            for key, item in part.items():
                named[self.text(str(key))] = self.value(item)
            return named
        if isinstance(part, _ARRAYS):
            listed: list[Any] = []
            for item in part:
                listed.append(self.value(item))  # noqa: PERF401
            return listed
        return self.text(repr(part))


def _named(hook: Hook) -> str:
    return f"the redaction hook {getattr(hook, '__qualname__', None) or repr(hook)}"


_seen: tuple[Any, tuple[str, ...]] = (None, ())  # the environment as it was last looked at, and its secrets


def _secrets() -> tuple[str, ...]:
    """List the environment's secrets, as they are and as JSON and Python escape them, the longest first."""
    global _seen
    # The mapping under os.environ, where there is one: comparing it takes a microsecond, decoding it takes fifty.
    raw = getattr(os.environ, "_data", None)
    if raw is None or raw != _seen[0]:
        copy = None if raw is None else dict(raw)
        values = {v for name, v in os.environ.items() if len(v) >= SECRET_LENGTH and _SECRET_NAME.search(name)}
        escaped = {json.dumps(v, ensure_ascii=escape)[1:-1] for v in values for escape in (True, False)}
        escaped |= {repr(v)[1:-1] for v in values}
        _seen = copy, tuple(sorted(values | escaped, key=lambda v: (-len(v), v)))
    return _seen[1]
