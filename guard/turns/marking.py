"""Marks as tokens: in masks, a mark that is a special token is that token, never its bytes.

The format of a turn is built as text (building.py), and its reader reads text. A model writes `<tool_call>` as one
token where that is special; the same bytes in other tokens look alike but are no mark to the model. So in the format
of the masks each such mark becomes a token, and free text spells none of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from guard import formats


def marked(form: formats.Format, marks: Sequence[str]) -> formats.Format:
    """Return a format with these marks as tokens, as they stand in its fixed texts."""
    made: formats.Format = _Marker(marks).of(form)
    return made


class _Marker:
    def __init__(self, marks: Sequence[str]) -> None:
        self._marks = tuple(marks)
        listed = "|".join(map(re.escape, sorted(marks, key=len, reverse=True)))
        self._pattern = re.compile(f"({listed})")

    def of(self, form: Any) -> Any:
        """Return a format with its marks as tokens."""
        kind = form["type"]
        if kind == "const_string":
            return _one(self._texts(form["value"]))
        if kind == "any_text":
            return {**form, "excludes": [*dict.fromkeys((*form["excludes"], *self._marks))]}
        if kind in ("sequence", "or"):
            return {**form, "elements": [self.of(one) for one in form["elements"]]}
        if kind in ("optional", "star", "plus", "repeat"):
            return {**form, "content": self.of(form["content"])}
        if kind == "tag":
            return self._tag(form)
        if kind == "triggered_tags":
            return self._triggered(form)
        if kind == "tags_with_separator":
            return self._listed(form)
        return form

    def _texts(self, text: str) -> list[formats.Format]:
        parts = [part for part in self._pattern.split(text) if part]
        return [formats.token(part) if part in self._marks else formats.const(part) for part in parts]

    def _has(self, text: Any) -> bool:
        return isinstance(text, str) and self._pattern.search(text) is not None

    def _tag(self, form: Any) -> Any:
        begin, content, end = form["begin"], self.of(form["content"]), form["end"]
        if not self._has(begin) and not self._has(end):
            return {**form, "content": content}
        parts = self._texts(begin)
        if self._has(end):
            return _one([*parts, content, *self._texts(end)])
        return _one([*parts, {**form, "begin": "", "content": content} if end else content])

    def _triggered(self, form: Any) -> Any:
        """Return free text that a call may end; the masks of a turn have one trigger, and calls end the turn."""
        (trigger,) = form["triggers"]
        if not self._has(trigger):
            return {**form, "tags": [self.of(one) for one in form["tags"]]}
        text = formats.any_text(excludes=dict.fromkeys((*form["excludes"], *self._marks)))
        tags = [self.of(one) for one in form["tags"]]
        return formats.sequence(text, formats.optional(_either(tags)))

    def _listed(self, form: Any) -> Any:
        tags, between = [self.of(one) for one in form["tags"]], form["separator"]
        if tags == form["tags"] and not self._has(between):
            return form
        if form["stop_after_first"]:
            return _either(tags)
        again = formats.sequence(*self._texts(between), _either(tags))
        return formats.sequence(_either(tags), formats.star(again))


def _one(parts: list[Any]) -> Any:
    if not parts:
        return formats.const("")
    return parts[0] if len(parts) == 1 else formats.sequence(*parts)


def _either(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else formats.union(*parts)
