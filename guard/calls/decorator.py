"""`guard.structured`: a function whose body is a model.

The docstring is the instruction, the arguments are the input, the return annotation is the type. The type is compiled
when the function is decorated, so that a schema that can't be enforced is an error at import; the model is loaded at
the first call.

The kind of function decides how it is called: a plain one returns the value, an `async def` is awaited, and one that is
annotated with an (async) iterator of a type yields partial values while they arrive; the last one is complete.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import sys
import typing
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack, overload

from guard.calls import prompts
from guard.calls.conversation import ToolLoop
from guard.calls.pipeline import SETTING_NAMES, CallSettings, Guard
from guard.calls.steps import Plan
from guard.calls.value_stream import AsyncStream, Stream
from guard.calls.wholeness import whole
from guard.models import chat_messages
from guard.support.bounds import check_kind, check_names
from guard.support.clipping import clipped
from guard.tools import ToolSpec
from guard.trace.records import Call

#: mypy takes it for true. To mypy each overload of `__get__` with a `self` of its own would fit; guard/mypy.py chooses.
MYPY = False
P = ParamSpec("P")  #: The parameters of a decorated function.
Q = ParamSpec("Q")  #: The parameters of a method after `self`.
R = TypeVar("R")  #: The type that the model answers with.
S = TypeVar("S")  #: The object, or the class, whose method is decorated.

#: Return annotations that ask for partial values: the first argument is the type.
_STREAMED = {collections.abc.Iterator, collections.abc.Generator}
_ASYNC_STREAMED = {collections.abc.AsyncIterator, collections.abc.AsyncGenerator}
_BOUND = ("self", "cls")  #: First parameters that are no input: the function is a method.


class Decorated(Generic[P, R]):
    """The common part of decorated functions: `messages` shows the prompt, `using` changes settings."""

    def __init__(self, function: Callable[P, Any], guard: Guard, wanted: Any) -> None:
        functools.update_wrapper(typing.cast("Any", self), function)
        self.guard = guard
        self.target = guard.target(wanted)
        self.wanted = wanted  #: The type that the model answers with.
        self.instruction = inspect.getdoc(function) or ""
        self._signature = inspect.signature(function)
        self._is_method = next(iter(self._signature.parameters), "") in _BOUND
        self.name = f"{_module(function)}.{function.__qualname__}"  #: The function's name in the trace.
        self._is_of_class = False  # whether it was decorated above @classmethod
        self._bound: tuple[Any, ...] = ()  # the object whose method this is
        self._examples = self._shown(guard)
        self.tools: tuple[Any, ...] = ()  #: Tools that the model may call before it answers.

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the parameters that the model is shown, in order."""
        return tuple(self._signature.parameters)[self._is_method :]

    def _of(self, instance: Any, owner: type | None) -> Self:
        """Return the method bound to an object or a class; the function itself where it is not a method."""
        holder = (owner or type(instance)) if self._is_of_class else instance
        if holder is None or not self._is_method:
            return self
        bound = self._copy()
        bound._bound = (holder,)
        return bound

    def _copy(self) -> Self:
        """Return a copy. `copy.copy` would return the object itself, because it pickles by name."""
        copied = object.__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by name, as functions do; otherwise, and for functions of `__main__`, by content.

        A spawned worker knows the program's names, but a worker on another machine does not. It is sent the content, by
        a pickler that sends functions (cloudpickle).
        """
        name = getattr(self, "__qualname__", "")
        module = getattr(self, "__module__", "")
        if module != "__main__" and _found(module, name) is self:
            return name
        function = typing.cast("Any", self).__wrapped__
        if _found(module, f"{name}.__wrapped__") is function:
            function.__qualname__ = f"{name}.__wrapped__"  # where pickle finds it; under its own name it finds this
        more = self.name, self._bound, self._is_of_class, self.tools
        return _again, (type(self), function, self.guard, self.wanted, *more)

    def using(self, **changes: Unpack[CallSettings]) -> Self:
        """Return the same function with other settings: `read.using(model="openai:gpt-5-mini", seed=3)(text)`.

        The names are those of `structured`.
        """
        changed = self._copy()
        changed.guard = self.guard.using(**changes)
        changed._examples = changed._shown(changed.guard)
        for name in ("options", "style"):
            if getattr(changed.guard, name) != getattr(self.guard, name):
                raise TypeError(f"using({name}=…) would compile the type anew; decorate another function")
        return changed

    def saying(self, instruction: str) -> Self:
        """Return the same function with another instruction in place of its docstring."""
        changed = self._copy()
        changed.instruction = instruction
        return changed

    def messages(self, *args: P.args, **kwargs: P.kwargs) -> chat_messages.Messages:
        """Return the messages that the model would be asked first."""
        return self._asking(self._given(*args, **kwargs))

    def _asking(self, inputs: Mapping[str, str]) -> chat_messages.Messages:
        return prompts.build(
            self.instruction, inputs, self.target.shown_schema, system=self.guard.system, examples=self._examples
        )

    def _given(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, str]:
        """Return a call's arguments by name, as the model is shown them."""
        first: tuple[Any, ...] = self._bound
        # From Python 3.13 on @classmethod above hands its class to a plain call alone, and not to `traced` or `using`.
        if not first and next(iter(self._signature.parameters), "") == "cls":
            first = () if args and isinstance(args[0], type) else (None,)
        try:
            given = self._signature.bind(*first, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from None
        return self._inputs(given)

    def _inputs(self, bound: inspect.BoundArguments) -> dict[str, str]:
        bound.apply_defaults()
        return {name: _as_text(name, value) for name, value in list(bound.arguments.items())[self._is_method :]}

    def _shown(self, guard: Guard) -> list[tuple[dict[str, str], str]]:
        """Return the examples as prompts show them; ValueError where one does not fit the function."""
        shown = []
        for number, (given, answer) in enumerate(guard.examples):
            many = len(self._signature.parameters) - self._is_method > 1
            self_ = (None,) * self._is_method
            try:
                if many and isinstance(given, Mapping):
                    bound = self._signature.bind(*self_, **given)
                else:
                    bound = self._signature.bind(*self_, *(given if many and isinstance(given, tuple) else (given,)))
            except TypeError as error:
                raise ValueError(f"examples[{number}]: {given!r} is no input of {self.name}: {error}") from None
            shown.append((self._inputs(bound), self.target.written(answer, f"examples[{number}]")))
        return shown

    def _conversation(self, *args: P.args, **kwargs: P.kwargs) -> ToolLoop:
        inputs = self._given(*args, **kwargs)
        return ToolLoop(
            self.guard.using(system=""),
            self._asking(inputs),
            self.tools,
            response=self.wanted,
            function=self.name,
            sources=inputs,
        )

    def check_single(self, user: str) -> None:
        """Raise TypeError where a call may take several turns: what asks one question an input has no tools."""
        if self.tools:
            way_out = "call it for each input, or decorate a function without tools"
            raise TypeError(f"{user} asks {self.name} in one turn, and its tools need more; {way_out}")

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> Plan:
        """Return the plan of a call, which `guard.Guard` carries out; TypeError where the function has tools."""
        self.check_single("plan()")
        inputs = self._given(*args, **kwargs)
        template = prompts.template(self.target.is_json)
        return self.guard.plan(self.target, self._asking(inputs), template=template, function=self.name, sources=inputs)


def _again(
    kind: type[Decorated[Any, Any]],
    function: Callable[..., Any],
    guard: Guard,
    wanted: Any,
    name: str,
    bound: tuple[Any, ...],
    is_of_class: bool,
    tools: tuple[Any, ...],
) -> Decorated[Any, Any]:
    """Restore a decorated function from a pickle."""
    made = kind(function, guard, wanted)
    made.__qualname__ = made.__qualname__.removesuffix(".__wrapped__")  # type: ignore[attr-defined] # set as on functions
    made.name, made._bound, made._is_of_class, made.tools = name, bound, is_of_class, tools
    return made


def _found(module: str, name: str) -> Any:
    """Return the object under a dotted name of a module, as pickle finds it."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
        found = found.__func__ if isinstance(found, classmethod | staticmethod) else found
    return found


class Structured(Decorated[P, R]):
    """A decorated function: call it for the value, `traced` for the value and the record."""

    if not MYPY:

        @overload
        def __get__(self: Structured[Concatenate[S, Q], R], instance: object, owner: S) -> Structured[Q, R]: ...

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self: Structured[Concatenate[S, Q], R], instance: S, owner: type | None = None) -> Structured[Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Self: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._of(instance, owner)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the value; raises a GuardError that says why there is none."""
        return whole(*self.traced(*args, **kwargs))

    def traced(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R, Call]:
        """Return the value and the record of the call: attempts, tokens, times, the model that served.

        With tools, the record is that of the last turn.
        """
        if self.tools:
            last = self._conversation(*args, **kwargs).run().turns[-1]
            return last.value, last.record
        return self.guard.run(self.plan(*args, **kwargs))

    def stream(self, *args: P.args, **kwargs: P.kwargs) -> Stream[R]:
        """Return an iterator of partial values; the last one is the value. TypeError where the function has tools."""
        self.check_single("stream()")
        return self.guard.run_stream(self.plan(*args, **kwargs))


class AsyncStructured(Decorated[P, R]):
    """A decorated `async def`."""

    if not MYPY:

        @overload
        def __get__(
            self: AsyncStructured[Concatenate[S, Q], R], instance: object, owner: S
        ) -> AsyncStructured[Q, R]: ...

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(
        self: AsyncStructured[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> AsyncStructured[Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Self: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._of(instance, owner)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the value; raises a GuardError that says why there is none."""
        return whole(*await self.traced(*args, **kwargs))

    async def traced(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R, Call]:
        """Return the value and the record of the call; with tools, of its last turn."""
        if self.tools:
            last = (await self._conversation(*args, **kwargs).arun()).turns[-1]
            return last.value, last.record
        return await self.guard.arun(self.plan(*args, **kwargs))

    def stream(self, *args: P.args, **kwargs: P.kwargs) -> AsyncStream[R]:
        """Return an async iterator of partial values; the last one is the value. TypeError as for `Structured`."""
        self.check_single("stream()")
        return self.guard.arun_stream(self.plan(*args, **kwargs))


class Streamed(Decorated[P, R]):
    """A decorated function that yields partial values."""

    if not MYPY:

        @overload
        def __get__(self: Streamed[Concatenate[S, Q], R], instance: object, owner: S) -> Streamed[Q, R]: ...

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self: Streamed[Concatenate[S, Q], R], instance: S, owner: type | None = None) -> Streamed[Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Self: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._of(instance, owner)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Stream[R]:
        """Return an iterator of partial values; the last one is the value, and its `call` the record then."""
        return self.guard.run_stream(self.plan(*args, **kwargs))


class AsyncStreamed(Decorated[P, R]):
    """A decorated async function that yields partial values."""

    if not MYPY:

        @overload
        def __get__(self: AsyncStreamed[Concatenate[S, Q], R], instance: object, owner: S) -> AsyncStreamed[Q, R]: ...

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(
        self: AsyncStreamed[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> AsyncStreamed[Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Self: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._of(instance, owner)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncStream[R]:
        """Return an async iterator of partial values; the last one is the value."""
        return self.guard.arun_stream(self.plan(*args, **kwargs))


class Decorator(typing.Protocol):
    """The decorator that `structured(...)` returns."""

    @overload
    def __call__(self, function: Callable[P, Iterator[R]], /) -> Streamed[P, R]: ...  # type: ignore[overload-overlap] # first wins
    @overload
    def __call__(self, function: Callable[P, AsyncIterator[R]], /) -> AsyncStreamed[P, R]: ...  # type: ignore[overload-overlap] # first wins
    @overload
    def __call__(  # type: ignore[overload-overlap] # first wins
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncStructured[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Structured[P, R]: ...


@overload
def structured(function: Callable[P, Iterator[R]], /) -> Streamed[P, R]: ...  # type: ignore[overload-overlap] # first wins
@overload
def structured(function: Callable[P, AsyncIterator[R]], /) -> AsyncStreamed[P, R]: ...  # type: ignore[overload-overlap] # first wins
@overload
def structured(  # type: ignore[overload-overlap] # first wins
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> AsyncStructured[P, R]: ...
@overload
def structured(function: Callable[P, R], /) -> Structured[P, R]: ...
@overload
def structured(*, tools: Iterable[Any] = (), **settings: Unpack[CallSettings]) -> Decorator: ...
def structured(
    function: Callable[P, Any] | None = None, /, *, tools: Iterable[Any] = (), **settings: Unpack[CallSettings]
) -> Any:
    """Make a function return what a model answers, as a valid value of the function's return type.

    ```python
    @guard.structured(model="smollm2", escalate_to="openai:gpt-5-mini", retries=2, seed=7)
    def read_invoice(text: str) -> Invoice:
        \"\"\"Read the invoice: vendor, date, line items and total.\"\"\"
    ```

    The settings are those of `guard.Guard`; defaults come from the environment and guard.toml. A call returns a value,
    or raises a CallError that says why there is none. `tools` are functions that the model may call before it answers;
    each of its turns has a record. Unsuitable functions are refused when they are decorated: TypeError for an object
    that is not a function, ValueError without an instruction or a type, SchemaError where the type can't be enforced.
    """
    check_names("structured", settings, SETTING_NAMES)
    functions = _functions(tools)
    caller = sys._getframe(1).f_locals  # where a function's local types are found under postponed annotations

    def decorate(given: Callable[P, Any]) -> Decorated[P, Any]:
        function: Any = given.__func__ if isinstance(given, classmethod | staticmethod) else given
        check_function(function)
        annotated = return_type(function, caller)
        kind, wanted = _kind(function, annotated)
        made = kind(function, Guard(**settings), wanted)
        made.tools = functions
        if made.tools and kind not in (Structured, AsyncStructured):
            raise TypeError(f"{function.__qualname__} has tools, and a value is streamed only without; leave one out")
        made._is_of_class = isinstance(given, classmethod)
        return made

    return decorate if function is None else decorate(function)


def _kind(function: Callable[..., Any], annotated: Any) -> tuple[type[Decorated[Any, Any]], Any]:
    """Return how a function is called, and the type that the model answers with."""
    origin, arguments = typing.get_origin(annotated), typing.get_args(annotated)
    if origin in _STREAMED and arguments:
        return Streamed, arguments[0]
    if origin in _ASYNC_STREAMED and arguments:
        return AsyncStreamed, arguments[0]
    name = function.__qualname__
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} is a generator; annotate it with `-> Iterator[Type]` or `-> AsyncIterator[Type]`")
    return (AsyncStructured if inspect.iscoroutinefunction(function) else Structured), annotated


def check_function(function: Any) -> None:
    """Raise TypeError or ValueError where something can't be decorated, saying what to write instead."""
    if isinstance(function, str):
        raise TypeError(f"structured() decorates functions; name the model as @guard.structured(model={function!r})")
    if not inspect.isfunction(function):
        raise TypeError(f"structured() decorates functions, not {function!r}")
    if not (function.__doc__ or "").strip():
        raise ValueError(f"{function.__qualname__} has no docstring; its docstring is the instruction to the model")


def _functions(tools: Iterable[Any]) -> tuple[Any, ...]:
    """Return the tools of a function; TypeError where nobody could run one. Their arguments are read at the call."""
    check_kind("tools", tools, Iterable, "a list of functions")
    functions = tuple(tools)
    for tool in functions:
        if not (inspect.isroutine(tool) or isinstance(tool, ToolSpec)):
            raise TypeError(f"tools={clipped([tool])} must hold functions")
    return functions


def _module(function: Callable[..., Any]) -> str:
    """Return the module's name, also of one that is run by `python -m`: the trace knows a function by it."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name if function.__module__ == "__main__" and spec is not None else function.__module__


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
    except prompts.UnshowableError as error:
        words = f"the argument {name}={type(value).__name__} can't be shown to a model: {error}"
        raise prompts.UnshowableError(words) from None
