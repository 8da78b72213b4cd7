"""The base of all models that decode here: budgets, the prompt, the loop, pieces of text, and the reply."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from guard.decoding.calibration import Calibration
from guard.decoding.completion import Completion
from guard.decoding.reasoning import Reasoning
from guard.errors import BudgetExceeded, Truncated, Unsupported
from guard.kernels.cached import cached_property
from guard.kernels.vocabulary import Vocabulary
from guard.models.base import Reply, Request, Thought
from guard.models.chat_messages import as_texts, asked
from guard.schemas.compiled import warmed

#: Functions for a chat template, in OpenAI's form.
Tools = Sequence[Mapping[str, Any]]

_SPELLING = threading.Lock()  #: Held while a vocabulary is made.
LONGEST_NAME = 64  #: Bytes of the name of a special token, such as <|im_start|>; longer ones are not known.


class Session(Protocol):
    """One request being decoded."""

    @property
    def completion(self) -> Completion:
        """The completion so far."""
        ...

    def step(self, tokens: list[int]) -> None:
        """Feed tokens to the model, and add the next one to the completion."""
        ...

    def away(self) -> contextlib.AbstractContextManager[None]:
        """Return a context manager for the time in which the caller handles a piece, and the model is idle."""
        ...


class LocalModel(ABC):
    """A model that decodes in this process, under masks. Thread-safe."""

    is_masked = True
    can_score = False  #: Whether it can choose values whole (guard/decoding/whole_values.py).

    _name: str
    _vocabulary: Vocabulary
    _context: int | None  # length of the context, in tokens
    _reasoning: Reasoning | None

    @property
    def name(self) -> str:
        """The model's name in replies and traces."""
        return self._name

    @property
    def vocabulary(self) -> Vocabulary:
        """The bytes of the model's tokens."""
        return self._vocabulary

    @property
    def can_think(self) -> bool:
        """Whether it has a place to think in before it answers: tags, in its chat template or among its tokens."""
        return self._reasoning is not None

    @property
    def calibration(self) -> Calibration | None:
        """What the model's confidence is worth, where that was measured."""
        return None

    @property
    @abstractmethod
    def chat_template(self) -> tuple[str, Mapping[str, str]] | None:
        """The model's chat template, with the special tokens that it names; None where it has none."""

    def generate(self, request: Request) -> Reply:
        """Answer a request, under masks if it has a compiled schema. Raises Truncated and ModelError, as Model says."""
        *_, reply = self._steps(request, is_told=False)
        assert isinstance(reply, Reply)
        return reply

    def stream(self, request: Request) -> Iterator[str | Reply]:
        """Yield the text in pieces as it is decoded, then the reply. Closing the iterator stops the decoding."""
        return self._steps(request, is_told=True)

    def count_tokens(self, messages: Sequence[Mapping[str, Any]], *, thinks: bool = False) -> int:
        """Return the number of prompt tokens of these messages, where it may think or may not. Thread-safe."""
        return len(self._prompt(as_texts(messages, self._name), thinks=thinks))

    def prompt(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the prompt tokens of these messages, without thinking. Thread-safe."""
        return self._prompt(as_texts(messages, self._name), thinks=False)

    def _prompt(self, messages: Sequence[Mapping[str, Any]], *, thinks: bool, tools: Tools = ()) -> list[int]:
        text = self._render(messages, thinks=thinks, tools=tools)
        if self._reasoning is not None:
            text = self._reasoning.opened(text) if thinks else self._reasoning.closed(text)
        return self._tokenize(text)

    @abstractmethod
    def _render(self, messages: Sequence[Mapping[str, Any]], *, thinks: bool, tools: Tools = ()) -> str:
        """Return the prompt's text, by the chat template, with the tools."""

    @abstractmethod
    def _tokenize(self, text: str) -> list[int]:
        """Return the tokens of a prompt's text."""

    @abstractmethod
    def _open(self, prompt: list[int], request: Request, **limits: Any) -> contextlib.AbstractContextManager[Session]:
        """Begin to decode. The limits are those of Completion."""

    def _steps(self, request: Request, *, is_told: bool) -> Iterator[str | Reply]:
        start = time.perf_counter()
        prompt, limits = self._begin(request)
        with self._open(prompt, request, **limits) as session:
            completion, fed = session.completion, 0
            try:
                while (unfed := completion.advance()) is not None:
                    if is_told:
                        yield from _fresh(completion, session, request)
                    if request.seconds is not None and time.perf_counter() - start >= request.seconds:
                        raise BudgetExceeded(
                            f"seconds={request.seconds} were over when {self._name} had written"
                            f" {len(completion.written)} tokens; raise the budget of seconds or lower max_tokens"
                        )
                    tokens = unfed if fed else prompt + unfed
                    fed = len(prompt)
                    session.step(tokens)
                completion.end()
                if is_told:
                    yield from _fresh(completion, session, request)
            except BaseException:  # closed or interrupted as well
                if fed:
                    request.cut(self._reply(request, completion, fed, "cut", start))
                raise
        is_whole = completion.is_finished and not completion.cut_at
        yield self._reply(request, completion, len(prompt), "stop" if is_whole else "length", start)

    def _reply(self, request: Request, completion: Completion, prompt: int, finish: str, start: float) -> Reply:
        """Return the reply of a completion after so many prompt tokens."""
        text, tokens, compiled = completion.answer, tuple(completion.details), request.compiled
        scale = self.calibration if compiled is not None and finish == "stop" else None
        sure = None
        if scale is not None and compiled is not None:
            sure = scale.sureness(compiled, text, tokens, asked(request.messages, self._name))
        return Reply(
            text=text,
            finish=finish,
            model=self._name,
            prompt_tokens=prompt,
            completion_tokens=len(completion.written),
            forced_tokens=completion.forced_tokens,
            seconds=time.perf_counter() - start,
            mask_seconds=completion.mask_seconds,
            thinking_tokens=completion.thinking_tokens,
            thinking=completion.thought,
            tokens=tokens,
            cut_at=completion.cut_at,
            decision=completion.decision,
            alternatives=completion.alternatives,
            room=None if self._context is None else self._context - prompt,
            mode="masks" if compiled is not None else "prompt",
            cost=0.0,
            sureness=sure,
        )

    def _begin(self, request: Request) -> tuple[list[int], dict[str, Any]]:
        """Return the prompt's tokens, and limits for the completion that keep it inside every budget."""
        if request.choose == "score" and not self.can_score:
            raise Unsupported(f'{self._name} can\'t score whole values, as choose="score" asks it to; leave it out')
        vocabulary = self._spelling(request.spelled)
        matcher = request.compiled.matcher(vocabulary) if request.compiled is not None else None
        least = max(1, matcher.distance()) if matcher is not None else 1
        limits: dict[str, Any] = {
            "vocabulary": vocabulary,
            "shown": self._spelling(request.marks),
            "matcher": matcher,
            "max_tokens": request.max_tokens,
            "stops_repetition": request.repetition == "stop",
        }
        messages = as_texts(request.messages, self._name)
        text = self._render(messages, thinks=False, tools=request.tools)
        self._check_size(text)
        if self._reasoning is None and request.thinking:
            raise Unsupported(f"{self._name} does not think, as thinking={request.thinking} asks it to; leave it out")
        if self._reasoning is not None and request.thinking:
            prompt = self._prompt(messages, thinks=True, tools=request.tools)
            room = self._room(request, len(prompt), request.thinking, least)
            budget = request.thinking if room is None else min(request.thinking, room - least)
            if (thinking := self._reasoning.thinking(budget, text)) is not None:
                return prompt, {**limits, "room": room, "thinking": thinking}
        prompt = self._tokenize(self._reasoning.closed(text) if self._reasoning is not None else text)
        return prompt, {**limits, "room": self._room(request, len(prompt), 0, least)}

    def _spelling(self, marks: tuple[str, ...]) -> Vocabulary:
        """Return the vocabulary in which these special tokens are text, cached."""
        if not marks:
            return self._vocabulary
        with _SPELLING:
            if marks not in self._spellings:
                self._spellings[marks] = warmed(self._vocabulary.spelling(marks))
            return self._spellings[marks]

    @cached_property
    def _spellings(self) -> dict[tuple[str, ...], Vocabulary]:
        return {}

    def _check_size(self, text: str) -> None:
        """Raise Truncated where a prompt is surely longer than the context, without the time to tokenize it."""
        if self._context is not None and len(text) > self._context * self._longest_token:
            least = len(text) // self._longest_token
            raise Truncated(
                f"a prompt of {len(text):,} characters is at least {least:,} tokens, of which {self._name}'s context"
                f" holds {self._context:,}; shorten the input"
            )

    @cached_property
    def _longest_token(self) -> int:
        """Return the most bytes of text that one token stands for. Special tokens count by their names."""
        lengths = (len(self._vocabulary.token_bytes(token)) for token in range(self._vocabulary.size))
        return max(LONGEST_NAME, *lengths)

    def _room(self, request: Request, prompt: int, thinking: int, least: int) -> int | None:
        """Return the tokens left for thinking and value; None: no limit. Raises Truncated or BudgetExceeded."""
        room = request.output_tokens
        most = thinking + request.max_tokens if room is None else min(room, thinking + request.max_tokens)
        if self._context is not None and prompt + most > self._context:
            thoughts = f", thinking={thinking}" if thinking else ""
            raise Truncated(
                f"a prompt of {prompt} tokens{thoughts} and max_tokens={request.max_tokens} exceed the"
                f" {self._context} tokens of {self._name}'s context; shorten the input or lower max_tokens"
            )
        if request.total_tokens is None:
            return room
        if request.total_tokens < prompt + least:
            raise BudgetExceeded(
                f"total_tokens={request.total_tokens} can't hold the prompt's {prompt} and the shortest answer, which"
                f" may need {least}; shorten the input or raise the budget of tokens"
            )
        left = request.total_tokens - prompt
        return left if room is None else min(left, room)


def _fresh(completion: Completion, session: Session, request: Request) -> Iterator[str]:
    """Yield what was written since the last call: thinking, where the request asks for it, and text."""
    thought = Thought(completion.fresh_thought()) if request.thinks_aloud else ""
    for piece in (thought, completion.fresh()):
        if piece:
            with session.away():
                yield piece
