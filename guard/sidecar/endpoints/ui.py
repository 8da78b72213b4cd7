"""The page for a person: `/ui` and the few files it is made of, as they lie in guard/sidecar/page/.

The files hold no data, so anyone may have them. The page fetches its data from the endpoints of operator.py, with an
operator's key where keys are needed. Its content security policy allows its own files only, and keeps the script from
making markup of text. A call's page is shown in a frame in which no script runs.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import Any

from guard.sidecar.headers import Header
from guard.trace.html import PALETTE, SHADED, STYLE

#: Paths, and the files that are served there.
FILES = {
    "/ui": ("index.html", b"text/html; charset=utf-8"),
    "/ui/app.css": ("app.css", b"text/css; charset=utf-8"),
    **{
        f"/ui/{name}": (name, b"text/javascript; charset=utf-8")
        for name in (
            *("app.js", "calls.js", "charts.js", "economics.js", "elements.js", "feedback.js", "json.js"),
            *("places.js", "playground.js", "server.js", "versions.js"),
        )
    },
}


def _digest(style: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"


CALL_STYLE = _digest(STYLE + SHADED)  #: The style of a call's page, as a policy allows it.
#: The content security policy. It allows the style of a call's page, whose frame it governs too.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {CALL_STYLE}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types call",
    )
)
HEADERS: list[Header] = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]


async def file(scope: Any) -> tuple[Any, ...]:
    """Return one of the page's files."""
    body, kind = _read(scope["path"])
    return 200, body, (b"content-type", kind), *HEADERS


@functools.cache
def _read(path: str) -> tuple[bytes, bytes]:
    name, kind = FILES[path]
    text = resources.files("guard.sidecar").joinpath("page", name).read_text("utf-8")
    return ((PALETTE if name == "app.css" else "") + text).encode(), kind
