"""Calls as they are recorded, for tests of the trace."""

from __future__ import annotations

import dataclasses

from scripted import reply

import guard
from guard.decoding.confidence import Token
from guard.output.repair import Edit
from guard.trace.records import Attempt, Call

FINDING = guard.Violation("/n", "minimum", "a number >= 3", "1")
CALL = Call(
    function="shop.count",
    target="Count",
    schema_hash="c0ffee",
    template="typed/1",
    model="scripted",
    options={"retries": 1, "seed": 7, "max_tokens": 64, "temperature": 0.0},
    started=1_770_000_000.5,
    seconds=0.75,
    attempts=(
        Attempt(1, ({"role": "user", "content": "How many? ☕"},), reply('{"n": 1}'), (FINDING,), reason="invalid"),
        Attempt(
            2,
            ({"role": "user", "content": "Again."},),
            reply(
                '```{"n": 3}```',
                thinking="Three.",
                thinking_tokens=2,
                tokens=(Token('{"', -0.25, 0.5, 1.5), Token("n", 0.0, 0.75, None, forced=True)),
                retries=1,
                mode="masks",
                cost=0.0025,
            ),
            tier=1,
            model="large",
            repairs=(Edit(0, "fence", "```", ""), Edit(11, "fence", "```", "")),
            repaired='{"n": 3}',
            started=1_770_000_001.0,
            seconds=0.5,
        ),
    ),
)
FAILED = dataclasses.replace(CALL, outcome="ModelError", error="down", attempts=(Attempt(1, (), error="down"),))
MESSAGES = [{"role": "user", "content": "How many?"}]
