"""Continuous batching: concurrent requests share forward passes, and no result depends on the others.

Each thread decodes its own request and asks here for its next pass. While one pass runs, further requests queue up, and
the next pass takes the whole queue. So batches form under load (Orca, Yu et al. 2022), and a lone request never waits.
Guard starts no thread for that: the first request in the queue runs the pass for all.

A shared pass lays the new tokens of all sequences side by side in one row, without padding to a common length. Layers
that work on single tokens (nearly all) do not see the difference. Attention is computed sequence by sequence, on each
one's own cache, with transformers' own function. What remains is rounding, which differs between passes of one token
and of several, in products and in attention. A model is tested once (`_Trial`), in this order:

1. By token: attention is asked for token by token, and products that round one row otherwise than several are taken
   apart (guard/models/local/row_invariant.py). If the logits are then the bits that transformers' own loop gets, with
   the prompt in one pass and each token in one, neither company nor forced text changes a bit.
2. Filled up: passes of less than two rows are filled up, and each sequence attends at once. If the logits are then the
   same bits in any company, no result depends on it, but a pass over several tokens may round otherwise than several.
3. Else sharing shows in the last digit of a logit, and is done where it was asked for, and on GPUs, where it pays most.

Only models whose attention goes through transformers' interface, over the whole sequence, are shared. Models with a
sliding window, a recurrent state, or positions that depend on the longest sequence run their passes one by one.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from guard.decoding.torch_loop import Forward
from guard.errors import ModelError
from guard.models.local.row_invariant import pieces, take_apart
from guard.support.interrupts import is_injected

T = TypeVar("T")

#: Seconds for which a pass waits for requests that are between two passes.
PATIENCE = 0.005
#: The most sequences in one pass.
MOST = 64
#: The name of the attention function for shared passes; in all other passes it is transformers' "sdpa".
ATTENTION = "guard"
#: In the second way, a pass is filled up to a multiple of so many rows.
ROWS = 2
#: Largest difference of a shared pass from a pass alone, relative to the logits' size, that counts as rounding.
ROUNDING = 0.05


class Way(enum.Enum):
    """How passes are shared, and so what their results depend on."""

    BY_TOKEN = "by token"  # on nothing: they are those of transformers' own loop
    FILLED = "filled up"  # on the company
    ROUNDED = "rounded"  # but for rounding, on the company


class Passes:
    """The forward passes of one model. Thread-safe."""

    def __init__(self, model: Any, prepare: Callable[[list[int], int], Forward], *, share: bool | None = None) -> None:
        """Make one of a model and a factory of Forwards, for a prompt and so many tokens.

        `share` None shares passes where results do not depend on it, and on a GPU; True, even where they do; False,
        never.
        """
        self._model = model
        self._prepare = prepare
        self._share = share
        self._trial = threading.RLock()
        self._way: Way | None = None  # None until it was tested
        self._is_shared = False  # known once it was tried
        self._lock = threading.RLock()  # entered by itself: a signal can't come between a lock's taking and its scope
        self._changed = threading.Condition(self._lock)
        self._queue: list[_Asked] = []
        self._here = 0  # number of requests that are decoding, and not waiting for their caller
        self._led_by = 0  # id of the thread that runs a pass; 0 while none does

    @property
    def is_shared(self) -> bool:
        """Whether concurrent requests share passes. The first use tests the model."""
        self._try_out()
        return self._is_shared

    @property
    def is_independent(self) -> bool:
        """Whether no result depends on other requests. Also True where passes are not shared."""
        self._try_out()
        return not self._is_shared or self._way is not Way.ROUNDED

    @property
    def is_by_token(self) -> bool:
        """Whether a pass over several tokens, such as forced ones, gives the same bits as a pass for each."""
        self._try_out()
        return self._is_shared and self._way is Way.BY_TOKEN

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """Count a request as decoding: passes wait a moment for it."""
        self._come(1)
        try:
            yield
        finally:
            self._come(-1)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Count a request that is here as waiting for its caller."""
        self._come(-1)
        try:
            yield
        finally:
            self._come(1)

    def __call__(self, forward: Forward, tokens: list[int]) -> torch.Tensor:
        """Feed tokens of a sequence; return the logits after the last one, `[1, width]`, in the model's dtype."""
        asked = _Asked(forward, tokens)
        with self._lock:
            self._queue.append(asked)
            self._changed.notify_all()
            try:
                while not asked.is_done:
                    if not self._led_by:
                        self._lead()
                    elif self._led_by == threading.get_ident():  # in a signal handler, inside of the pass
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
        """Run a pass for the whole queue. The lock must be held; it is released during the pass."""
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
                logits = _shared(self._model, [a.forward for a in batch], [a.tokens for a in batch], self._way)
                for asked, row in zip(batch, logits, strict=True):
                    asked.logits = row[None]
                return
            for asked in batch:
                asked.logits = asked.forward(asked.tokens)
        except BaseException as error:  # whatever it is, no request may wait for ever
            is_own = isinstance(error, Exception) and not is_injected(error)  # the pass's, and so every request's
            for asked in batch:
                if asked.logits is None:
                    asked.error = error if is_own else ModelError(f"a pass broke off: {error!r}")
            if not is_own:
                raise

    def _try_out(self) -> None:
        """Test once whether passes can be shared, and how."""
        with self._trial:
            if self._way is not None:
                return
            way, is_sound = Way.ROUNDED, False
            if self._share is not False and _is_shareable(self._model):
                self._model.set_attn_implementation(ATTENTION)
                try:
                    way, is_sound = _Trial(self._model, self._prepare).run()
                except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
                    if is_injected(error):
                        raise
            may_differ = self._share or self._model.device.type != "cpu"
            self._is_shared = bool(is_sound and (way is not Way.ROUNDED or may_differ))
            self._way = way
            if not self._is_shared and self._model.config._attn_implementation == ATTENTION:
                self._model.set_attn_implementation("sdpa")


class _Asked:
    """A queued request for a pass."""

    def __init__(self, forward: Forward, tokens: list[int]) -> None:
        self.forward = forward
        self.tokens = tokens
        self.logits: torch.Tensor | None = None
        self.error: BaseException | None = None
        self.is_done = False


def _is_shareable(model: Any) -> bool:
    """Whether the model's configuration is one whose passes can be shared."""
    if getattr(model, "_is_stateful", False) or not getattr(model, "_supports_attention_backend", False):
        return False
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = {str(rope.get("rope_type")), *(str(r.get("rope_type")) for r in rope.values() if isinstance(r, dict))}
    return getattr(config, "_attn_implementation", None) in ("sdpa", ATTENTION) and not kinds & {"dynamic", "longrope"}


class _Trial:
    """The test of a model: two sequences, in passes of several lengths, by transformers, together, and each alone."""

    #: Tokens that each sequence is fed, by pass; the first ones are prompts.
    STEPS = (([*range(3, 27)], [*range(40, 49)]), ([2], [7]), ([2, 7, 1], [8]), ([1], [8, 2]), ([6], [1]))
    PROMPTS = (22, 9)

    def __init__(self, model: Any, prepare: Callable[[list[int], int], Forward]) -> None:
        self._model = model
        self._prepare = prepare

    def run(self) -> tuple[Way, bool]:
        """Return the first way whose condition holds, and whether its results are right except for rounding."""
        own = self._own()
        if self._model.device.type == "cpu" and (undo := take_apart(self._model)) is not None:
            if _same(own, self._run(Way.BY_TOKEN, [0, 1])) and _same(own, self._run(Way.BY_TOKEN, [0], [1])):
                return Way.BY_TOKEN, True
            undo()
        together, alone = self._run(Way.FILLED, [0, 1]), self._run(Way.FILLED, [0], [1])
        is_sound = all(
            float((a - b).float().norm()) <= ROUNDING * float(a.float().norm())
            for a, b in zip(own, together, strict=True)
        )
        return (Way.FILLED if _same(together, alone) else Way.ROUNDED), is_sound

    def _own(self) -> list[torch.Tensor]:
        """Return the logits at the end of each step, `[width]`, by sequence, with transformers' own loop."""
        found = []
        for number, forward in enumerate(self._forwards()):
            for step in self.STEPS:
                tokens = iter(step[number])
                lengths = _pieces(forward, len(step[number]), Way.BY_TOKEN)
                *_, last = [forward([*itertools.islice(tokens, length)]) for length in lengths]
                found.append(last[0])
        return found

    def _run(self, way: Way, *groups: list[int]) -> list[torch.Tensor]:
        """Return the same from shared passes of those sequences."""
        forwards = self._forwards()
        found: dict[tuple[int, int], torch.Tensor] = {}
        for group in groups:
            for at, step in enumerate(self.STEPS):
                logits = _shared(self._model, [forwards[g] for g in group], [step[g] for g in group], way)
                found |= {(g, at): row for g, row in zip(group, logits, strict=True)}
        return [found[place] for place in sorted(found)]

    def _forwards(self) -> list[Forward]:
        prompts = (tokens[:length] for tokens, length in zip(self.STEPS[0], self.PROMPTS, strict=True))
        return [self._prepare(prompt, 16) for prompt in prompts]


def _same(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, some, others))


def _pieces(forward: Forward, count: int, way: Way) -> list[int]:
    """Return the lengths of the pieces, of so many tokens, for which attention is computed separately."""
    if way is not Way.BY_TOKEN:
        return [count]
    prompt = min(forward.prompt, count) if forward.is_first else 0
    return [prompt] * (prompt > 0) + [1] * (count - prompt)


def _is_plain(batch: list[_Asked], way: Way) -> bool:
    """Whether a pass is an ordinary one of the model's."""
    if len(batch) > 1 or way is Way.FILLED:
        return False
    return len(_pieces(batch[0].forward, len(batch[0].tokens), way)) == 1


@torch.no_grad()
def _shared(model: Any, forwards: list[Forward], tokens: list[list[int]], way: Way) -> torch.Tensor:
    """Run one pass over the new tokens of several sequences; return each one's last logits, `[sequences, width]`."""
    name, keeps = forwards[0].cache_name, forwards[0].keeps_logits
    caches = [forward.kwargs[name] for forward in forwards]
    layers = [layer for cache in caches for layer in cache.layers]
    if not all(type(cache) is DynamicCache for cache in caches) or not all(type(at) is DynamicLayer for at in layers):
        raise ValueError("a cache of this kind can't be shared")
    lengths = [_pieces(forward, len(new), way) for forward, new in zip(forwards, tokens, strict=True)]
    pasts = [cache.get_seq_length() for cache in caches]
    rows = ROWS if way is Way.FILLED else 1
    fill = -sum(map(len, tokens)) % rows
    device = model.device
    lasts = [end - 1 for end in itertools.accumulate(map(len, tokens))]
    kept = torch.tensor(lasts + lasts[-1:] * (-len(lasts) % rows), device=device)
    positions = [past + at for past, new in zip(pasts, tokens, strict=True) for at in range(len(new))]
    kwargs = {key: value for key, value in forwards[0].kwargs.items() if key not in (name, "logits_to_keep")}
    if keeps:
        kwargs["logits_to_keep"] = kept
    with pieces([*itertools.chain(*lengths), *[fill] * bool(fill)]):
        logits = model(
            input_ids=torch.tensor([[*itertools.chain(*tokens), *[0] * fill]], device=device),
            position_ids=torch.tensor([positions + [0] * fill], device=device),
            attention_mask=torch.ones((1, 1, 1, 1), dtype=torch.bool, device=device),  # marks a mask as made
            use_cache=True,
            return_dict=True,
            **{name: _Shared(caches, lengths, pasts, fill, device)},
            **kwargs,
        ).logits[0]
    for forward in forwards:
        forward.is_first = False
    found: torch.Tensor = logits[: len(tokens)] if keeps else logits[kept[: len(tokens)]]
    return found


class _Parts(list[torch.Tensor]):
    """The keys or the values of every sequence, in place of one tensor."""

    shared: _Shared


class _Shared(DynamicCache):  # type: ignore[misc]  # it is untyped
    """The caches of all sequences in one pass. New keys and values are distributed among them.

    Padding tokens at the end of the pass are not cached, and attend to nothing.
    """

    def __init__(
        self, caches: list[Any], lengths: list[list[int]], pasts: list[int], fill: int, device: torch.device
    ) -> None:
        super().__init__()
        self.caches = caches
        self.lengths = [*map(sum, lengths), fill]
        #: For each piece: its sequence, its length, the tokens up to its end, and its mask.
        self.pieces = [
            (number, length, end, _mask(length, end - length, device))
            for number, (past, parts) in enumerate(zip(pasts, lengths, strict=True))
            for length, end in zip(parts, [*itertools.accumulate(parts, initial=past)][1:], strict=True)
        ]

    def update(self, keys: Any, values: Any, layer: int, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Append to each cache its new keys and values; return all of them, by sequence."""
        news = zip(self.caches, keys.split(self.lengths, dim=2), values.split(self.lengths, dim=2), strict=False)
        pairs = [cache.update(key, value, layer, *args, **kwargs) for cache, key, value in news]
        all_keys, all_values = _Parts(key for key, _ in pairs), _Parts(value for _, value in pairs)
        all_keys.shared = self
        return all_keys, all_values


def _mask(length: int, past: int, device: torch.device) -> torch.Tensor | None:
    """Return transformers' mask for a sequence alone, or None where its attention function needs none."""
    if length == 1 or past == 0:
        return None
    return torch.ones((length, past + length), dtype=torch.bool, device=device).tril(past)[None, None]


def _attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **kwargs: Any) -> Any:
    """Compute attention piece by piece in a shared pass, and by transformers' function in any other."""
    if not isinstance(key, _Parts):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    shared, outputs, at = key.shared, [], 0
    for number, length, end, mask in shared.pieces:
        piece, keys, values = query[:, :, at : at + length], key[number][:, :, :end], value[number][:, :, :end]
        outputs.append(sdpa_attention_forward(module, piece, keys, values, mask, **kwargs)[0])
        at += length
    if fill := query.shape[2] - at:
        outputs.append(torch.zeros_like(outputs[0][:, :1]).expand(-1, fill, -1, -1))
    return torch.cat(outputs, dim=1), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
