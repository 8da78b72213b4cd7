"""Going back and on again over thinking, text and calls is the same as having gone there at once."""

from __future__ import annotations

from random import Random
from typing import Any

from formats.format_cases import SINGLE_BYTES
from properties import allowed

import guard
from guard import formats

SCHEMA = {"type": "object", "properties": {"q": {"type": "string", "maxLength": 9}}, "required": ["q"]}
NAMES = {"<think>": 257, "</think>": 258}
WORDS = [b"<call>", b'{"q"', b'": "', b'"}', b"</call>", b"</ca", b"ll> <", b"<ca", b"a<call>{", b"?</think", b"}</"]
TOKENS = guard.Vocabulary.from_bytes([*SINGLE_BYTES, b"", b"", b"", *WORDS], [256], [257, 258], names=NAMES)
TURN = formats.sequence(
    formats.optional(formats.tag(formats.token("<think>"), formats.any_text(), formats.token("</think>"))),
    formats.triggered_tags(["<call>"], [formats.tag("<call>", formats.json(SCHEMA), "</call>")]),
)


def seen(matcher: Any) -> tuple[Any, ...]:
    return allowed(matcher, TOKENS).tolist(), matcher.distance(), matcher.can_stop(), matcher.key(), matcher.spans()


STEPS = 4_000  #: Random ones; `python -m formats` takes 100,000.


def test_steps_and_rollbacks_equal_a_replay() -> None:
    check_replay(STEPS, 9)


def check_replay(steps: int, seed: int) -> None:
    r, compiled = Random(seed), guard.compile(TURN)
    matcher, path = compiled.matcher(TOKENS), list[int]()
    fresh = compiled.matcher(TOKENS)
    for _ in range(steps):
        if matcher.is_finished() or (path and r.random() < 0.25) or len(path) > 120:
            back = r.randint(1, min(len(path), r.choice([1, 3, 30])))
            matcher.rollback(back)
            del path[len(path) - back :]
        ids = allowed(matcher, TOKENS).tolist()
        token = r.choice([t for t in ids if t > 256] or ids) if r.random() < 0.4 else r.choice(ids)
        assert matcher.accept(token)
        path.append(token)
        fresh.reset()
        assert all(map(fresh.accept, path))
        assert seen(matcher) == seen(fresh) == seen(matcher.copy()), path
