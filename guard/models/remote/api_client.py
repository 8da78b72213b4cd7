"""A client of a provider's API over httpx2: an address, the headers that every request has, and one way to ask.

The SDK of OpenAI does the same for it, and much that is not needed here: it weighs 30 MB and takes half a second to
import. What its clients do for Guard they do by the same method, so that a caller's own one can stand in this one's
place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import httpx2

from guard.models.remote.runners import THREAD, Runner

_HEADERS = {"Accept": "application/json", "User-Agent": "guard-slm"}


class ApiClient:
    """Asks an API over one runner; safe to share between threads, as its HTTP client is."""

    def __init__(self, runner: Runner, url: str, headers: Mapping[str, str], options: Mapping[str, Any]) -> None:
        """Make one; `options` are the HTTP client's. ValueError or httpx2.InvalidURL where it can't be made."""
        kind: Any = httpx2.Client if runner is THREAD else httpx2.AsyncClient
        self._http = kind(base_url=url, headers={**_HEADERS, **headers}, **options)
        self.base_url: httpx2.URL = self._http.base_url
        #: Ends its connections: at once, or as a coroutine on the event loop.
        self.close: Any = self._http.close if runner is THREAD else self._http.aclose

    def post(self, path: str, *, body: Any, options: Mapping[str, Any], **_: Any) -> Any:
        """Send a body; returns the response, or on the event loop an awaitable of it, whose own body is unread."""
        request = self._http.build_request(
            "POST", path, json=body, headers=options["headers"], timeout=options["timeout"]
        )
        return self._http.send(request, stream=True)


def openai_headers(key: str, is_environments: bool) -> dict[str, str]:
    """Return the headers that OpenAI knows a caller by: an account's names go where the environment's key may go."""
    names = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"} if is_environments else {}
    return {
        "Authorization": f"Bearer {key}",
        **{header: value for header, variable in names.items() if (value := os.environ.get(variable))},
    }
