"""Guard's command line, where `served-1` costs a dollar for each token at any address, and no other model has a price.

What it is started with, `python -m priced`, is given on.
"""

from __future__ import annotations

from typing import Any

from guard.__main__ import main
from guard.models.remote import prices


def price(usage: Any, model: str, *_: Any) -> float:
    """Return the price of some tokens."""
    if model != "served-1":
        raise LookupError(model)
    return float((usage.input_tokens or 0) + (usage.output_tokens or 0))


if __name__ == "__main__":
    prices._price = price
    main()
