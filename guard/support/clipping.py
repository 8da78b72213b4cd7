"""Clipping: texts and values for messages, kept short."""

from __future__ import annotations

from collections.abc import Iterable

LINE_LENGTH = 400  #: Characters of an error of others that a message shows.
GOT_LENGTH = 120  #: Characters of a value that a message shows; longer ones are clipped.


def cut_short(text: str, most: int) -> str:
    """Return a text of at most `most` characters; a longer one is cut and ends in "…"."""
    return text if len(text) <= most else text[: most - 1] + "…"


def one_line(error: BaseException, most: int = LINE_LENGTH) -> str:
    """Return what an error says in one line: its first, and the others where that ends in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return cut_short(" ".join(lines) if lines[0].endswith(":") else lines[0], most)


def clipped(value: object) -> str:
    """Return a repr of at most GOT_LENGTH characters. Takes a bounded time for large texts, lists and dicts."""
    return cut_short(_shown(value, GOT_LENGTH + 1), GOT_LENGTH)


def _shown(value: object, room: int) -> str:
    """Return the beginning of a repr: all of it, or at least `room` characters."""
    kind: object = type(value)  # exactly: a class derived from these has a repr of its own
    if isinstance(value, str | bytes) and kind in (str, bytes):
        return repr(value[:room])
    if isinstance(value, list) and kind is list:
        return _joined("[", ((_shown(item, room), "") for item in value), "]", room)
    if isinstance(value, dict) and kind is dict:
        pairs = ((_shown(key, room), f": {_shown(item, room)}") for key, item in value.items())
        return _joined("{", pairs, "}", room)
    return repr(value)


def _joined(opening: str, parts: Iterable[tuple[str, str]], closing: str, room: int) -> str:
    text = opening
    for number, (first, rest) in enumerate(parts):
        text += (", " if number else "") + first + rest
        if len(text) >= room:
            return text
    return text + closing
