"""How long a model that decodes here may think: a request's effort or budget, as tokens.

The limit of a request's tokens holds for thinking and answer together, as in OpenAI's and Anthropic's protocols. An
effort is a share of it, and what thinking leaves is the answer's. A model whose template has no form of thinking is
never asked to think: that is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from guard.models.base import Request
from guard.sidecar.constraints import is_neutral
from guard.sidecar.errors import bad
from guard.sidecar.served_models import Served

EFFORT, BUDGET = FIELDS = ("reasoning_effort", "thinking")  #: Fields that ask a model to think.
#: Efforts of OpenAI's protocol: the most that thinking takes of the tokens for thinking and answer.
SHARES: Mapping[str, float] = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95}


def check(body: Mapping[str, Any], served: Served, limit: int, param: str = "") -> None:
    """Raise ApiError where a model that decodes here can't think as a request asks.

    `limit`: the tokens of thinking and answer. `param` names the client's field, where that is another.
    """
    if not is_asked(body):
        return
    told = [field for field in FIELDS if not _is_off(field, body.get(field))]
    param = param or told[0]
    if not served.can_think:
        words = f"{served.name} does not think: its chat template has no tags for that"
        raise bad(f"{param}: {words}; leave it out, or ask a model whose template has them", param, "unsupported_value")
    if len(told) > 1:
        raise bad(f"{EFFORT} and {BUDGET} both say how long to think; send one of them", param)
    if told == [EFFORT]:
        if not isinstance(body[EFFORT], str) or body[EFFORT] not in SHARES:
            raise bad(f"{param} must be one of none, {', '.join(SHARES)}", param)
        return
    given = body[BUDGET]
    if not isinstance(given, Mapping) or given.get("type") != "enabled":
        raise bad(f"{param}.type must be enabled or disabled", f"{param}.type")
    most = given.get("budget_tokens")
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most < limit:
        words = f"must be from 1 to {limit - 1}, below the {limit} tokens for thinking and answer together"
        raise bad(f"{param}.budget_tokens {words}; lower it, or raise max_tokens", f"{param}.budget_tokens")


def is_asked(body: Mapping[str, Any]) -> bool:
    """Whether a request asks a model to think."""
    return not all(_is_off(field, body.get(field)) for field in FIELDS)


def asked(body: Mapping[str, Any], request: Request) -> Request:
    """Return the request with the thinking that a checked body asks for; `max_tokens` becomes the limit of both."""
    if not is_asked(body):
        return request
    if not _is_off(BUDGET, body.get(BUDGET)):
        most = int(body[BUDGET]["budget_tokens"])
    else:
        most = int(request.max_tokens * SHARES[body[EFFORT]])
    return dataclasses.replace(request, thinking=most, thinks_aloud=True, output_tokens=request.max_tokens)


def _is_off(field: str, value: Any) -> bool:
    return is_neutral(field, value) or (
        field == BUDGET and isinstance(value, Mapping) and value.get("type") == "disabled"
    )
