"""Shadow runs over HTTP: an operator has a version of a tuned model measured beside another one.

    GET  /guard/models/shadow          the latest run, and how far it is
    POST /guard/models/shadow          {"function": F, "version": 2}, with "against", "limit", "margin", "precision"
    POST /guard/models/shadow/cancel   {}

A run is a job in a process of its own (guard/tuning/shadow_job.py), one at a time for all workers. Asked for again, a
run that was killed or cancelled goes on from the answers that it had. It ends with the process that began it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from guard.errors import GuardError
from guard.sidecar.endpoints.chat_request import checked
from guard.sidecar.endpoints.versions import MOST_VERSION, with_registry
from guard.sidecar.errors import ApiError
from guard.sidecar.request_context import answer

if TYPE_CHECKING:
    from guard.sidecar.request_context import RequestContext
    from guard.trace import TraceStore
    from guard.tuning.registry import Registry
    from guard.tuning.shadow_job import JobProcess

MOST_QUESTIONS = 2_000  #: Of one run; the newest are asked.


class ShadowRun(BaseModel):
    """Measure a version beside another one, on right answers in the trace."""

    model_config = ConfigDict(extra="forbid", strict=True)

    function: str = Field(min_length=1, max_length=1000)
    version: int = Field(ge=1, lt=MOST_VERSION)
    against: int | None = Field(default=None, ge=0, lt=MOST_VERSION)
    limit: int = Field(default=200, ge=1, le=MOST_QUESTIONS)
    margin: float = Field(default=0.02, ge=0, le=1)
    precision: float = Field(default=0.95, ge=0, le=1)


class ShadowEnd(BaseModel):
    """End the run that is under way."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ShadowRuns:
    """The shadow runs that this process began. Belongs to one event loop."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._starting = asyncio.Lock()
        self._process: JobProcess | None = None

    async def state(self, _scope: Any) -> tuple[int, bytes]:
        """Return the latest run, whichever process began it; `"run": null` where there was none."""
        return 200, await with_registry(self._state)

    async def start(self, context: RequestContext, _f: Any, body: dict[str, Any], _raw: bytes, send: Any) -> None:
        """Start a run; refused while another one is under way."""
        asked: ShadowRun = checked(ShadowRun, body)
        by = context.key.name if context.key is not None else ""

        def work(registry: Registry) -> bytes:
            from guard.tuning import shadow_job

            try:
                serving = registry.serving(asked.function).current
                against = serving if asked.against is None else asked.against
                registry.version(asked.function, asked.version)
                registry.model(asked.function, against)
            except GuardError as error:
                raise ApiError(404, str(error), code="not_found") from None
            job = shadow_job.ShadowJob(**{**asked.model_dump(), "against": against, "by": by})
            self._end()
            self._process = shadow_job.JobProcess(registry, self._store, job)
            return self._state(registry)

        async with self._starting:
            await answer(send, context, 200, await with_registry(work))

    async def cancel(self, context: RequestContext, _f: Any, body: dict[str, Any], _raw: bytes, send: Any) -> None:
        """Have the run that is under way end soon, whichever process began it."""
        checked(ShadowEnd, body)

        def work(registry: Registry) -> bytes:
            from guard.tuning import shadow_job

            shadow_job.cancel(registry)
            return self._state(registry)

        await answer(send, context, 200, await with_registry(work, status=404, code="not_found"))

    def close(self) -> None:
        """End the run that this process began; what it has is kept."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _end(self) -> None:
        """Collect the process of an earlier run; one that is under way goes on, and the next is refused."""
        if self._process is not None and self._process.is_over:
            self.close()

    @staticmethod
    def _state(registry: Registry) -> bytes:
        from guard.tuning import shadow_job

        return json.dumps({"run": shadow_job.state(registry)}).encode()
