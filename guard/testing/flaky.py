"""`FlakyModel`: a model whose answers are valid, nearly valid, badly written, cut off or errors, by a seed.

It can be used wherever a model of Guard's can. `serving` puts one behind an address, for applications that ask a
server.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from guard.errors import SchemaError
from guard.output import target
from guard.testing.app_adapters import HttpAdapter, ModelAdapter, ObservedRequest, Stage
from guard.testing.scripted_replies import FAULTS, NEAR_MISS, Palette, ScriptedReply

DRAWN = 60  #: Replies drawn for each schema, among which the answers are chosen.
KEPT = 1_000  #: Latest requests that are kept.


class FlakyStage(Stage):
    """A stage that answers with what a seed draws for the request's schema."""

    def __init__(
        self,
        seed: int = 0,
        faults: Sequence[str] = tuple(FAULTS),
        *,
        rate: float = 0.5,
        schema: Any = True,
        told: Callable[[ObservedRequest], object] | None = None,
    ) -> None:
        super().__init__()
        for fault in faults:
            if fault not in FAULTS:
                raise ValueError(f"faults={fault!r} must be among {', '.join(FAULTS)}")
        if not 0 <= rate <= 1:
            raise ValueError(f"rate={rate} must be between 0 and 1")
        self.injected: list[str] = []  # the fault of each answer; "" for a valid one
        self._seed, self._faults, self._rate = seed, tuple(faults), rate
        self._schema, self._told = schema, told
        self._drawn: dict[str, tuple[list[ScriptedReply], list[ScriptedReply]]] = {}
        self._count: Counter[str] = Counter()
        self._turn = threading.Lock()

    def ask(
        self, port: str, model: str, messages: Any, schema: Any, *, streaming: bool, **more: Any
    ) -> ObservedRequest:
        """Answer a request by the seed: the n-th request for a schema always gets the same answer."""
        wanted = self._schema if schema is None else schema
        sources = more.get("sources")
        key = json.dumps(wanted if sources is None else [wanted, sources], sort_keys=False, default=repr)
        with self._turn:
            good, bad = self._replies(key, wanted, sources)
            self._count[key] += 1
            r = Random(f"{self._seed} {self._count[key]} {key}")  # noqa: S311 (a test's choices)
            is_bad = bool(bad) and r.random() < self._rate
            reply = r.choice(bad if is_bad else good)
            self.injected.append(reply.how if is_bad else "")
            kept = [dict(message) for message in messages]
            number = len(self.injected)
            ask = ObservedRequest(number, port, model, f"{model}-flaky", kept, schema, streaming, reply, **more)
            self.asks = [*self.asks[-KEPT:], ask]
        if self._told is not None:
            self._told(ask)
        return ask

    def _replies(
        self, key: str, wanted: Any, sources: Mapping[str, str] | None
    ) -> tuple[list[ScriptedReply], list[ScriptedReply]]:
        if key not in self._drawn:
            from guard.testing.drawing import drawn

            try:
                options = {"inexact": "residual"}
                more = {} if sources is None else {"sources": sources}
                palette = Palette(target.from_any(wanted, options), wanted, {**options, **more})
                good = drawn(palette.values, DRAWN, self._seed)
            except (SchemaError, ValueError):  # an error in the schema is reported to the application
                palette = Palette(target.from_any(True, {}), True)
                good = drawn(palette.values, DRAWN, self._seed)
            from guard.testing.scripted_replies import valid

            bad = drawn(palette.faulty(self._faults), DRAWN, self._seed) if self._faults else []
            if palette.misses is not None and NEAR_MISS in self._faults:
                bad += drawn(palette.misses, DRAWN // 2, self._seed, 3.0)
            replies = [valid(value) for value in good], bad
            if sources is not None:  # of one call
                return replies
            self._drawn[key] = replies
        return self._drawn[key]


class FlakyModel(ModelAdapter):
    """A deterministic model that errs: the seed alone determines the n-th answer to a schema.

    With probability `rate`, an answer has one of `faults` (names of `guard.testing.FAULTS`), where "near miss" stands
    for all near misses of the schema; otherwise it is a valid value. `injected` lists the fault of each answer. The
    schema is the request's, or else `schema`. The requests in `asks` record streams that were closed early. `pieces` is
    the number of characters in each piece of a stream, 0 for one piece. Raises ValueError for an unknown fault.
    """

    def __init__(
        self,
        seed: int = 0,
        faults: Sequence[str] = tuple(FAULTS),
        *,
        rate: float = 0.5,
        schema: Any = True,
        name: str = "flaky",
        pieces: int = 3,
    ) -> None:
        stage = FlakyStage(seed, faults, rate=rate, schema=schema)
        stage.pieces = pieces
        super().__init__(stage, name)
        self.seed = seed
        self._flaky = stage

    @property
    def injected(self) -> list[str]:
        """The fault of each answer, "" for a valid one."""
        return self._flaky.injected

    @property
    def asks(self) -> list[ObservedRequest]:
        """The latest requests."""
        return self._flaky.asks


@contextlib.contextmanager
def serving(
    seed: int = 0,
    faults: Sequence[str] = tuple(FAULTS),
    *,
    rate: float = 0.5,
    schema: Any = True,
    port: int = 0,
    told: Callable[[ObservedRequest], object] | None = None,
) -> Iterator[HttpAdapter]:
    """Serve a flaky model on this machine, by OpenAI's and Anthropic's protocols; yield the server, which has a `url`.

    It answers for the request's schema, or else for `schema`. Port 0 takes a free one. `told` is called with each
    request.
    """
    with HttpAdapter(FlakyStage(seed, faults, rate=rate, schema=schema, told=told), port) as server:
        yield server


def by_name(rest: str, name: str) -> FlakyModel:
    """Return the model of the name `flaky:SEED`. Raises ValueError for a malformed seed."""
    return FlakyModel(seed_of(rest), name=name)


def seed_of(rest: str) -> int:
    """Return the seed after the colon of a model's name: digits, or nothing for 0. Raises ValueError."""
    if rest and not rest.isdecimal():
        raise ValueError(f"{rest!r} must be a seed, which is digits")
    return int(rest or 0)
