"""Thinking tags: a streamed text is split into a reasoning model's thinking and its answer."""

from __future__ import annotations

from guard.decoding.reasoning import TAGS

_OPEN, _CLOSE = TAGS[0]
#: Characters with which a JSON value begins. A text that begins otherwise, where a value is expected, may be thinking
#: whose opening tag was in the prompt. It is held back until the closing tag, or the end.
_VALUE = ('{"[-0123456789', ("true", "false", "null"))


class Thoughts:
    """Splits a text into thinking and answer. `feed` and `end` return the parts of the answer."""

    def __init__(self, *, is_value: bool) -> None:
        self.thought = ""
        self._is_value = is_value
        self._held = ""  # undecided
        self._state = "start"  # then "inside", "after", where white space is dropped, or "answer"

    def feed(self, piece: str) -> str:
        """Add a piece; return the new text that surely belongs to the answer."""
        if self._state == "answer":
            return piece
        self._held += piece
        if self._state == "start":
            text = self._held.lstrip()
            if text.startswith(_OPEN):
                self._state, self._held = "inside", text.removeprefix(_OPEN)
            elif _OPEN.startswith(text):
                return ""
            elif not self._is_value or _begins_value(text):
                return self._answer(self._held)
            elif _CLOSE in self._held:
                self._state = "inside"
        if self._state == "inside" and _CLOSE in self._held:
            thought, _, self._held = self._held.partition(_CLOSE)
            self.thought += thought.strip()
            self._state = "after"
        if self._state == "after" and (text := self._held.lstrip()):
            return self._answer(text)
        return ""

    def end(self) -> str:
        """Return the rest of the answer, which was held back, at the end of the text."""
        if self._state == "inside":  # the thinking took the whole budget
            self.thought += self._held.strip()
            return ""
        return self._answer(self._held) if self._state == "start" else ""

    def _answer(self, text: str) -> str:
        self._state, self._held = "answer", ""
        return text


def _begins_value(text: str) -> bool:
    characters, words = _VALUE
    return text[:1] in characters or any(word.startswith(text[: len(word)]) for word in words)
