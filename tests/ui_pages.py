"""Pages of a sidecar in a real browser: what they asked for and said while a test watched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from playwright.sync_api import Browser, Page, Request
from sidecars import Sidecar

SCHEMA = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA}}
GOOD, WRONG = '{"total": 3}', "{}"  #: Answers to that.


class Watched:
    """A page with all that it said and asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[Request] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", lambda request: self.asked.append(request))


@contextlib.contextmanager
def watching(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Open pages of a sidecar, which in the end must not have complained, nor asked for anything of elsewhere."""
    opened: list[tuple[Watched, str]] = []
    contexts = []

    def open_page(sidecar: Sidecar, view: str = "", *, expects: tuple[str, ...] = (), **options: Any) -> Watched:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(10_000)
        contexts.append(context)
        found = Watched(context.new_page())
        origin = sidecar.url.removesuffix("/v1")
        opened.append((found, origin))
        found.page.goto(f"{origin}/ui{view and '#'}{view}")
        return found

    yield open_page
    for context in contexts:
        context.close()
    for found, origin in opened:
        assert [each.url for each in found.asked if not each.url.startswith((f"{origin}/", "data:", "blob:"))] == []
        # A browser notes each answer that is an error; whatever else it notes is a fault.
        assert [line for line in found.said if "Failed to load resource" not in line] == []


def ui(sidecar: Sidecar) -> str:
    """Return the address of the page."""
    return sidecar.url.removesuffix("/v1") + "/ui"
