"""`guard.structured`: a function whose body is a model.

The docstring is the instruction, the arguments are the input, the return annotation is the type. The type is compiled
when the function is decorated, so that a schema that can't be enforced is an error at import; the model is loaded at
the first call.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Generic, ParamSpec, TypeVar, overload

from guard import prompts, targets
from guard.models.base import Model
from guard.pipeline import Guard
from guard.records import Call

P = ParamSpec("P")
R = TypeVar("R")


class Structured(Generic[P, R]):
    """A decorated function: call it for the value, `traced` for the value and the record, `messages` for the prompt."""

    def __init__(self, function: Callable[P, R], guard: Guard, wanted: Any) -> None:
        functools.update_wrapper(self, function)
        self.guard = guard
        self.target = targets.from_any(wanted, guard.options)
        self.instruction = inspect.getdoc(function) or ""
        self._signature = inspect.signature(function)
        self._name = f"{function.__module__}.{function.__qualname__}"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the value; raises a GuardError that says why there is none."""
        return self.traced(*args, **kwargs)[0]

    def traced(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R, Call]:
        """Return the value and the record of the call: attempts, tokens, times, the model that served."""
        plan = self.guard.plan(
            self.target, self.messages(*args, **kwargs), template=prompts.TEMPLATE, function=self._name
        )
        return self.guard.run(plan)

    def messages(self, *args: P.args, **kwargs: P.kwargs) -> prompts.Messages:
        """Return what the model would be asked first."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        inputs = {name: _as_text(name, value) for name, value in bound.arguments.items()}
        return prompts.build(self.instruction, inputs, self.target.schema)


@overload
def structured(function: Callable[P, R], /) -> Structured[P, R]: ...
@overload
def structured(
    *,
    model: str | Model | None = None,
    retries: int | None = None,
    seed: int | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    trace: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Callable[[Callable[P, R]], Structured[P, R]]: ...
def structured(
    function: Callable[P, R] | None = None,
    /,
    *,
    model: str | Model | None = None,
    retries: int | None = None,
    seed: int | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    trace: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Structured[P, R] | Callable[[Callable[P, R]], Structured[P, R]]:
    """Make a function return what a model answers, as a valid value of the function's return type.

    ```python
    @guard.structured(model="smollm2", retries=2, seed=7)
    def read_invoice(text: str) -> Invoice:
        \"\"\"Read the invoice: vendor, date, line items and total.\"\"\"
    ```

    What is not given comes from the settings. `options` are those of `guard.compile`.
    """
    caller = sys._getframe(1).f_locals  # where a function's local types are found under postponed annotations

    def decorate(function: Callable[P, R]) -> Structured[P, R]:
        check_function(function)
        guard = Guard(
            model,
            retries=retries,
            seed=seed,
            max_tokens=max_tokens,
            temperature=temperature,
            trace=trace,
            options=options,
        )
        return Structured(function, guard, return_type(function, caller))

    return decorate if function is None else decorate(function)


def check_function(function: Any) -> None:
    """Raise TypeError or ValueError where something can't be decorated, saying what to write instead."""
    if not inspect.isfunction(function):
        raise TypeError(f"structured() decorates functions, not {function!r}")
    name = function.__qualname__
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} is async, which structured() does not support yet; write `def {function.__name__}`")
    if inspect.isgeneratorfunction(function):
        raise TypeError(f"{name} is a generator, which structured() does not support yet; leave out its `yield`")
    if next(iter(inspect.signature(function).parameters), "") in ("self", "cls"):
        raise TypeError(f"{name} is a method, which structured() does not support yet; write a plain function")
    if not (function.__doc__ or "").strip():
        raise ValueError(f"{name} has no docstring; its docstring is the instruction to the model")


def return_type(function: Callable[..., Any], local: Mapping[str, Any]) -> Any:
    """Return a function's return annotation; ValueError where it has none, or names a type that is not there."""
    name = function.__qualname__
    if "return" not in function.__annotations__:
        raise ValueError(f"{name} has no return annotation; write `-> Type`, the type that the model is to answer with")
    only_return = type("signature", (), {"__annotations__": {"return": function.__annotations__["return"]}})
    try:
        wanted = typing.get_type_hints(only_return, function.__globals__, dict(local), include_extras=True)["return"]
    except NameError as error:
        raise ValueError(f"{name}'s return annotation can't be read: {error}; define the type above it") from None
    if wanted in (None, type(None), typing.Never, typing.NoReturn):
        raise ValueError(f"{name} is annotated to return nothing; name the type that the model is to answer with")
    return wanted


def _as_text(name: str, value: object) -> str:
    try:
        return prompts.as_text(value)
    except ValueError as error:  # pydantic_core's errors of serialisation, and undecodable bytes
        raise ValueError(f"the argument {name}={type(value).__name__} can't be shown to a model: {error}") from None
