"""Sampling on the device: the kernels against their torch twin, and the twin against what the module says."""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.kernels.gpu import sample
from guard.kernels.gpu.sample import BLOCK, NOT_A_NUMBER, NOTHING

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # the CPU's is Triton's interpreter
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def settings_of(rows: int, draw: Any) -> dict[str, torch.Tensor]:
    """Each row's settings."""

    def column(values: st.SearchStrategy[Any], dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([draw(values) for _ in range(rows)], dtype=dtype)

    return {
        "temperature": column(st.sampled_from([0.0, 0.01, 0.7, 1.0, 3.0]), torch.float32),
        "top_k": column(st.sampled_from([0, 0, 1, 2, 7, 5000]), torch.int32),
        "top_p": column(st.sampled_from([1.0, 1.0, 0.01, 0.5, 0.95]), torch.float32),
        "seed": column(st.integers(-(2**63), 2**63 - 1), torch.int64),
        "step": column(st.integers(0, 2**31 - 1), torch.int32),
    }


@st.composite
def batches(draw: Any, widths: tuple[int, ...], rows: int = 2) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
    """Logits, masks, and the rest; few distinct logits as often as many, so that there are ties."""
    count = draw(st.integers(0, rows))
    width = max(0, draw(st.sampled_from(widths)) + draw(st.integers(-2, 2)))
    words = max(0, -(-width // 32) + draw(st.integers(-1, 1)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    logits = torch.randn(count, width, generator=generator) * draw(st.sampled_from([1.0, 5.0]))
    if draw(st.booleans()):
        logits = logits.round()
    logits[torch.rand(logits.shape, generator=generator) < 0.1] = -math.inf
    if draw(st.integers(0, 4)) == 0:
        logits[torch.rand(logits.shape, generator=generator) < 0.01] = draw(st.sampled_from([math.nan, math.inf]))
    logits = logits.to(draw(st.sampled_from(FLOATS)))
    spare = draw(st.integers(0, 1))  # masks that no row reads
    bitmask = torch.randint(-(2**31), 2**31, (count + spare, words), generator=generator).to(torch.int32)
    bitmask[torch.rand(bitmask.shape, generator=generator) < draw(st.sampled_from([0.0, 0.5, 0.97, 1.0]))] = 0
    at = torch.randint(0, max(1, count + spare), (count,), generator=generator).to(torch.int32)
    return logits, bitmask, {**settings_of(count, draw), "at": at}


def laid_out(logits: torch.Tensor, step: int, transposed: bool) -> torch.Tensor:
    """The same logits with other strides."""
    rows, width = logits.shape
    buffer = torch.full((rows, width * step + 3), 7.0).to(logits)
    buffer[:, 1 : 1 + width * step : step] = logits
    buffer = buffer.T.contiguous().T if transposed else buffer
    return buffer[:, 1 : 1 + width * step : step]


@settings(max_examples=20)
@given(batch=batches((0, 1, 33, 511, BLOCK, BLOCK + 100)), step=st.integers(1, 2), transposed=st.booleans())
def test_the_kernels_agree_with_their_twin_at_odd_widths_and_strides(
    batch: tuple[torch.Tensor, torch.Tensor, dict[str, Any]], step: int, transposed: bool
) -> None:
    """The same token for the same numbers."""
    logits, bitmask, rest = batch
    expected = sample.sample_torch(logits, bitmask, **rest)
    moved = {name: tensor.to(DEVICE) for name, tensor in rest.items()}
    view = laid_out(logits.to(DEVICE), step, transposed)
    before = view.clone()
    drawn = sample.sample(view, bitmask.to(DEVICE), **moved)
    assert drawn.dtype == torch.int32
    assert drawn.tolist() == expected.tolist()
    torch.testing.assert_close(view, before, rtol=0, atol=0, equal_nan=True)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_the_kernel_keeps_what_its_twin_keeps(seed: int) -> None:
    """Token by token, whatever is drawn from them; every example asks for top-k, top-p, or both."""
    r, generator = Random(seed), torch.Generator().manual_seed(seed)
    width = r.choice([1, 2, 5, 33, 70, 511, BLOCK + 3])
    logits = torch.randn(1, width, generator=generator) * r.choice([1.0, 5.0])
    if r.random() < 0.5:
        logits = (logits * r.choice([1, 2])).round()  # ties, and both zeros
    logits[torch.rand(logits.shape, generator=generator) < r.choice([0.0, 0.1])] = -math.inf
    logits = logits.to(r.choice(FLOATS))
    bitmask = torch.randint(-(2**31), 2**31, (1, -(-width // 32)), generator=generator).to(torch.int32)
    bitmask |= torch.randint(-(2**31), 2**31, bitmask.shape, generator=generator).to(torch.int32)
    k, p = r.choice([0, 1, 2, 3, 7, 40, width]), r.choice([0.01, 0.3, 0.5, 0.9, 0.999])
    rest = {
        "temperature": torch.tensor([r.choice([0.1, 0.7, 1.0, 3.0])]),
        "top_k": torch.tensor([k], dtype=torch.int32),
        "top_p": torch.tensor([p if k == 0 or r.random() < 0.5 else 1.0]),
        "at": torch.zeros(1, dtype=torch.int32),
    }
    x, kept = sample.kept_torch(logits, bitmask, **rest)
    moved = {name: tensor.to(DEVICE) for name, tensor in rest.items()}
    floors = sample.find_floors(logits.to(DEVICE), bitmask.to(DEVICE), **moved).cpu()
    bits = torch.where(x == 0, 0.0, x).view(torch.int32)
    keys = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    allowed = sample.kept_torch(logits, bitmask, **{**rest, "temperature": torch.zeros(1)})[1]
    assert torch.equal(allowed & (keys >= floors[:, None]), kept)


def test_both_zeros_are_one_number() -> None:
    """They tie at the k-th greatest."""
    kept = sample.find_floors(
        torch.tensor([[0.0, -0.0, -1.0]], device=DEVICE),
        torch.full((1, 1), -1, dtype=torch.int32, device=DEVICE),
        torch.ones(1, device=DEVICE),
        torch.ones(1, dtype=torch.int32, device=DEVICE),
        torch.ones(1, device=DEVICE),
        torch.zeros(1, dtype=torch.int32, device=DEVICE),
    )
    assert kept.tolist() == [0]  # the key of +0.0; that of the bits of -0.0 would be -1
    logits = torch.tensor([[-0.0, 0.0, -1.0]], device=DEVICE)
    full, ones = torch.full((1, 1), -1, dtype=torch.int32, device=DEVICE), torch.ones(1, device=DEVICE)
    greedy, count = torch.zeros(1, device=DEVICE), torch.zeros(1, dtype=torch.int32, device=DEVICE)
    assert sample.sample(logits, full, greedy, count, ones, count.long(), count).tolist() == [0]
    draws = {int(sample.sample(logits, full, ones, count + 1, ones, count.long(), count + step)) for step in range(8)}
    assert draws == {0, 1}


def said(logits: list[float], allowed: list[bool], temperature: float, k: int, p: float, noise: list[float]) -> int:
    """What the module says, word by word."""
    if any(a and (math.isnan(x) or x == math.inf) for x, a in zip(logits, allowed, strict=True)):
        return NOT_A_NUMBER
    kept = [t for t, a in enumerate(allowed) if a]
    if not kept:
        return NOTHING
    greatest = max(logits[t] for t in kept)
    if temperature < 1e-3:
        return next(t for t in kept if logits[t] == greatest)
    if 0 < k <= len(kept):
        kth = sorted((logits[t] for t in kept), reverse=True)[k - 1]
        kept = [t for t in kept if logits[t] >= kth]
    if p < 1 and greatest > -math.inf:
        weight = {t: math.floor(2**30 * math.exp((logits[t] - greatest) / temperature)) for t in kept}
        for value in sorted({logits[t] for t in kept}, reverse=True):
            if sum(w for t, w in weight.items() if logits[t] >= value) >= p * sum(weight.values()):
                kept = [t for t in kept if logits[t] >= value]
                break
    return max(kept, key=lambda t: (logits[t] / temperature - math.log(noise[t]), -t))


@given(
    logits=st.lists(st.sampled_from([-math.inf, -2.0, -0.0, 0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=40),
    bad=st.sampled_from([None, None, None, None, math.nan, math.inf]),
    word=st.integers(-(2**31), 2**31 - 1),
    temperature=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    k=st.integers(0, 6),
    p=st.sampled_from([1.0, 0.75, 0.5, 0.25, 0.01]),
    seed=st.integers(0, 2**63 - 1),
    step=st.integers(0, 2**31 - 1),
)
def test_the_twin_says_what_the_module_says(
    logits: list[float], bad: float | None, word: int, temperature: float, k: int, p: float, seed: int, step: int
) -> None:
    """Ties in the logits, at the k-th, and in the sum of weights."""
    if bad is not None:
        logits[-1] = bad
    width = len(logits)
    allowed = [t < 32 and bool(word >> t & 1) for t in range(width)]
    bits = sample.philox_torch(torch.tensor([seed]), torch.tensor([step]), width)[0].tolist()
    noise = [-math.log1p(-min((b >> 1) + 0.5, 2**31 - 2**7) / 2**31) for b in bits]
    drawn = sample.sample_torch(
        torch.tensor([logits]),
        torch.tensor([[word]], dtype=torch.int32),
        torch.tensor([temperature]),
        torch.tensor([k], dtype=torch.int32),
        torch.tensor([p]),
        torch.tensor([seed]),
        torch.tensor([step], dtype=torch.int32),
    )
    assert drawn.tolist() == [said(logits, allowed, temperature, k, p, noise)]


def test_random_numbers_are_those_of_philox() -> None:
    """The known answers of Random123 for a counter and a key of zeros, and a key of 64 bits told from its halves."""
    zero = sample.philox_torch(torch.tensor([0]), torch.tensor([0]), 4)
    assert zero.tolist() == [[0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]]
    keys = torch.tensor([1, 1 << 32, -1])
    assert len({tuple(row) for row in sample.philox_torch(keys, torch.zeros(3), 4).tolist()}) == 3


def test_tokens_are_drawn_as_often_as_their_weights_say() -> None:
    """20,000 rows that differ in their seeds, and as many that differ in their steps, within four deviations."""
    rows, weights = 20_000, [0.5, 0.25, 0.15, 0.1]
    for seed, step in ((range(rows), [3] * rows), ([3] * rows, range(rows))):
        drawn = sample.sample_torch(
            torch.tensor(weights).log().expand(rows, 4),
            torch.full((1, 1), -1, dtype=torch.int32),
            torch.ones(rows),
            torch.zeros(rows, dtype=torch.int32),
            torch.ones(rows),
            torch.tensor(list(seed)),
            torch.tensor(list(step), dtype=torch.int32),
            at=torch.zeros(rows, dtype=torch.int32),
        )
        found = Counter(drawn.tolist())
        for token, weight in enumerate(weights):
            assert abs(found[token] - rows * weight) < 4 * math.sqrt(rows * weight * (1 - weight))


ROW = {
    "logits": torch.zeros(1, 4),
    "bitmask": torch.zeros(1, 1, dtype=torch.int32),
    "temperature": torch.zeros(1),
    "top_k": torch.zeros(1, dtype=torch.int32),
    "top_p": torch.ones(1),
    "seed": torch.zeros(1, dtype=torch.int64),
    "step": torch.zeros(1, dtype=torch.int32),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(4)}, r"logits of shape \(4,\) and a bitmask of \(1, 1\) must be rows"),
        ({"bitmask": torch.zeros(2, 1, dtype=torch.int32)}, "must have equally many rows"),
        ({"bitmask": torch.zeros(1, 1)}, "a bitmask of torch.float32 int32"),
        ({"top_k": torch.zeros(1)}, r"top_k of torch.float32\(1,\) must be torch.int32\[1\], contiguous"),
        ({"seed": torch.zeros(2, dtype=torch.int64)}, r"seed of torch.int64\(2,\) must be torch.int64\[1\]"),
        ({"step": torch.zeros(1, dtype=torch.int32, device="meta")}, "step on meta must be where the logits are"),
    ],
)
def test_what_cannot_be_sampled_is_a_value_error_that_shows_it(change: dict[str, torch.Tensor], message: str) -> None:
    """Before anything runs."""
    with pytest.raises(ValueError, match=message):
        sample.sample(**{**ROW, **change})
