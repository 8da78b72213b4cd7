"""Web pages of other origins: those that the settings name may ask, as browsers want it said (CORS)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.middleware.cors import CORSMiddleware

#: What a page may read of an answer's head.
HEADS = (
    *("x-request-id", "x-guard-model", "x-guard-tier", "x-guard-attempts", "x-guard-repairs", "x-guard-cost"),
    *("x-guard-overhead-ms", "x-guard-call", "x-guard-stream", "x-should-retry", "retry-after"),
)


def shared(app: Any, origins: Sequence[str]) -> Any:
    """Return an application whose answers pages of these origins may read; preflights are answered here.

    No cookies are allowed: a key is sent in a header, which a page has to know.
    """
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "DELETE"),
        allow_headers=("*",),
        expose_headers=HEADS,
        max_age=600,
    )
