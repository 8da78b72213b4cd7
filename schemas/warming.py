"""Warming: masks that are likely to be asked for, made ahead of need in a thread of its own.

A walk from the start of a value, breadth first: at each configuration its mask, then what is forced, else each plain
byte and each declared name that may come next; of the many bytes that free text may go on with, a few. Where two lead
to what goes on alike (`Matcher.key`) one is followed. What is made is what decoding would make there: nodes lowered,
lexemes, masks of lexemes, all of which the schema and the vocabulary keep.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np

from guard.kernels._native import fill_bitmasks
from guard.kernels.bitmask import allocate_bitmask
from guard.kernels.errors import SchemaError

if TYPE_CHECKING:
    from guard.kernels._native import Matcher
    from guard.kernels.vocabulary import Vocabulary

NAMES = 200  #: Declared names that are tried where a key may begin.
MANY = 32  #: From so many bytes on the text is free.

_BYTES = bytes(range(0x20, 0x7F))
_LIKELY = frozenset(b'"\\ aA1')
_log = logging.getLogger("guard.schemas")


def warm(matcher: Matcher, vocabulary: Vocabulary, names: list[bytes], masks: int, seconds: float) -> Future[int]:
    """Walk from a matcher that nobody else has; the result is how many masks were made."""
    out: Future[int] = Future()
    out.set_running_or_notify_cancel()

    def run() -> None:
        try:
            out.set_result(walk(matcher, vocabulary, names, masks, time.monotonic() + seconds))
        except BaseException as error:
            _log.warning("a warm-up met an error, which decoding may meet as well: %s", error)
            out.set_exception(error)

    threading.Thread(target=run, name="guard-warm").start()  # a daemon would be cut off inside of the engine at exit
    return out


def walk(matcher: Matcher, vocabulary: Vocabulary, names: list[bytes], masks: int, until: float) -> int:
    """Make masks until a time of the monotonic clock, or the exit; a limit that is met is raised once all is done."""
    row = allocate_bitmask(1, vocabulary.size)
    bits = row[0].view(np.uint8)
    spelled = {byte: vocabulary.native.greedy(bytes([byte])) for byte in _BYTES}
    plain = {byte: token[0] for byte, token in spelled.items() if token}  # a small vocabulary may lack some
    met: SchemaError | None = None
    seen, made = set(), 0
    todo = deque([matcher])
    while todo and made < masks and time.monotonic() < until and threading.main_thread().is_alive():
        at = todo.popleft()
        try:
            fill_bitmasks([at], row)
            made += 1
            forced = at.forced_bytes()
            ways = [forced] if forced else []
            if not forced:
                come = [byte for byte, token in plain.items() if bits[token >> 3] >> (token & 7) & 1]
                ways += [bytes([byte]) for byte in come if len(come) < MANY or byte in _LIKELY]
                if ord('"') in come and at.lexeme() < 0:
                    ways += names
            for way in ways:
                after = at.copy()
                if after.accept_bytes(way) and (key := after.key()) not in seen:
                    seen.add(key)
                    todo.append(after)
        except SchemaError as error:
            met = met or error
    if met is not None:
        raise met
    return made
