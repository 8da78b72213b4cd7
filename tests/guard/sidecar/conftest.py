"""One sidecar in front of one provider for all tests of a module, one with models of all kinds for those of a process.

Tests that need another start their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sidecars

from guard.testing import fake_server


@pytest.fixture(scope="module")
def providing() -> Iterator[fake_server.Server]:
    """Start a provider."""
    with fake_server.Server("Hello.", keeps_alive=True) as server:
        yield server


@pytest.fixture(scope="module")
def running(providing: fake_server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sidecars.Sidecar]:
    """Start a sidecar that serves the provider as `m`, without further retries, and as `again` with one."""
    folder: Path = tmp_path_factory.mktemp("sidecar")
    toml = sidecars.model(providing.url, transport_retries=0, breaker_failures=1000, first_token_seconds=5)
    toml += sidecars.model(providing.url, "again", transport_retries=1, breaker_failures=1000)
    with sidecars.serving(folder, toml) as sidecar:
        yield sidecar


@pytest.fixture
def provider(providing: fake_server.Server) -> fake_server.Server:
    """Give a test a provider that has heard nothing yet; the test says what it answers."""
    providing.answers = ["Hello."]
    providing.requests.clear()
    return providing


@pytest.fixture
def sidecar(running: sidecars.Sidecar, provider: fake_server.Server) -> sidecars.Sidecar:
    """Give a test the module's sidecar, and a provider that has heard nothing yet."""
    return running


@pytest.fixture(scope="session")
def writing_prose() -> Iterator[fake_server.Server]:
    """Start a provider that writes prose, whatever it is asked."""
    with fake_server.Server("prose") as server:
        yield server


@pytest.fixture
def prose(writing_prose: fake_server.Server) -> fake_server.Server:
    """Give a test that provider, which has heard nothing yet."""
    writing_prose.requests.clear()
    return writing_prose


@pytest.fixture(scope="session")
def three_kinds(
    writing_prose: fake_server.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sidecars.Sidecar]:
    """Start a sidecar that serves a model of each kind: `sidecars.HERE`, `OWN` and `THERE`."""
    toml = sidecars.model(writing_prose.url, sidecars.THERE)
    toml += f'[serve.models.{sidecars.OWN}]\nmodel = "anthropic:x"\nbase_url = "{writing_prose.url}"\n'
    with sidecars.serving_here(tmp_path_factory.mktemp("kinds"), toml, name=sidecars.HERE) as sidecar:
        yield sidecar


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start a browser."""
    import browsers

    if browsers.BROWSER is None:
        pytest.skip(f"the page is not tested: {browsers.INSTALL}")
    with browsers.opened() as browser:
        yield browser


@pytest.fixture
def watched(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open pages of a sidecar, and watch them."""
    import ui_pages

    with ui_pages.watching(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def filled(running: sidecars.Sidecar, providing: fake_server.Server) -> sidecars.Sidecar:
    """Give a sidecar that has answered, re-asked, and failed."""
    from ui_pages import FORMAT, GOOD, WRONG

    for answers, fields in (
        (["Hello."], {}),
        ([GOOD], {"response_format": FORMAT}),
        ([WRONG, GOOD], {"response_format": FORMAT}),
        ([WRONG], {"response_format": FORMAT}),
    ):
        providing.answers = list(answers)
        running.chat(**fields)
    return running
