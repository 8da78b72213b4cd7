"""What tokens cost, in US dollars: the prices that genai-prices ships with, read without the network."""

from __future__ import annotations


def cost(
    model: str,
    prompt_tokens: int,
    completion_tokens: int,
    *,
    cached_tokens: int = 0,
    provider: str | None = None,
    url: str | None = None,
) -> float | None:
    """Return the price of one answer, or None where it is not known.

    `model` may name its provider: "openai/gpt-5-mini". `url` is the address that was asked: it tells the provider too,
    and where it is no known provider's there is no known price. `cached_tokens` are those of the prompt that the
    provider had read before.
    """
    import genai_prices

    if provider is None and url is None and "/" in model:
        provider, _, model = model.partition("/")
    usage = genai_prices.Usage(
        input_tokens=prompt_tokens, cache_read_tokens=min(cached_tokens, prompt_tokens), output_tokens=completion_tokens
    )
    try:
        if provider is not None:
            price = genai_prices.calc_price(usage, model, provider_id=provider)
        else:
            price = genai_prices.calc_price(usage, model, provider_api_url=url)
    except (LookupError, ValueError):
        return None
    return float(price.total_price)
