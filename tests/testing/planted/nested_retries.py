"""Retries around retries: three of the application's for each of the three that Guard makes anyway."""

from __future__ import annotations

from pydantic import BaseModel, Field

import guard


class Rating(BaseModel):
    """How a guest liked it."""

    stars: int = Field(ge=1, le=5)
    words: str


@guard.structured(retries=2)
def rate(review: str) -> Rating:
    """Rate the review."""


def broken(review: str, model: guard.models.Model) -> Rating:
    """Rate a review."""
    for attempt in range(3):
        try:
            return rate.using(model=model)(review)
        except guard.ValidationFailed:
            if attempt == 2:
                raise
    raise AssertionError("a loop of three ends above")


def mended(review: str, model: guard.models.Model) -> Rating:
    """Rate a review."""
    return rate.using(model=model)(review)
