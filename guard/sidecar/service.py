"""The interface of the whole sidecar to its parts, as a Protocol: settings, models, keys and the trace.

`Sidecar` in application.py implements it. The middleware and the operators' pages use this type, so that they don't
import the application.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from guard.sidecar.access_log import AccessLog
from guard.sidecar.admission import Room
from guard.sidecar.keys import Keyring
from guard.sidecar.rate_limits import Ledger
from guard.sidecar.request_context import RequestContext
from guard.sidecar.served_models import Models, Served
from guard.sidecar.settings import ServeSettings
from guard.sidecar.structured import Pipeline
from guard.trace import TraceStore

T = TypeVar("T")


class Service(Protocol):
    """All that the requests of one process share. Belongs to one event loop."""

    settings: ServeSettings
    store: TraceStore
    models: Models
    keys: Keyring
    ledger: Ledger
    access: AccessLog
    contexts: dict[int, RequestContext]  # under way
    room: Room
    pipeline: Pipeline
    is_draining: bool

    @property
    def needs_key(self) -> bool:
        """Whether a request needs a key."""
        ...

    @property
    def least_seconds(self) -> float:
        """The seconds that a request has until its model is known."""
        ...

    async def book(self, work: Callable[..., T], *arguments: Any, seconds: float) -> T:
        """Run work on the trace in a thread. Raises TraceError where it takes longer than so many seconds."""
        ...

    async def read(self, work: Callable[..., T], *arguments: Any) -> T:
        """Read the trace in a thread. Raises TraceError where it does not answer soon."""
        ...

    async def reread_keys(self) -> None:
        """Read the keys again. Raises TraceError where they can't be read."""
        ...

    def doubt(self) -> None:
        """Look at once whether the trace can be written: something could not be."""
        ...

    def visited(self, context: RequestContext, name: str) -> Served:
        """Return the model that a request asks for. Raises ApiError where it is not served, or not open to the key."""
        ...

    async def settle(self, context: RequestContext) -> None:
        """Charge a request's tokens and dollars to its key. A second call does nothing."""
        ...
