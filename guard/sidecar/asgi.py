"""The sidecar as an ASGI application for a server that is not ours, such as Ray Serve's.

`guard serve` runs a server of its own, which limits connections, heads and slow senders; here those limits are the
other server's affair. All else is as there: keys are needed, since the address is taken for one that strangers reach.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from guard.sidecar import process
from guard.sidecar.application import Sidecar

ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound to it: it says from where clients come


class Application:
    """An ASGI application with a lifespan, in which what requests share is made. For one event loop."""

    def __init__(self, config: Path | None = None) -> None:
        """Take the settings of a TOML file, or those of the environment alone."""
        self._start = process.Start(config=config, host=ANYWHERE)
        self._sidecar: Sidecar | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, or the lifespan. Raises RuntimeError for a request outside of a lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._sidecar is None:
            raise RuntimeError("the server runs no ASGI lifespan, in which the sidecar begins")
        else:
            await self._sidecar.app(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            await asyncio.to_thread(process.check, self._start)
            sidecar = process.begun(*self._start.settings())
            life = sidecar.life()
            await life.__aenter__()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        self._sidecar = sidecar
        await send({"type": "lifespan.startup.complete"})
        await receive()
        sidecar.is_draining = True
        await life.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})
