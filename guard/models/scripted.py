"""Models for tests: one with scripted answers, and one that injects faults into another's.

Both support every way of asking, so a test with one of them runs the same code as a real model.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Any

from guard.errors import RateLimited, TimedOut, Unavailable
from guard.models import adapters
from guard.models.base import Model, Reply, Request

#: A scripted answer: a text, a whole reply, an error to raise, or a function that returns one.
Answer = str | Reply | BaseException | Callable[[Request], "str | Reply | BaseException"]


class ScriptedModel:
    """A model that answers from a list, and keeps its requests.

    `pieces` splits a streamed text: a number of characters, the positions of the cuts, or None for one piece; with
    `seed`, the cuts are random instead. `figures` are fields of every reply that is made from a text.
    """

    def __init__(
        self,
        *answers: Answer,
        name: str = "scripted",
        pieces: int | Sequence[int] | None = None,
        seed: int | None = None,
        figures: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.requests: list[Request] = []
        self.closed = 0  # streams that were closed before their end
        self._answers = iter(answers)
        self._pieces, self._random = pieces, None if seed is None else Random(seed)  # noqa: S311 (a test's choices)
        self._figures = dict(figures)
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the answers that are left; a copy has no requests of its own yet."""
        return {**{name: value for name, value in vars(self).items() if name != "_lock"}, "requests": []}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take the answers of a pickle."""
        vars(self).update(state, _lock=threading.RLock())

    def generate(self, request: Request) -> Reply:
        """Give the next answer."""
        with self._lock:
            self.requests.append(request)
            try:
                answer: object = next(self._answers)
            except StopIteration:
                raise AssertionError(f"{self.name} was asked once more than it has answers") from None
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Reply):
            return answer
        assert isinstance(answer, str), f"{self.name} can't say {answer!r}"
        return reply(answer, **{"model": self.name, **self._figures})

    async def agenerate(self, request: Request) -> Reply:
        """Give the next answer."""
        await asyncio.sleep(0)
        return self.generate(request)

    def stream(self, request: Request) -> Generator[str | Reply, None, None]:
        """Give the next answer, in pieces."""
        whole, told = self.generate(request), ""
        try:
            for piece in split(whole.text, self._pieces, self._random):
                told += piece
                yield piece
            yield whole
        except GeneratorExit:
            self._closed(request, whole, told)
            raise

    async def astream(self, request: Request) -> AsyncIterator[str | Reply]:
        """Give the next answer, in pieces."""
        with contextlib.closing(self.stream(request)) as parts:
            for part in parts:
                yield part
                await asyncio.sleep(0)

    def _closed(self, request: Request, whole: Reply, told: str) -> None:
        """Count a closed stream, and report the part of its completion that was sent."""
        self.closed += 1
        share = len(told) / len(whole.text) if whole.text else 1.0
        written = round(whole.completion_tokens * share)
        request.cut(dataclasses.replace(whole, text=told, finish="cut", completion_tokens=written, tokens=()))


def reply(text: str, **fields: Any) -> Reply:
    """Return a reply whose figures follow from its text, unless they are given."""
    figures = {"finish": "stop", "model": "scripted", "prompt_tokens": 100, "completion_tokens": len(text), "cost": 0.0}
    return Reply(**{"text": text, **figures, **fields})


def split(text: str, pieces: int | Sequence[int] | None, r: Random | None = None) -> list[str]:
    """Return a text in pieces, none of them empty."""
    if r is not None:
        places: Iterable[int] = sorted(r.sample(range(len(text) + 1), r.randint(0, min(len(text), 8))))
    elif isinstance(pieces, int):
        places = range(pieces, len(text), pieces)
    else:
        places = pieces or ()
    cuts = [0, *places, len(text)]
    return [text[a:b] for a, b in itertools.pairwise(cuts) if a < b]


# ---- Faults ----------------------------------------------------------------------------------------------------------


def _value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _with_extra_key(text: str) -> str:
    value = _value_of(text)
    return json.dumps({**value, "an extra key": 1}) if isinstance(value, dict) else text + ' {"an extra key": 1}'


def _with_wrong_type(text: str) -> str:
    value = _value_of(text)
    if isinstance(value, dict) and value:
        key = next(iter(value))
        return json.dumps({**value, key: [[value[key]]]})
    return json.dumps([[value]])


def _with_duplicate_keys(text: str) -> str:
    value = _value_of(text)
    if not isinstance(value, dict) or not value:
        return '{"a": 1, "a": 2}'
    first, other = json.dumps(next(iter(value))), json.dumps("another value")
    return f"{text.rstrip().removesuffix('}')}, {first}: {other}}}"


def _changed(change: Callable[[str], str], **fields: Any) -> Callable[[Reply], Reply]:
    return lambda reply: dataclasses.replace(reply, text=change(reply.text), **fields)


#: Faults of a reply, by name.
REPLIES: Mapping[str, Callable[[Reply], Reply]] = MappingProxyType(
    {
        "truncated": _changed(lambda text: text[: len(text) // 2], finish="length"),
        "refusal": _changed(lambda _: "I can't help with that.", finish="refusal"),
        "filtered": _changed(lambda text: text[: len(text) // 2], finish="filter"),
        "empty": _changed(lambda _: ""),
        "wrong type": _changed(_with_wrong_type),
        "extra key": _changed(_with_extra_key),
        "duplicate keys": _changed(_with_duplicate_keys),
        "prose": _changed(lambda text: f"Sure! Here you are: {text} Is there anything else?"),
        "fences": _changed(lambda text: f"```json\n{text}\n```"),
        "not JSON": _changed(lambda text: text.replace('"', "'").replace(":", " =")),
    }
)
#: Errors raised in place of a reply, by name.
ERRORS: Mapping[str, Callable[[str], BaseException]] = MappingProxyType(
    {
        "unavailable": lambda name: Unavailable(f"{name} can't be reached (injected)"),
        "rate limited": lambda name: RateLimited(f"{name} asks to be called less often (injected)"),
        "timed out": lambda name: TimedOut(f"{name} did not answer in time (injected)"),
    }
)
FAULTS = (*REPLIES, *ERRORS)  #: Every fault that can be injected.


class FaultyModel:
    """A model that injects faults into another's answers.

    An answer has a fault with probability `rate`, drawn from `faults` (names of FAULTS) by `seed`. `injected` lists the
    fault of each answer, "" for none. With rate=1 and one name, every answer has that fault.
    """

    def __init__(self, model: Model, faults: Sequence[str] = FAULTS, *, seed: int = 0, rate: float = 0.5) -> None:
        for fault in faults:
            if fault not in FAULTS:
                raise ValueError(f"faults={fault!r} must be among {', '.join(FAULTS)}")
        if not 0 <= rate <= 1 or not faults:
            raise ValueError(f"rate={rate} must be between 0 and 1, and faults must name one at least")
        self.injected: list[str] = []
        self._model, self._faults, self._rate = model, tuple(faults), rate
        self._random = Random(seed)  # noqa: S311 (a test's choices)
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """The other model's name."""
        return self._model.name

    def generate(self, request: Request) -> Reply:
        """Answer, perhaps with a fault."""
        fault = self._drawn()
        return self._spoiled(fault, self._model.generate(request))

    async def agenerate(self, request: Request) -> Reply:
        """Answer, perhaps with a fault."""
        fault = self._drawn()
        return self._spoiled(fault, await adapters.agenerate(self._model, request))

    def stream(self, request: Request) -> Iterator[str | Reply]:
        """Answer, perhaps with a fault: a spoiled text comes in pieces of three characters."""
        fault = self._drawn()
        if not fault:
            yield from adapters.pieces(self._model, request)
            return
        whole = self._spoiled(fault, self._model.generate(request))
        yield from split(whole.text, 3)
        yield whole

    async def astream(self, request: Request) -> AsyncIterator[str | Reply]:
        """Answer, perhaps with a fault: a spoiled text comes in pieces of three characters."""
        fault = self._drawn()
        if not fault:
            async with contextlib.aclosing(adapters.apieces(self._model, request)) as parts:
                async for part in parts:
                    yield part
            return
        whole = self._spoiled(fault, await adapters.agenerate(self._model, request))
        for piece in split(whole.text, 3):
            yield piece
        yield whole

    def _drawn(self) -> str:
        """Draw the next answer's fault. Errors are raised before the model is asked."""
        with self._lock:
            fault = self._random.choice(self._faults) if self._random.random() < self._rate else ""
            self.injected.append(fault)
        if fault in ERRORS:
            raise ERRORS[fault](self.name)
        return fault

    def _spoiled(self, fault: str, reply: Reply) -> Reply:
        return REPLIES[fault](reply) if fault else reply
