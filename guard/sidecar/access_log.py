"""The access log: one line of JSON for each request. It holds no prompts unless a setting asks for them.

Lines are written when the event loop has nothing more urgent, at most a tenth of a second later.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import os
import sys
from pathlib import Path
from typing import IO, Any

import pydantic_core

from guard.errors import SettingError
from guard.sidecar.request_context import RequestContext
from guard.support import private_files

_log = logging.getLogger("guard.sidecar")

DELAY = 0.1  #: Seconds for which lines may wait for others.


def check(place: str) -> None:
    """Raise SettingError where no log can be written to a place. Nothing is made there."""
    if place in ("", "-"):
        return
    path = Path(place)
    if "\0" in place:
        raise _unwritable(place, "no file has such a name")
    if path.is_dir():
        raise _unwritable(place, "it is a folder")
    if not path.exists() and not path.parent.is_dir():
        raise _unwritable(place, f"there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise _unwritable(place, "this user may not write there")


def _unwritable(place: str, why: str) -> SettingError:
    return SettingError(f"access_log={place!r} can't be written: {why}")


class AccessLog:
    """The log, written to a file, to standard output ("-"), or nowhere ("")."""

    def __init__(self, place: str) -> None:
        self._file: IO[str] | None = None
        if place == "-":
            self._file = sys.stdout
        elif place:
            try:
                self._file = private_files.open_text(Path(place), "a")  # open as long as the process
            except OSError as error:
                raise _unwritable(place, error.strerror or str(error)) from None
        self._lines: list[str] = []

    def write(self, context: RequestContext) -> None:
        """Log a request that has ended."""
        if self._file is None:
            return
        line: dict[str, Any] = {
            "time": datetime.datetime.fromtimestamp(context.began, datetime.UTC).isoformat(timespec="milliseconds"),
            "id": context.id,
            "method": context.method,
            "path": context.path[:200],
            "status": context.status,
            "ms": round(context.seconds * 1000, 3),
            "bytes": context.sent,
            "key": context.key.name if context.key else None,
        }
        if context.model:
            line |= {
                "model": context.model,
                "served": context.served,
                "outcome": context.outcome,
                "tier": context.tier,
                "attempts": context.attempts,
                "repairs": context.repairs,
                "tokens": context.prompt_tokens + context.completion_tokens,
                "usd": context.cost,
                "overhead_ms": round(context.overhead * 1000, 3),
                "call": context.call,
            }
        if context.prompt is not None:
            line["prompt"] = context.prompt
        if not self._lines:
            asyncio.get_running_loop().call_later(DELAY, self.flush)
        self._lines.append(_written(line))

    def flush(self) -> None:
        """Write the lines that wait."""
        if self._file is None or not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            self._file.write("\n".join(lines) + "\n")
            self._file.flush()
        except OSError as error:  # a full disk; requests are answered all the same, where they can be recorded
            _log.error("the access log can't be written: %s", error.strerror)


def _written(line: dict[str, Any]) -> str:
    """Return a line as JSON of printable ASCII. pydantic-core is faster, but takes no halves of surrogates."""
    try:
        return pydantic_core.to_json(line, ensure_ascii=True).decode().replace("\x7f", "\\u007f")
    except pydantic_core.PydanticSerializationError:
        return json.dumps(line, ensure_ascii=True)
