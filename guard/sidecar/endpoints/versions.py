"""The registry of tuned models over HTTP: what there is, and which version serves; all without a restart.

    GET  /guard/models                        every function with its versions, and who serves
    GET  /guard/models/version?function=F&version=2    a version's lineage and shadow report
    GET  /guard/models/diff?function=F&old=1&new=2     in what two versions differ
    POST /guard/models/promote                {"function": F, "version": 2, "force": false, "why": ""}
    POST /guard/models/rollback               {"function": F, "why": ""}
    POST /guard/models/canary                 {"function": F, "version": 3, "share": 0.1, "baseline": null}

It is the registry of `guard models` (guard/tuning/registry.py): a decision here is on record there, with the name of
the key. Shadow runs are in shadow_runs.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from guard.errors import GuardError
from guard.sidecar.endpoints.chat_request import checked
from guard.sidecar.endpoints.operator import query
from guard.sidecar.errors import ApiError, bad
from guard.sidecar.request_context import answer

if TYPE_CHECKING:
    from guard.sidecar.request_context import RequestContext
    from guard.sidecar.service import Service
    from guard.tuning.registry import Registry, Serving

MOST_VERSION = 2**31  #: Of a version's number.


class _OfFunction(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    function: str = Field(min_length=1, max_length=1000)
    why: str = Field(default="", max_length=1000)


class Promotion(_OfFunction):
    """Have a version serve from now on."""

    version: int = Field(ge=0, lt=MOST_VERSION)
    force: bool = False


class Rollback(_OfFunction):
    """End the canary; where there is none, have the version serve that served before."""


class CanaryStart(_OfFunction):
    """Have a version answer a share of the inputs."""

    version: int = Field(ge=0, lt=MOST_VERSION)
    share: float = Field(default=0.1, gt=0, lt=1)
    baseline: float | None = Field(default=None, ge=0, le=1)
    force: bool = False


async def listed(_sidecar: Service, _scope: Any) -> tuple[int, bytes]:
    """List the functions with their versions, and which serves."""

    def work(registry: Registry) -> list[dict[str, Any]]:
        return [
            {"function": function, **_who_serves(registry, function), "versions": registry.listed(function)}
            for function in registry.functions()
        ]

    return 200, _json({"functions": await with_registry(work)})


async def version(_sidecar: Service, scope: Any) -> tuple[int, bytes]:
    """Return a version's lineage and shadow report: `?function=shop.read&version=2`."""
    function, (number,) = _asked(scope, "version")

    def work(registry: Registry) -> dict[str, Any]:
        found = registry.version(function, number)
        return {**registry.facts(found), "card": found.card, "report": found.shadow}

    return 200, _json(await with_registry(work, status=404, code="not_found"))


async def diff(_sidecar: Service, scope: Any) -> tuple[int, bytes]:
    """Return in what the lineages of two versions differ: `?function=shop.read&old=1&new=2`."""
    function, numbers = _asked(scope, "old", "new")

    def work(registry: Registry) -> dict[str, Any]:
        from guard.tuning.registry import differences

        old, new = (registry.version(function, number) for number in numbers)
        return {"function": function, "differences": differences(old, new)}

    return 200, _json(await with_registry(work, status=404, code="not_found"))


async def promote(context: RequestContext, _f: Any, body: dict[str, Any], _raw: bytes, send: Any) -> None:
    """Have a version serve; refused where it has not passed its shadow run, unless forced."""
    asked: Promotion = checked(Promotion, body)
    why = _why(context, asked.why)
    await _decide(
        context, send, asked.function, lambda r: r.promote(asked.function, asked.version, force=asked.force, why=why)
    )


async def rollback(context: RequestContext, _f: Any, body: dict[str, Any], _raw: bytes, send: Any) -> None:
    """End the canary, or go back to the version before."""
    asked: Rollback = checked(Rollback, body)
    why = _why(context, asked.why)
    await _decide(context, send, asked.function, lambda r: r.rollback(asked.function, why))


async def canary(context: RequestContext, _f: Any, body: dict[str, Any], _raw: bytes, send: Any) -> None:
    """Have a version answer a share of the inputs; it is ended where it does worse."""
    asked: CanaryStart = checked(CanaryStart, body)
    why = _why(context, asked.why)

    def decide(registry: Registry) -> Serving:
        options = asked.model_dump(include={"baseline", "force"})
        return registry.start_canary(asked.function, asked.version, asked.share, why=why, **options)

    await _decide(context, send, asked.function, decide)


#: By path: pages, and what decides.
PAGES = {"/guard/models": listed, "/guard/models/version": version, "/guard/models/diff": diff}
DECISIONS = {"/guard/models/promote": promote, "/guard/models/rollback": rollback, "/guard/models/canary": canary}


async def _decide(context: RequestContext, send: Any, function: str, decide: Callable[[Registry], Serving]) -> None:
    def work(registry: Registry) -> Serving:
        if function not in registry.functions():
            known = ", ".join(registry.functions()) or "none"
            raise ApiError(404, f"no model of {function[:100]} was tuned; there are {known}", code="not_found")
        return decide(registry)

    serving = await with_registry(work)
    await answer(send, context, 200, _json({"function": function, "serving": _serving(serving)}))


async def with_registry(work: Callable[[Registry], Any], status: int = 409, code: str = "refused") -> Any:
    """Do in a thread what reads or changes the registry. Raises ApiError where the registry refuses it."""
    try:
        from guard.tuning.registry import Registry
    except ImportError as error:
        words = f"tuned models need {error.name}: pip install 'guard-slm[local]'"
        raise ApiError(501, words, code="not_installed") from None
    try:
        return await asyncio.to_thread(lambda: work(Registry.default()))
    except GuardError as error:
        raise ApiError(status, str(error).splitlines()[0], code=code) from None


def _serving(serving: Serving) -> dict[str, Any]:
    return asdict(serving)


def _who_serves(registry: Registry, function: str) -> dict[str, Any]:
    """Return a function's serving version for a list; null beside the error where it can't be read."""
    try:
        return {"serving": _serving(registry.serving(function))}
    except GuardError as error:
        return {"serving": None, "error": str(error)}


def _asked(scope: Any, *names: str) -> tuple[str, list[int]]:
    """Return the function and the numbers of versions in a query string. Raises ApiError for other than numbers."""
    given = query(scope)
    numbers = []
    for name in names:
        number = given.get(name, [""])[-1]
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise bad(f"{name} must be a number", name)
        numbers.append(int(number))
    return given.get("function", [""])[-1], numbers


def _why(context: RequestContext, why: str) -> str:
    """Return why something was decided, and with whose key."""
    return f"{why} (key {context.key.name})".strip() if context.key is not None else why


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, default=str).encode()
