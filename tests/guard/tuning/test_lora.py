"""The adapter: attention in short rows is computed another way, with the same result, and only while it trains."""

from __future__ import annotations

import pytest
import tiny
import torch

from guard.tuning import lora
from guard.tuning.lora import Adapter


def trained(adapter: Adapter, ids: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the hidden states of rows, and the gradients of a sum of them."""
    adapter.attend(ids.shape[1])
    hidden = adapter.upper(ids, adapter.lower(ids))
    hidden.square().sum().backward()  # type: ignore[no-untyped-call] # torch's own has no annotations
    gradients = [parameter.grad.clone() for parameter in adapter.parameters if parameter.grad is not None]
    for parameter in adapter.parameters:
        parameter.grad = None
    return hidden.detach(), gradients


@pytest.mark.parametrize("layers", [1, 2])
def test_short_rows_have_the_states_and_gradients_of_the_fused_kernel(
    layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.llama(scale=1.0)
    model.set_attn_implementation("sdpa")
    adapter = Adapter(model, layers, 4, 0)
    ids = torch.randint(0, 50, (3, 17), generator=torch.Generator().manual_seed(1))
    plain = trained(adapter, ids)
    assert model.config._attn_implementation == "eager"
    monkeypatch.setattr(lora, "SHORT", 16)
    fused = trained(adapter, ids)
    assert model.config._attn_implementation == "sdpa"
    torch.testing.assert_close(plain, fused, rtol=1e-4, atol=1e-4)
    assert any(gradient.abs().max() > 1e-3 for gradient in plain[1])


def test_a_merged_model_attends_as_it_did() -> None:
    model = tiny.llama(scale=1.0)
    before = model.config._attn_implementation
    adapter = Adapter(model, 1, 4, 0)
    adapter.attend(8)
    adapter.merge()
    assert model.config._attn_implementation == before


def test_another_implementation_than_the_fused_one_stays() -> None:
    model = tiny.llama(scale=1.0)
    model.set_attn_implementation("eager")
    adapter = Adapter(model, 1, 4, 0)
    for length in (8, 10_000):
        adapter.attend(length)
        assert model.config._attn_implementation == "eager"
