"""Prices of tokens in US dollars: those that genai-prices ships with, read without the network."""

from __future__ import annotations

import functools
from typing import Any


def cost(
    model: str,
    prompt_tokens: int,
    completion_tokens: int,
    *,
    cached_tokens: int = 0,
    written_tokens: int = 0,
    provider: str | None = None,
    url: str | None = None,
) -> float | None:
    """Return the price of one answer in US dollars, or None where it is unknown.

    `model` may name its provider: "openai/gpt-5-mini". `url` is the address that was asked, which tells the provider
    too; an unknown provider has no known price. `cached_tokens` are the tokens of the prompt that the provider had
    cached, and `written_tokens` those that it put there, which some charge more for.
    """
    import genai_prices

    if provider is None and url is None and "/" in model:
        provider, _, model = model.partition("/")
    if not _is_known(model, provider, url):
        return None
    cached_tokens = min(cached_tokens, prompt_tokens)
    usage = genai_prices.Usage(
        input_tokens=prompt_tokens,
        cache_read_tokens=cached_tokens,
        cache_write_tokens=min(written_tokens, prompt_tokens - cached_tokens),
        output_tokens=completion_tokens,
    )
    try:
        return _price(usage, model, provider, url)
    except (LookupError, ValueError):
        return None


@functools.lru_cache(1_024)
def _is_known(model: str, provider: str | None, url: str | None) -> bool:
    """Whether a model has a known price. Most models on one's own server have none."""
    import genai_prices

    try:
        _price(genai_prices.Usage(), model, provider, url)
    except LookupError:
        return False
    except ValueError:  # about the usage, which is the caller's
        pass
    return True


def _price(usage: Any, model: str, provider: str | None, url: str | None) -> float:
    import genai_prices

    if provider is not None:
        return float(genai_prices.calc_price(usage, model, provider_id=provider).total_price)
    return float(genai_prices.calc_price(usage, model, provider_api_url=url).total_price)
