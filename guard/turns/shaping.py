"""Earlier messages in the form that a chat template requires: arguments, contents, and ids of calls.

Clients see ids that are unique over the conversation. A template has ids of its own: Mistral's are nine letters and
digits, Kimi's name the tool and count the calls of the conversation (`functions.lamp:0`). So an id is translated, and
the result of a call gets the id of its call. The translation depends on the conversation only, so that the same
messages give the same prompt, and it never gives two calls one id.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from guard.errors import Unsupported
from guard.support.clipping import clipped
from guard.turns.anatomy import Anatomy
from guard.turns.probes import ABSENT, Manner, numbered_id


def shaped(messages: Iterable[Mapping[str, Any]], anatomy: Anatomy) -> list[dict[str, Any]]:
    """Return the messages in the form that the template requires; the given ones are not changed.

    Raises Unsupported for an earlier call whose arguments are no JSON.
    """
    shaper = _Shaper(anatomy)
    out: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []  # that follow the latest turn
    for message in messages:
        if message.get("role") == "tool":
            results.append(dict(message))
            continue
        out += shaper.in_order(results)
        results = []
        out.append(shaper.turn(message))
    return [*out, *shaper.in_order(results)]


class _Shaper:
    """Shapes the messages of one conversation, in order."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._native: dict[str, str] = {}  # the template's ids of the latest turn's calls, by the client's
        self._used: set[str] = set()  # the template's ids so far
        self._calls = 0

    def turn(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return a message that is no result."""
        out, manner = dict(message), self._anatomy.manner
        calls = out.get("tool_calls")
        if not calls:
            return out
        self._native = {}
        out["tool_calls"] = [self._call(call, manner) for call in calls]
        if not out.get("content"):
            out.pop("content", None)
            if manner.no_text != ABSENT:
                out["content"] = manner.no_text
        return out

    def in_order(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the results of the latest turn's calls in the order of the calls, with the template's ids."""
        places = {given: place for place, given in enumerate(self._native)}
        results.sort(key=lambda result: places.get(str(result.get("tool_call_id")), len(places)))
        for result in results:
            if isinstance(given := result.get("tool_call_id"), str):
                result["tool_call_id"] = self._native.get(given) or self._fitting(given)
        return results

    def _call(self, call: Mapping[str, Any], manner: Manner) -> dict[str, Any]:
        function = _function(call.get("function", call), manner)
        given = str(call.get("id") or "")
        if manner.ids_as == "numbered":
            native = numbered_id(str(function.get("name")), self._calls)
        else:
            native, again = self._fitting(given), 0
            while native in self._used:  # a model that is shown one id twice can't tell whose a result is
                again += 1
                native = _hashed(f"{given} {again}")
        self._calls += 1
        self._used.add(native)
        self._native.setdefault(given, native)
        return {**call, "id": native, "function": function}

    def _fitting(self, given: str) -> str:
        return given if re.fullmatch(self._anatomy.id_pattern, given) else _hashed(given)


def _hashed(given: str) -> str:
    """Return nine hexadecimal digits, which every template takes for an id."""
    return hashlib.sha256(given.encode(errors="replace")).hexdigest()[:9]


def _function(function: Mapping[str, Any], manner: Manner) -> dict[str, Any]:
    given = function.get("arguments") or "{}"  # clients write a call without arguments as ""
    try:
        read = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        called = f"the arguments of an earlier call of {clipped(function.get('name'))}"
        raise Unsupported(f"{called} must be JSON, not {clipped(given)}") from None
    if manner.arguments_as_text:
        return {**function, "arguments": given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)}
    return {**function, "arguments": read}
