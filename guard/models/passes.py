"""Forward passes of one model that concurrent requests share, in such a way that no result depends on who else runs.

Each thread decodes its own request and asks here for its next pass. While one pass runs, others queue up; whoever
comes next takes the whole queue along, so batches form under load and nobody waits without. There is no thread of
Guard's: the first to ask runs the pass for all, and who stops asking has left.

A shared pass lays the new tokens of all sequences side by side in one row, without padding to a common length. What
works on single tokens (nearly all of a model) does not see the difference; attention is computed sequence by sequence
on the cache that each would have alone, with transformers' own function. What is left is how the machine's matrix
product rounds: differently for one row than for more. So passes are filled up to two rows, which costs next to nothing,
and a model is tried out once (`_trial`): if its logits are then the same bits whatever stands beside them, passes are
shared. If not, sharing would show in the last digit of a logit, and is done where it was asked for, and on GPUs, where
it pays most.

Only models whose attention goes through transformers' interface, over the whole sequence, are shared: a sliding window,
a recurrent state, or positions that depend on the longest sequence are passes of their own, one after the other.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from guard.decoding import Forward
from guard.errors import ModelError

#: Seconds for which a pass waits for requests that are between two passes.
PATIENCE = 0.005
#: The most sequences in one pass.
MOST = 64
#: The name of the attention function that knows shared passes; for all others it is transformers' "sdpa".
ATTENTION = "guard"
#: To a multiple of how many rows a pass is filled up, so that its result is the same in any company: libraries multiply
#: a single row by other kernels than several, and that shows once in many thousand numbers.
ROWS = 2
#: How far a shared pass may be from a pass alone, relative to the logits' size, to be the same but for rounding.
ROUNDING = 0.05


class Passes:
    """The passes of one model; from any thread."""

    def __init__(self, model: Any, prepare: Callable[[list[int], int], Forward], *, share: bool | None = None) -> None:
        """Take the model, and what makes a Forward for a prompt and so many tokens.

        `share` None: where results do not depend on it, and on a GPU; True: even where they do; False: never.
        """
        self._model = model
        self._prepare = prepare
        self._share = share
        self._trial = threading.Lock()
        self._rows: int | None = None  # to which a pass is filled up; 0: results depend on the company; None: untried
        self._is_shared = False  # known once it was tried
        self._changed = threading.Condition()
        self._queue: list[_Asked] = []
        self._here = 0  # requests that are decoding and not waiting for their caller
        self._is_led = False  # whether a thread runs a pass

    @property
    def is_shared(self) -> bool:
        """Whether concurrent requests share passes; tried out at the first one."""
        self._try_out()
        return self._is_shared

    @property
    def is_independent(self) -> bool:
        """Whether no result depends on what else runs: true as well where passes are not shared."""
        self._try_out()
        return not self._is_shared or bool(self._rows)

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

    def __call__(self, forward: Forward, tokens: list[int]) -> torch.Tensor:
        """Feed a sequence; returns the logits after its last token, `[1, width]`."""
        asked = _Asked(forward, tokens)
        with self._changed:
            self._queue.append(asked)
            self._changed.notify_all()
            try:
                while not asked.is_done:
                    if self._is_led:
                        self._changed.wait()
                    else:
                        self._lead()
            finally:
                if asked in self._queue:  # interrupted
                    self._queue.remove(asked)
        if asked.error is not None:
            raise asked.error
        assert asked.logits is not None
        return asked.logits

    def _come(self, change: int) -> None:
        with self._changed:
            self._here += change
            self._changed.notify_all()

    def _lead(self) -> None:
        """Run a pass for all that queue; called with the lock, which is not held meanwhile."""
        self._is_led = True
        batch: list[_Asked] = []
        try:
            self._wait_for_others()
            batch, self._queue = self._queue[:MOST], self._queue[MOST:]
            self._changed.release()
            try:
                self._run(batch)
            finally:
                self._changed.acquire()
        finally:
            self._is_led = False
            for asked in batch:
                asked.is_done = True
            self._changed.notify_all()

    def _wait_for_others(self) -> None:
        end = time.monotonic() + PATIENCE
        while len(self._queue) < min(self._here, MOST) and (left := end - time.monotonic()) > 0:
            if self._rows is not None and not self._is_shared:
                return
            self._changed.wait(left)

    def _run(self, batch: list[_Asked]) -> None:
        try:
            self._try_out()
            shared = batch if self._is_shared and (len(batch) > 1 or (self._rows or 1) > 1) else []
            if shared:
                logits = _shared(self._model, [a.forward for a in shared], [a.tokens for a in shared], self._rows or 1)
                for asked, row in zip(shared, logits, strict=True):
                    asked.logits = row[None]
                return
            for asked in batch:
                asked.logits = asked.forward(asked.tokens)
        except BaseException as error:  # whatever it is, nobody may wait for ever
            for asked in batch:
                if asked.logits is None:
                    asked.error = error if isinstance(error, Exception) else ModelError(f"a pass broke off: {error!r}")
            if not isinstance(error, Exception):
                raise

    def _try_out(self) -> None:
        """Find out once whether passes can be shared, and to how many rows they must be filled up."""
        with self._trial:
            if self._rows is not None:
                return
            rows, is_sound = 0, False
            if self._share is not False and _is_shareable(self._model):
                self._model.set_attn_implementation(ATTENTION)
                with contextlib.suppress(RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError):
                    rows, is_sound = _trial(self._model, self._prepare)
            may_differ = self._share or self._model.device.type != "cpu"
            self._is_shared = is_sound and bool(rows or may_differ)
            self._rows = rows
            if not self._is_shared and self._model.config._attn_implementation == ATTENTION:
                self._model.set_attn_implementation("sdpa")


class _Asked:
    """A pass that somebody waits for."""

    def __init__(self, forward: Forward, tokens: list[int]) -> None:
        self.forward = forward
        self.tokens = tokens
        self.logits: torch.Tensor | None = None
        self.error: Exception | None = None
        self.is_done = False


def _is_shareable(model: Any) -> bool:
    """Whether the model is of a kind that can be shared, by what it says of itself."""
    if getattr(model, "_is_stateful", False) or not getattr(model, "_supports_attention_backend", False):
        return False
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = {str(rope.get("rope_type")), *(str(r.get("rope_type")) for r in rope.values() if isinstance(r, dict))}
    return getattr(config, "_attn_implementation", None) in ("sdpa", ATTENTION) and not kinds & {"dynamic", "longrope"}


def _trial(model: Any, prepare: Callable[[list[int], int], Forward]) -> tuple[int, bool]:
    """To how many rows passes must be filled up (0: that does not help), and whether they are sound."""
    first, second = [*range(3, 27)], [*range(40, 49)]
    steps = [[first, second], [[2], [7]], [[2, 7, 1], [8]], [[1], [8, 2]], [[6], [1]]]

    def run(rows: int, groups: list[list[int]], steps: list[list[list[int]]]) -> list[torch.Tensor]:
        forwards = [prepare(chunk[:1], 8) for chunk in steps[0]]
        found = [torch.empty(0)] * (len(steps) * len(forwards))
        for number, step in enumerate(steps):
            for group in groups:
                chosen, tokens = [forwards[g] for g in group], [step[g] for g in group]
                logits = _shared(model, chosen, tokens, rows) if rows else chosen[0](tokens[0])
                for g, row in zip(group, logits, strict=True):
                    found[number * len(forwards) + g] = row
        return found

    together, alone = run(ROWS, [[0, 1]], steps), run(ROWS, [[0], [1]], steps)
    own = run(0, [[0], [1]], steps[:2])
    is_sound = all(
        float((a - b).float().norm()) <= ROUNDING * float(a.float().norm()) for a, b in zip(own, together, strict=False)
    )
    return (ROWS if all(map(torch.equal, together, alone)) else 0), is_sound


@torch.no_grad()
def _shared(model: Any, forwards: list[Forward], tokens: list[list[int]], rows: int) -> torch.Tensor:
    """One pass over the new tokens of several sequences, filled up to a multiple of `rows`; each one's last logits."""
    name, keeps = forwards[0].cache_name, forwards[0].keeps_logits
    caches = [forward.kwargs[name] for forward in forwards]
    layers = [layer for cache in caches for layer in cache.layers]
    if not all(type(cache) is DynamicCache for cache in caches) or not all(type(at) is DynamicLayer for at in layers):
        raise ValueError("a cache of this kind can't be shared")
    lengths = [len(piece) for piece in tokens]
    pasts = [cache.get_seq_length() for cache in caches]
    fill = -sum(lengths) % rows
    device = model.device
    lasts = [end - 1 for end in itertools.accumulate(lengths)]
    kept = torch.tensor(lasts + lasts[-1:] * (-len(lasts) % rows), device=device)
    positions = [past + at for past, length in zip(pasts, lengths, strict=True) for at in range(length)]
    kwargs = {key: value for key, value in forwards[0].kwargs.items() if key not in (name, "logits_to_keep")}
    if keeps:
        kwargs["logits_to_keep"] = kept
    logits = model(
        input_ids=torch.tensor([[*itertools.chain(*tokens), *[0] * fill]], device=device),
        position_ids=torch.tensor([positions + [0] * fill], device=device),
        attention_mask=torch.ones((1, 1, 1, 1), dtype=torch.bool, device=device),  # made already, it says: see _Shared
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
    """The keys or values of every sequence, in place of one tensor."""

    shared: _Shared


class _Shared(DynamicCache):  # type: ignore[misc]  # it is untyped
    """The caches of the sequences of one pass: what a model writes is shared out among them.

    Tokens that only fill the pass up, at its end, are kept nowhere and attend to nothing.
    """

    def __init__(
        self, caches: list[Any], lengths: list[int], pasts: list[int], fill: int, device: torch.device
    ) -> None:
        super().__init__()
        self.caches = caches
        self.lengths = [*lengths, fill]
        self.masks = [_mask(length, past, device) for length, past in zip(lengths, pasts, strict=True)]

    def update(self, keys: Any, values: Any, layer: int, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Append to each cache what is its own; returns the parts."""
        news = zip(self.caches, keys.split(self.lengths, dim=2), values.split(self.lengths, dim=2), strict=False)
        pairs = [cache.update(key, value, layer, *args, **kwargs) for cache, key, value in news]
        all_keys, all_values = _Parts(key for key, _ in pairs), _Parts(value for _, value in pairs)
        all_keys.shared = self
        return all_keys, all_values


def _mask(length: int, past: int, device: torch.device) -> torch.Tensor | None:
    """What transformers makes for a sequence alone: none where its attention function needs none."""
    if length == 1 or past == 0:
        return None
    return torch.ones((length, past + length), dtype=torch.bool, device=device).tril(past)[None, None]


def _attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **kwargs: Any) -> Any:
    """Attention sequence by sequence in a shared pass, transformers' own in any other."""
    if not isinstance(key, _Parts):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    shared = key.shared
    *queries, filling = query.split(shared.lengths, dim=2)
    parts = zip(queries, key, value, shared.masks, strict=True)
    outputs = [sdpa_attention_forward(module, q, k, v, mask, **kwargs)[0] for q, k, v, mask in parts]
    if filling.shape[2]:
        outputs.append(torch.zeros_like(outputs[0][:, :1]).expand(-1, filling.shape[2], -1, -1))
    return torch.cat(outputs, dim=1), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
