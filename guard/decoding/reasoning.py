"""Reasoning models: what they think comes before the value, is free, has a budget of its own, and never reaches it.

A model thinks between two tags. The prompt ends in the opening one, so that it is certain where thinking begins; it
ends with the closing one, with an end-of-sequence token, or with the budget: the closing tag is then appended by
force. Where a model must not think, a place that its template opens all the same is closed in the prompt.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guard.kernels.vocabulary import Vocabulary

#: The tags that models are trained on, the usual ones first.
TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
)
#: What models write between the closing tag and their answer, where the template does not show it.
BEHIND = "\n\n"


class Reasoning:
    """How one model thinks: its tags, and its tokenizer to write them with."""

    def __init__(self, tags: tuple[str, str], vocabulary: Vocabulary, encode: Callable[[str], Sequence[int]]) -> None:
        self.opening, self.closing = tags
        self.vocabulary = vocabulary
        self.encode = encode
        ids = encode(self.closing)
        self.end = ids[0] if len(ids) == 1 else None  # the closing tag, where it is a token

    @classmethod
    def of(cls, template: str, vocabulary: Vocabulary, encode: Callable[[str], Sequence[int]]) -> Reasoning | None:
        """How the model of that chat template and tokenizer thinks; None where it has no tags for that."""
        for tags in TAGS:
            if tags[1] in template or len(encode(tags[1])) == 1:
                return cls(tags, vocabulary, encode)
        return None

    def opened(self, prompt: str) -> str:
        """The prompt, with a place to think in at its end."""
        return prompt if self._is_open(prompt) else f"{prompt}{self.opening}\n"

    def closed(self, prompt: str) -> str:
        """The prompt, without one."""
        return f"{prompt.rstrip()}\n\n{self.closing}{BEHIND}" if self._is_open(prompt) else prompt

    def thinking(self, budget: int, closed_prompt: str = "") -> Thinking | None:
        """One completion's thinking, of at most so many tokens; None where they hold none beside the closing tag.

        A prompt in which the template closed a place to think in shows what it writes behind the closing tag.
        """
        at = closed_prompt.rfind(self.closing)
        behind = closed_prompt[at + len(self.closing) :] if at >= 0 else ""
        thinking = Thinking(self, budget, BEHIND if at < 0 or behind.strip() else behind)
        return None if thinking.is_over([]) else thinking

    def _is_open(self, prompt: str) -> bool:
        return prompt.rstrip().endswith(self.opening)


class Thinking:
    """The thinking of one completion: when it is over, and what closes it."""

    def __init__(self, reasoning: Reasoning, budget: int, behind: str) -> None:
        self._reasoning = reasoning
        self._budget = budget
        self._behind = behind
        self._closing = tuple(reasoning.encode(f"\n{reasoning.closing}{behind}"))
        self._most = len(reasoning.closing.encode()) + 1  # tokens that can spell the closing tag
        self.is_stopped = False  # the model wrote an end-of-sequence token, which is not kept
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoded = 0  # tokens that `fresh` has read
        self._held = ""  # text that `fresh` has not returned: it may be the end's
        self._is_begun = self._is_told = False  # whether `fresh` has returned some of the text, or all of it

    def is_over(self, written: Sequence[int]) -> bool:
        """Whether the closing tag was written, or must be now."""
        return self.is_stopped or len(written) + len(self._closing) >= self._budget or self._is_closed(written)

    def rest(self, written: Sequence[int]) -> Sequence[int]:
        """The tokens that remain to be appended once it is over."""
        if not self._is_closed(written):
            return self._closing
        had = self._spelled(written[-self._most :]).rpartition(self._reasoning.closing)[2]
        rest = self._behind.removeprefix(had)
        return self._reasoning.encode(rest) if rest else ()

    def text(self, written: Sequence[int]) -> str:
        """What was thought."""
        return self._spelled(written).partition(self._reasoning.closing)[0].strip()

    def fresh(self, written: Sequence[int], end: int) -> str:
        """What was thought since the last call, up to the token `end`; all pieces together are `text`.

        White space and a beginning of the closing tag are held back until more follows. O(new tokens + held text).
        """
        if self._is_told:
            return ""
        self._held += self._decoder.decode(b"".join(map(self._bytes, written[self._decoded : end])))
        self._decoded = end
        text, tag, _ = self._held.partition(self._reasoning.closing)
        if tag:
            self._is_told = True
        else:
            most = min(len(self._reasoning.closing) - 1, len(text))
            begun = (n for n in range(most, 0, -1) if self._reasoning.closing.startswith(text[-n:]))
            text = text[: len(text) - next(begun, 0)]
        text = text.rstrip()
        self._held = self._held[len(text) :]
        if not self._is_begun:
            text = text.lstrip()
            self._is_begun = bool(text)
        return text

    def _is_closed(self, written: Sequence[int]) -> bool:
        if self._reasoning.end is not None:
            return bool(written) and written[-1] == self._reasoning.end
        return self._reasoning.closing in self._spelled(written[-self._most :])

    def _spelled(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self._bytes, tokens)).decode(errors="replace")

    def _bytes(self, token: int) -> bytes:
        # A special token spells nothing, but here it is the tag.
        if token == self._reasoning.end:
            return self._reasoning.closing.encode()
        return self._reasoning.vocabulary.token_bytes(token)
