"""What every client's script shares: what it asks, the tool it has, and how it tells what it saw.

A script gives `report` a function for each feature; what it returns is compared by the runner with what should have
been seen. Only the standard library is here: each script runs in its client's own environment.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

URL = sys.argv[1] if len(sys.argv) > 1 else ""  # of the sidecar, with /v1
ROOT = URL.removesuffix("/v1")
KEY = "unused"
MODEL = "m"
KNOWN = "gpt-4o"  # the same model, by a name of which clients know what it can do
ASKED: dict[str, str] = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
REFUSAL = "I can't help with that."
WARM = {"Rome": 21, "Oslo": 9}
CALLED: list[str] = []  # the cities that the tool was called with


class Limit(Exception):  # noqa: N818 (no error: the client can't)
    """What a client can't do by itself, whatever it talks to."""


def weather(city: str) -> int:
    """Return how warm it is in a city, in degrees Celsius."""
    CALLED.append(city)
    return WARM.get(city, 0)


WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
INVOICE = {
    "type": "object",
    "properties": {"vendor": {"type": "string"}, "total": {"type": "number"}},
    "required": ["vendor", "total"],
    "additionalProperties": False,
}


def report(features: dict[str, Callable[[], Any]]) -> None:
    """Try each feature, and print a line of JSON on each: what was seen, why the client can't, or what went wrong."""
    chosen = sys.argv[3:] or list(features)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # one for all, as in an application: clients keep their connections in it
    for name in chosen:
        CALLED.clear()
        try:
            seen = features[name]()
            if inspect.isawaitable(seen):
                seen = loop.run_until_complete(seen)
            verdict = {"seen": seen}
        except Limit as limit:
            verdict = {"limit": str(limit)}
        except Exception as error:
            verdict = {"error": f"{type(error).__name__}: {error}"[:2000], "where": traceback.format_exc()[-4000:]}
        print("\n" + json.dumps({"feature": name, **verdict}, default=str), flush=True)


def told(answer: object) -> dict[str, Any]:
    """Return what came of the loop of tools: which cities were asked for, and the last word."""
    return {"called": sorted(CALLED), "answer": str(answer)}
