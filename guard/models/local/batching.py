"""Shared passes of transformers' models, with transformers' own attention function.

guard/models/local/passes.py says what a shared pass is. Products that round one row otherwise than several are taken
apart here (guard/models/local/row_invariant.py). Only models whose attention goes through transformers' interface, over
the whole sequence, are shared: a sliding window, a recurrent state, or positions that depend on the longest sequence
are passes of their own, one after the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from guard.decoding.torch_loop import Forward
from guard.models.local.passes import Way, attending
from guard.models.local.row_invariant import Apart, pieces, take_apart

#: To a multiple of how many rows a pass is filled up in the second way.
ROWS = 2
#: The name of the attention function that knows shared passes; for all others it is transformers' "sdpa".
ATTENTION = "guard"


class TransformersPasses:
    """A model of transformers, as passes are made of it."""

    def __init__(self, model: Any, prepare: Callable[[list[int], int], Forward]) -> None:
        """Take the model, and what makes a Forward for a prompt and so many tokens."""
        self.device: torch.device = model.device
        self.prepare = prepare
        self._model = model
        self._apart: Apart | None = None

    def is_shareable(self) -> bool:
        """See Shareable."""
        model = self._model
        if getattr(model, "_is_stateful", False) or not getattr(model, "_supports_attention_backend", False):
            return False
        config = model.config.get_text_config()
        rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
        kinds = {str(rope.get("rope_type")), *(str(r.get("rope_type")) for r in rope.values() if isinstance(r, dict))}
        is_known = getattr(config, "_attn_implementation", None) in ("sdpa", ATTENTION)
        if not is_known or kinds & {"dynamic", "longrope"}:
            return False
        model.set_attn_implementation(ATTENTION)
        return True

    def take_apart(self) -> bool:
        """See Shareable."""
        if self.device.type != "cpu":
            return False
        self._apart = take_apart(self._model)
        return self._apart.is_cheap

    def run(self, forwards: Sequence[Forward], tokens: Sequence[list[int]], way: Way) -> torch.Tensor:
        """See Shareable."""
        return _shared(self._model, forwards, tokens, way)

    def give_up(self) -> None:
        """See Shareable."""
        if self._apart is not None:
            self._apart.undo()
            self._apart = None
        if self._model.config._attn_implementation == ATTENTION:
            self._model.set_attn_implementation("sdpa")


@torch.no_grad()
def _shared(model: Any, forwards: Sequence[Forward], tokens: Sequence[list[int]], way: Way) -> torch.Tensor:
    """One pass over the new tokens of several sequences; each one's last logits, `[sequences, width]`."""
    name, keeps = forwards[0].cache_name, forwards[0].keeps_logits
    caches = [forward.kwargs[name] for forward in forwards]
    layers = [layer for cache in caches for layer in cache.layers]
    if not all(type(cache) is DynamicCache for cache in caches) or not all(type(at) is DynamicLayer for at in layers):
        raise ValueError("a cache of this kind can't be shared")
    lengths = [attending(forward, len(new), way) for forward, new in zip(forwards, tokens, strict=True)]
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
    with pieces([*itertools.chain(*lengths), *[fill] * bool(fill)], rows):
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
