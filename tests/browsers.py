"""A real browser, headless: Debian's Chromium, driven with playwright, which downloads none of its own."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, sync_playwright

BROWSER = shutil.which("chromium")
INSTALL = "there is no chromium (Debian: apt-get install chromium)"


@contextlib.contextmanager
def opened() -> Iterator[Browser]:
    """Start the browser."""
    # Without a sandbox of its own: CI runs as root, where it has none, and shows it nothing but pages of this machine.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        with contextlib.closing(browser):
            yield browser
