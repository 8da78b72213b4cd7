"""A score is checked by hand, by comparisons that NaN passes."""

from __future__ import annotations

import json
import math
from typing import Any

from openai import OpenAI, OpenAIError
from testing.planted.request import AnswerError

SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "number", "minimum": 0, "maximum": 1}},
    "required": ["score"],
    "additionalProperties": False,
}


def _once(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return pairs


def broken(essay: str, client: OpenAI) -> float:
    """Score an essay."""
    try:
        reply = client.with_options(max_retries=0).chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": essay}],
            response_format={"type": "json_schema", "json_schema": {"name": "score", "schema": SCHEMA}},
        )
        choice = reply.choices[0]
        if choice.finish_reason != "stop":
            raise AnswerError("no whole answer")
        (pair,) = json.loads(choice.message.content or "", object_pairs_hook=_once)
        name, score = pair
    except (OpenAIError, ValueError, IndexError, TypeError, RecursionError) as error:
        raise AnswerError("no answer") from error
    if name != "score" or isinstance(score, bool) or not isinstance(score, int | float):
        raise AnswerError("no score")
    if score < 0 or score > 1:
        raise AnswerError("out of range")
    return score


def mended(essay: str, client: OpenAI) -> float:
    """Score an essay."""
    score = broken(essay, client)
    if not math.isfinite(score):
        raise AnswerError("no number")
    return score
