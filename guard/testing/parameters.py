"""The parameters of a callable, by their annotations: what a client, a model and a result are."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from guard.models.base import Model


def signature_of(call: Any) -> inspect.Signature:
    """Return the signature of a callable. Raises TypeError where it is not known."""
    try:
        return inspect.signature(call)
    except (TypeError, ValueError):
        raise TypeError(f"{call!r} can't be put under test: its parameters are not known") from None


def hints_of(call: Any) -> dict[str, Any]:
    """Return the annotations of a callable that can be read, by name."""
    function = call if inspect.isroutine(call) else getattr(call, "__call__", call)  # noqa: B004 (its annotations are read)
    space = getattr(function, "__wrapped_globals__", None)
    try:
        return typing.get_type_hints(function, globalns=space)
    except (NameError, TypeError, AttributeError):
        pass
    hints = {}
    space = space or getattr(function, "__globals__", {})
    for name, hint in getattr(function, "__annotations__", {}).items():
        try:
            hints[name] = eval(hint, space) if isinstance(hint, str) else hint  # noqa: S307 (the application's own words)
        except Exception:  # noqa: S112 (an annotation that can't be read is as good as none)
            continue
    return hints


def client_kind(hint: Any) -> str | None:
    """Return which client of a library an annotation names; None where it names none."""
    kinds = ("OpenAI", "AsyncOpenAI", "Anthropic", "AsyncAnthropic", "Client", "AsyncClient")
    for part in (hint, *typing.get_args(hint)):
        module = getattr(part, "__module__", "") or ""
        name = getattr(part, "__name__", "")
        if (
            isinstance(part, type)
            and name in kinds
            and module.split(".")[0] in ("openai", "anthropic", "httpx2", "httpx")
        ):
            return name
    return None


def is_model(hint: Any) -> bool:
    """Whether an annotation names a model of Guard's."""
    if hint is None or hint is Any:
        return False
    parts = [hint, *(typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else ())]
    return any(
        part is Model
        or (
            isinstance(part, type)
            and all(hasattr(part, n) for n in ("generate",))
            and part.__module__.startswith("guard")
        )
        for part in parts
    )


def is_models(hint: Any) -> bool:
    """Whether an annotation names several of them."""
    origin = typing.get_origin(hint)
    is_list = isinstance(origin, type) and issubclass(origin, collections.abc.Iterable)
    return is_list and any(is_model(part) for part in typing.get_args(hint))


def returned(hints: Mapping[str, Any]) -> Any:
    """Return the annotated type of the value, without iterators, awaitables and None around it."""
    hint = hints.get("return")
    for _ in range(3):
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (
            *(collections.abc.Iterator, collections.abc.AsyncIterator, collections.abc.Generator),
            *(collections.abc.AsyncGenerator, collections.abc.Iterable, collections.abc.AsyncIterable),
            *(collections.abc.Awaitable, collections.abc.Coroutine),
        ):
            hint = arguments[-1] if origin in (collections.abc.Coroutine,) else arguments[0]
        elif origin in (typing.Union, types.UnionType):
            rest = [a for a in arguments if a is not type(None)]
            hint = rest[0] if len(rest) == 1 else hint
            if len(rest) != 1:
                break
        else:
            break
    return None if hint in (None, type(None)) else hint
