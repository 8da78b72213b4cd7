"""Redaction: secrets are cut out of every text before it is written.

Always cut out: the values of environment variables that are named like secrets, or that `take_for_secret` names (the
sidecar's settings say `api_key = "env:MY_PROVIDER"`), and texts in the form of keys, bearer
tokens and passwords in URLs. An application adds hooks of its own with `redact_with`: functions from text to text, each
applied to every text of a record. A hook that fails fails the write; nothing unredacted is ever written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guard.support.interrupts import is_injected
from guard.support.secret_patterns import SECRET_NAME, redacted
from guard.trace.errors import TraceError

SECRET_LENGTH = 8  #: Shortest value of an environment variable that is taken for a secret: "1" is not one.

Hook = Callable[[str], str]

# A constant, since `list | tuple` builds a new object at each use; dict first, since abstract types are slow to check.
_ARRAYS, _OBJECTS, _NUMBERS = (list, tuple), (dict, Mapping), (int, float)

_hooks: tuple[Hook, ...] = ()  # of the process
_variables: frozenset[str] = frozenset()  # whose values are secrets whatever their names; of the process


def redact_with(hook: Hook) -> Hook:
    """Apply a function to every text before it is written, in this process from now on. Also a decorator.

    It is given one whole text (a message, an answer, an error …) and returns the text to write. Raises TypeError where
    `hook` is not callable. A hook that raises, or returns something else, fails the write with TraceError.
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


def take_for_secret(variable: str) -> None:
    """Cut the value of an environment variable out of every text, whatever its name, in this process from now on."""
    global _variables
    _variables |= {variable}


@dataclass(frozen=True)
class Redaction:
    """The secrets and hooks that apply to one record."""

    secrets: tuple[str, ...]  # the longest first, since one may contain another
    hooks: tuple[Hook, ...]

    @classmethod
    def current(cls) -> Redaction:
        """Return the redaction by the present environment and hooks."""
        return cls(_secrets(), _hooks)

    def text(self, text: str) -> str:
        """Return a text, redacted."""
        text = redacted(text, self.secrets)
        for hook in self.hooks:
            try:
                changed = hook(text)
            except Exception as error:
                if is_injected(error):
                    raise
                # The error's own words are left out: they may quote the text.
                raise TraceError(f"{_named(hook)} failed with {type(error).__name__}; nothing was written") from error
            if not isinstance(changed, str):
                raise TraceError(f"{_named(hook)} returned {type(changed).__name__}, not str; nothing was written")
            text = changed
        return text

    def value(self, part: Any) -> Any:
        """Return a JSON value with every text inside redacted, keys included."""
        if isinstance(part, str):
            return self.text(part)
        if part is None or isinstance(part, _NUMBERS):
            return part
        # Loops: a comprehension takes another frame, and a value may be as deep as Python's recursion limit.
        if isinstance(part, _OBJECTS):
            named: dict[str, Any] = {}
            for key, item in part.items():
                named[self.text(str(key))] = self.value(item)
            return named
        if isinstance(part, _ARRAYS):
            listed: list[Any] = []
            for item in part:
                listed.append(self.value(item))  # noqa: PERF401 (see above)
            return listed
        return self.text(repr(part))


def _named(hook: Hook) -> str:
    return f"the redaction hook {getattr(hook, '__qualname__', None) or repr(hook)}"


_seen: tuple[Any, tuple[str, ...]] = (None, ())  # the environment and `_variables` at the last look, and the secrets


def _secrets() -> tuple[str, ...]:
    """List the environment's secrets, plain and as JSON and Python escape them, the longest first."""
    global _seen
    # The mapping under os.environ, where there is one: comparing it takes a microsecond, decoding it takes fifty.
    raw = getattr(os.environ, "_data", None)
    named = _variables
    if raw is None or (raw, named) != _seen[0]:
        looked_at = None if raw is None else (dict(raw), named)
        values = {
            value
            for name, value in os.environ.items()
            if len(value) >= SECRET_LENGTH and (name in named or SECRET_NAME.search(name))
        }
        escaped = {json.dumps(v, ensure_ascii=escape)[1:-1] for v in values for escape in (True, False)}
        escaped |= {repr(v)[1:-1] for v in values}
        _seen = looked_at, tuple(sorted(values | escaped, key=lambda v: (-len(v), v)))
    return _seen[1]
