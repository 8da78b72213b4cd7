"""CORS: web pages of the origins that the settings name may ask the sidecar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.middleware.cors import CORSMiddleware

#: Headers of an answer that a page may read.
HEADS = (
    *("x-request-id", "x-guard-model", "x-guard-tier", "x-guard-attempts", "x-guard-repairs", "x-guard-cost"),
    *("x-guard-overhead-ms", "x-guard-call", "x-guard-stream", "x-should-retry", "retry-after"),
)


def shared(app: Any, origins: Sequence[str]) -> Any:
    """Wrap an application so that pages of these origins may read its answers. Preflights are answered here.

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
