"""Forward passes of one model that concurrent requests share, in such a way that no result depends on who else runs.

Each thread decodes its own request and asks here for its next pass. While one pass runs, others queue up; whoever
comes next takes the whole queue along, so batches form under load and nobody waits without. There is no thread of
Guard's: the first to ask runs the pass for all, and who stops asking has left.

A shared pass lays the new tokens of all sequences side by side in one row, without padding to a common length. What
works on single tokens (nearly all of a model) does not see the difference; attention is computed sequence by sequence
on the cache that each would have alone. How a model does so is its own business: guard/models/local/batching.py does it
with any of transformers', guard/models/local/llama.py with its own. What is left is how the machine rounds the pass of
one token and that of more: in products and in attention. A model is tried out once (`PassTrial`), in this order:

1. By token: attention is asked for token by token, and products that round one row otherwise than several are taken
   apart (guard/models/local/row_invariant.py). If the logits are then the bits of the model's own loop, with the prompt
   in one pass and each token in one, neither company nor forced text changes a bit.
2. Filled up: products of one row are filled up to two, and each sequence attends at once. If the logits are then the
   same bits in any company, no result depends on it, but a pass over several tokens may round otherwise than several.
3. Else sharing shows in the last digit of a logit, and is done where it was asked for, and on GPUs, where it pays most.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch

from guard.errors import ModelError
from guard.support.interrupts import is_injected

T = TypeVar("T")

#: Seconds for which a pass waits for requests that are between two passes.
PATIENCE = 0.005
#: The most sequences in one pass.
MOST = 64
#: How far a shared pass may be from a pass alone, relative to the logits' size, to be the same but for rounding.
ROUNDING = 0.05


class Way(enum.Enum):
    """How a pass is made up, which is what its results do not depend on."""

    BY_TOKEN = "by token"  # on nothing: they are those of transformers' own loop
    FILLED = "filled up"  # on the company
    ROUNDED = "rounded"  # but for rounding, on the company


class OneSequence(Protocol):
    """The passes of one sequence, with its cache."""

    prompt: int  # how many tokens it is fed first, at once

    @property
    def is_first(self) -> bool:
        """Whether nothing was fed yet."""
        ...

    def __call__(self, tokens: list[int]) -> torch.Tensor:
        """Feed the tokens in a pass of their own; returns the logits after the last, `[1, width]`."""
        ...

    def begin_tree(self) -> int:
        """Return how many tokens were fed, before those of a tree; Unsupported where these can't be forgotten again."""
        ...

    def branch(self, tokens: list[int], positions: list[int], mask: torch.Tensor) -> torch.Tensor:
        """Feed tokens of a tree; returns the logits after each, `[tokens, width]`.

        `mask` is bool[1, 1, tokens, fed + tokens of the tree so far]: what each may see.
        """
        ...

    def end_tree(self) -> None:
        """Forget the tree."""
        ...


class Shareable(Protocol):
    """A model, as passes are made of it."""

    device: torch.device

    def prepare(self, prompt: list[int], max_tokens: int) -> OneSequence:
        """Begin a sequence of that prompt and so many tokens more."""
        ...

    def is_shareable(self) -> bool:
        """Get ready to share passes; returns whether the model is of a kind that can be, by what it says of itself."""
        ...

    def take_apart(self) -> bool:
        """Have products give each piece its own bits; False: a product for each token would cost too much."""
        ...

    def run(self, forwards: Sequence[Any], tokens: Sequence[list[int]], way: Way) -> torch.Tensor:
        """One pass over the new tokens of several sequences; each one's last logits, `[sequences, width]`."""
        ...

    def give_up(self) -> None:
        """Be as before `is_shareable`: passes are not shared."""
        ...


class Passes:
    """The passes of one model; from any thread."""

    def __init__(self, model: Shareable, *, share: bool | None = None) -> None:
        """Take the model.

        `share` None: where results do not depend on it, and on a GPU; True: even where they do; False: never.
        """
        self._model = model
        self._share = share
        self._trial = threading.RLock()
        self._way: Way | None = None  # None: untried
        self._is_shared = False  # known once it was tried
        self._lock = threading.RLock()  # entered by itself: a signal can't come between a lock's taking and its scope
        self._changed = threading.Condition(self._lock)
        self._queue: list[_Asked] = []
        self._here = 0  # requests that are decoding and not waiting for their caller
        self._led_by = 0  # the thread that runs a pass; 0: none does

    @property
    def is_shared(self) -> bool:
        """Whether concurrent requests share passes; tried out at the first one."""
        self._try_out()
        return self._is_shared

    @property
    def is_independent(self) -> bool:
        """Whether no result depends on what else runs: true as well where passes are not shared."""
        self._try_out()
        return not self._is_shared or self._way is not Way.ROUNDED

    @property
    def is_by_token(self) -> bool:
        """Whether a pass over several tokens, such as forced ones, gives the bits that a pass for each would."""
        self._try_out()
        return self._is_shared and self._way is Way.BY_TOKEN

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """Say that a request is decoding: passes wait a moment for it."""
        self._come(1)
        try:
            yield
        finally:
            self._come(-1)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Say that a request that is here waits for its caller."""
        self._come(-1)
        try:
            yield
        finally:
            self._come(1)

    def __call__(self, forward: OneSequence, tokens: list[int]) -> torch.Tensor:
        """Feed a sequence; returns the logits after its last token, `[1, width]`."""
        asked = _Asked(forward, tokens)
        with self._lock:
            self._queue.append(asked)
            self._changed.notify_all()
            try:
                while not asked.is_done:
                    if not self._led_by:
                        self._lead()
                    elif self._led_by == threading.get_ident():  # in a signal handler, which the pass waits for
                        self._queue.remove(asked)
                        self._run([asked])
                        asked.is_done = True
                    else:
                        self._changed.wait()
            finally:
                if asked in self._queue:  # interrupted
                    self._queue.remove(asked)
        if asked.error is not None:
            raise asked.error
        assert asked.logits is not None
        return asked.logits

    def alone(self, run: Callable[[], T]) -> T:
        """Run what uses the model otherwise, while no pass runs; returns its result."""
        with self._lock:
            while self._led_by and self._led_by != threading.get_ident():
                self._changed.wait()
            led_by, self._led_by = self._led_by, threading.get_ident()
            try:
                self._lock.release()
                try:
                    return run()
                finally:
                    self._lock.acquire()
            finally:
                self._led_by = led_by
                self._changed.notify_all()

    def _come(self, change: int) -> None:
        with self._lock:
            self._here += change
            self._changed.notify_all()

    def _lead(self) -> None:
        """Run a pass for all that queue; called with the lock, which is not held meanwhile."""
        batch: list[_Asked] = []
        try:
            self._led_by = threading.get_ident()
            self._wait_for_others()
            batch, self._queue = self._queue[:MOST], self._queue[MOST:]
            try:
                self._lock.release()
                self._run(batch)
            finally:
                self._lock.acquire()
        finally:
            self._led_by = 0
            for asked in batch:
                asked.is_done = True
            self._changed.notify_all()

    def _wait_for_others(self) -> None:
        end = time.monotonic() + PATIENCE
        while len(self._queue) < min(self._here, MOST) and (left := end - time.monotonic()) > 0:
            if self._way is not None and not self._is_shared:
                return
            self._changed.wait(left)

    def _run(self, batch: list[_Asked]) -> None:
        try:
            self._try_out()
            if self._is_shared and self._way is not None and not _is_plain(batch, self._way):
                logits = self._model.run([a.forward for a in batch], [a.tokens for a in batch], self._way)
                for asked, row in zip(batch, logits, strict=True):
                    asked.logits = row[None]
                return
            for asked in batch:
                asked.logits = asked.forward(asked.tokens)
        except BaseException as error:  # whatever it is, nobody may wait for ever
            is_own = isinstance(error, Exception) and not is_injected(error)  # the pass's, and so everybody's
            for asked in batch:
                if asked.logits is None:
                    asked.error = error if is_own else ModelError(f"a pass broke off: {error!r}")
            if not is_own:
                raise

    def _try_out(self) -> None:
        """Find out once whether passes can be shared, and how."""
        with self._trial:
            if self._way is not None:
                return
            way, is_sound = Way.ROUNDED, False
            if self._share is not False and self._model.is_shareable():
                try:
                    way, is_sound = PassTrial(self._model).run()
                except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
                    if is_injected(error):
                        raise
            may_differ = self._share or self._model.device.type != "cpu"
            self._is_shared = bool(is_sound and (way is not Way.ROUNDED or may_differ))
            self._way = way
            if not self._is_shared:
                self._model.give_up()


class _Asked:
    """A pass that somebody waits for."""

    def __init__(self, forward: OneSequence, tokens: list[int]) -> None:
        self.forward = forward
        self.tokens = tokens
        self.logits: torch.Tensor | None = None
        self.error: BaseException | None = None
        self.is_done = False


class PassTrial:
    """Two sequences, in passes of several lengths: as transformers runs them, together, and each alone."""

    #: What each of them is fed, pass by pass; the first passes begin with prompts of so many tokens.
    STEPS = (([*range(3, 27)], [*range(40, 49)]), ([2], [7]), ([2, 7, 1], [8]), ([1], [8, 2]), ([6], [1]))
    PROMPTS = (22, 9)

    def __init__(self, model: Shareable) -> None:
        self._model = model

    def run(self) -> tuple[Way, bool]:
        """Return the first way that holds, and whether its results are right but for rounding."""
        own = self._own()
        may_go_by_token = self._model.take_apart()
        if may_go_by_token and all(_same(own, self._run(Way.BY_TOKEN, *groups)) for groups in ([[0, 1]], [[0], [1]])):
            return Way.BY_TOKEN, True
        together, alone = self._run(Way.FILLED, [0, 1]), self._run(Way.FILLED, [0], [1])
        is_sound = all(
            float((a - b).float().norm()) <= ROUNDING * float(a.float().norm())
            for a, b in zip(own, together, strict=True)
        )
        return (Way.FILLED if _same(together, alone) else Way.ROUNDED), is_sound

    def _own(self) -> list[torch.Tensor]:
        """The logits at the end of each step, `[width]`, sequence by sequence."""
        found = []
        for number, forward in enumerate(self._forwards()):
            for step in self.STEPS:
                tokens = iter(step[number])
                lengths = attending(forward, len(step[number]), Way.BY_TOKEN)
                *_, last = [forward([*itertools.islice(tokens, length)]) for length in lengths]
                found.append(last[0])
        return found

    def _run(self, way: Way, *groups: list[int]) -> list[torch.Tensor]:
        """The same, of shared passes of those sequences."""
        forwards = self._forwards()
        found: dict[tuple[int, int], torch.Tensor] = {}
        for group in groups:
            for at, step in enumerate(self.STEPS):
                logits = self._model.run([forwards[g] for g in group], [step[g] for g in group], way)
                found |= {(g, at): row for g, row in zip(group, logits, strict=True)}
        return [found[place] for place in sorted(found)]

    def _forwards(self) -> list[OneSequence]:
        prompts = (tokens[:length] for tokens, length in zip(self.STEPS[0], self.PROMPTS, strict=True))
        return [self._model.prepare(prompt, 16) for prompt in prompts]


def _same(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, some, others))


def attending(forward: OneSequence, count: int, way: Way) -> list[int]:
    """The lengths of the pieces that attend on their own, of so many tokens that a sequence is fed."""
    if way is not Way.BY_TOKEN:
        return [count]
    prompt = min(forward.prompt, count) if forward.is_first else 0
    return [prompt] * (prompt > 0) + [1] * (count - prompt)


def _is_plain(batch: list[_Asked], way: Way) -> bool:
    """Whether a pass is the model's own."""
    if len(batch) > 1 or way is Way.FILLED:
        return False
    return len(attending(batch[0].forward, len(batch[0].tokens), way)) == 1
