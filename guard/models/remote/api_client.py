"""A minimal client of a provider's API over httpx2: an address, common headers, and `post`.

OpenAI's SDK can do that too, but weighs 30 MB and takes half a second to import. Guard uses only the method `post` of
its clients, so a caller's own client can replace this one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import httpx2

from guard.models.remote.runners import THREAD, Runner

_HEADERS = {"Accept": "application/json", "User-Agent": "guard-slm"}


class ApiClient:
    """Sends requests to an API over one runner. Thread-safe, as its HTTP client is."""

    def __init__(self, runner: Runner, url: str, headers: Mapping[str, str], options: Mapping[str, Any]) -> None:
        """Make one. `options` are those of the HTTP client. Raises ValueError or httpx2.InvalidURL."""
        kind: Any = httpx2.Client if runner is THREAD else httpx2.AsyncClient
        self._http = kind(base_url=url, headers={**_HEADERS, **headers}, **options)
        self.base_url: httpx2.URL = self._http.base_url
        #: Requests without a body, by path and headers: the HTTP client takes longer to make one than to send it.
        self._templates: dict[tuple[Any, ...], httpx2.Request] = {}
        #: Closes its connections: a function, or a coroutine function on the event loop.
        self.close: Any = self._http.close if runner is THREAD else self._http.aclose

    def post(self, path: str, *, body: Any, options: Mapping[str, Any], **_: Any) -> Any:
        """Send a body. Returns the response, its body unread, or on the event loop an awaitable of it."""
        key = path, *options["headers"].items()
        if (like := self._templates.get(key)) is None:
            like = self._templates[key] = self._http.build_request("GET", path, headers=options["headers"])
            like.headers.pop("cookie", None)
        request = httpx2.Request(
            "POST",
            like.url,
            headers=like.headers,
            json=body,
            cookies=self._http.cookies,
            extensions={"timeout": options["timeout"].as_dict()},
        )
        return self._http.send(request, stream=True)


def openai_headers(key: str, is_environments: bool) -> dict[str, str]:
    """Return OpenAI's headers. Account names are sent only where the environment's key may be sent."""
    return {"Authorization": f"Bearer {key}", **account_headers(is_environments=is_environments)}


def account_headers(*, is_environments: bool) -> dict[str, str]:
    """Return the headers of OpenAI's account names, which only the environment's address gets."""
    names = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"} if is_environments else {}
    return {header: value for header, variable in names.items() if (value := os.environ.get(variable))}
