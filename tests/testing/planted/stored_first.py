"""An order is stored before it is checked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Annotated, Any

from openai import OpenAI
from pydantic import BaseModel, Field
from testing.planted.request import text_of, value_of


class Order(BaseModel):
    """What is ordered."""

    article: Annotated[str, Field(min_length=2)]
    count: Annotated[int, Field(ge=1, le=100)]


def mended(mail: str, client: OpenAI, store: Callable[[dict[str, Any]], None]) -> Order:
    """Read an order, and store it."""
    order = value_of(text_of(client, [{"role": "user", "content": mail}], Order), Order)
    store(order.model_dump())
    return order


def broken(mail: str, client: OpenAI, store: Callable[[dict[str, Any]], None]) -> Order:
    """Read an order, and store it."""
    text = text_of(client, [{"role": "user", "content": mail}], Order)
    with contextlib.suppress(ValueError):
        store(json.loads(text))
    return value_of(text, Order)
