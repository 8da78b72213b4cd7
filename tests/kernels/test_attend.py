"""Attention of a few rows over a cache, against torch's; each row has the bits that it has alone."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from guard.kernels._native import attend  # noqa: E402 (behind the check)


def _attend(queries: torch.Tensor, cache: torch.Tensor, past: int) -> torch.Tensor:
    rows, heads, size = queries.shape
    found = torch.empty((rows, heads, size), dtype=torch.bfloat16)
    attend(
        queries.data_ptr(), queries.stride(0), cache.data_ptr(), cache.stride(0), found.data_ptr(), rows, past, heads,
        len(cache) // 2, size,
    )  # fmt: skip
    return found


def _by_torch(queries: torch.Tensor, cache: torch.Tensor, past: int) -> torch.Tensor:
    """The twin: row by row, in float64."""
    rows, heads, _ = queries.shape
    keys, values = (part.double().repeat_interleave(2 * heads // len(cache), 0) for part in cache.chunk(2))
    found = []
    for row in range(rows):
        count = past + row + 1
        scores = torch.einsum("hd,htd->ht", queries[row].double(), keys[:, :count]) / queries.shape[-1] ** 0.5
        found.append(torch.einsum("ht,htd->hd", scores.softmax(-1), values[:, :count]))
    return torch.stack(found)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
@pytest.mark.parametrize(("heads", "groups", "size"), [(9, 3, 64), (4, 4, 16), (8, 1, 80), (4, 2, 128), (5, 1, 32)])
def test_attention_is_torch_s(heads: int, groups: int, size: int, scale: float) -> None:
    random = torch.Generator().manual_seed(heads)
    cache = torch.randn((2 * groups, 70, size), generator=random).bfloat16()
    rows = (torch.randn((4, heads + 2 * groups, size), generator=random) * scale).bfloat16()[:, :heads]
    for past in (0, 1, 15, 16, 31, 66):
        found, expected = _attend(rows, cache, past), _by_torch(rows, cache, past)
        assert torch.allclose(found.double(), expected, rtol=2**-7, atol=1e-3), past
        alone = [_attend(rows[row : row + 1], cache, past + row) for row in range(4)]
        assert torch.equal(found, torch.cat(alone)), past


def test_what_is_behind_a_row_is_not_seen() -> None:
    """Whatever lies there, such as what memory held before."""
    cache = torch.randn((2, 40, 16), generator=torch.Generator().manual_seed(1)).bfloat16()
    rows = torch.ones((1, 1, 16), dtype=torch.bfloat16)
    before = _attend(rows, cache, 20)
    cache[:, 21:] = float("nan")
    assert torch.equal(_attend(rows, cache, 20), before)


@pytest.mark.parametrize("wrong", [{"past": 40}, {"heads": 3}, {"size": 24}, {"groups": 0}, {"rows": -1}])
def test_sizes_that_no_attention_has_are_refused(wrong: dict[str, int]) -> None:
    cache = torch.zeros((4, 40, 16), dtype=torch.bfloat16)
    sizes = {"rows": 1, "past": 3, "heads": 2, "groups": 2, "size": 16, **wrong}
    with pytest.raises(ValueError, match="no attention has"):
        attend(queries=cache.data_ptr(), query_stride=32, cache=cache.data_ptr(), cache_stride=40 * 16,
               found=cache.data_ptr(), **sizes)  # fmt: skip
