"""What a reasoning model thinks, told apart from what it answers, as the text comes in."""

from __future__ import annotations

from guard.decoding.reasoning import TAGS

_OPEN, _CLOSE = TAGS[0]
#: What a JSON value can begin with. Where a value is asked for, a text that begins otherwise may be thoughts whose
#: opening tag stood in the prompt: it is held back until the closing tag, or the end.
_VALUE = ('{"[-0123456789', ("true", "false", "null"))


class Thoughts:
    """Splits a text into thoughts and answer: `feed` and `end` return what belongs to the answer."""

    def __init__(self, *, is_value: bool) -> None:
        self.thought = ""
        self._is_value = is_value
        self._held = ""  # not decided yet
        self._state = "start"  # then "inside", "after", where white space is dropped, or "answer"

    def feed(self, piece: str) -> str:
        """Take the next piece; returns what of the text so far is surely answer."""
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
        """Return what was held back and is answer, now that nothing follows."""
        if self._state == "inside":  # it thought until its budget was spent
            self.thought += self._held.strip()
            return ""
        return self._answer(self._held) if self._state == "start" else ""

    def _answer(self, text: str) -> str:
        self._state, self._held = "answer", ""
        return text


def _begins_value(text: str) -> bool:
    characters, words = _VALUE
    return text[:1] in characters or any(word.startswith(text[: len(word)]) for word in words)
