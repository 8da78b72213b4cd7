"""`guard.structured`: a function whose body is a model.

The docstring is the instruction, the arguments are the input, the return annotation is the type. The type is compiled
when the function is decorated, so that a schema that can't be enforced is an error at import; the model is loaded at
the first call.

The kind of function decides how it is called: a plain one returns the value, an `async def` is awaited, and one that is
annotated with an (async) iterator of a type yields partial values while they arrive; the last one is complete.
"""

from __future__ import annotations

import collections.abc
import copy
import functools
import inspect
import sys
import typing
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from types import FrameType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack, overload

from guard.calls import prompts
from guard.calls.conversation import ToolLoop
from guard.calls.pipeline import SETTING_NAMES, CallSettings, Guard
from guard.calls.steps import Plan
from guard.calls.value_stream import AsyncStream, Stream
from guard.calls.wholeness import whole
from guard.models import chat_messages
from guard.support.async_functions import MARKS, mark
from guard.support.bounds import check_kind, check_names
from guard.support.by_name import is_found
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
_BOUND = ("self", "cls")  #: First parameters that are no input where nothing else tells a method.
#: What a pickle does without: the function, whose body never runs, and what is made for each process.
_NOT_SENT = ("__wrapped__", "__annotations__", "__annotate__", "__type_params__", "target", *MARKS)


class Decorated(Generic[P, R]):
    """The common part of decorated functions: `messages` shows the prompt, `using` changes settings."""

    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[P, Any], guard: Guard, wanted: Any, wrapper: type | None = None) -> None:
        functools.update_wrapper(typing.cast("Any", self), function)
        self.guard = guard
        self.target = guard.target(wanted)
        self.wanted = wanted  #: The type that the model answers with.
        self.instruction = inspect.getdoc(function) or ""
        self._signature = inspect.signature(function)
        self.name = f"{_module(function)}.{function.__qualname__}"  #: The function's name in the trace.
        self._wrapper = wrapper  # classmethod or staticmethod, where it was decorated above one
        self._is_method = self._may_be_method and self._is_in_class  # until the class says so
        self._bound: tuple[Any, ...] = ()  # the object whose method this is
        self._examples = self._shown(guard)
        self.tools: tuple[Any, ...] = ()  #: Tools that the model may call before it answers.

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the parameters that the model is shown, in order."""
        return tuple(self._signature.parameters)[self._is_method :]

    @property
    def _is_in_class(self) -> bool:
        """Whether the function was written in the body of a class."""
        around = self.__qualname__.rpartition(".")[0]
        return bool(around) and not around.endswith("<locals>")

    @property
    def _may_be_method(self) -> bool:
        """Whether the decorators above, or else the name of the first parameter, are those of a method."""
        first = next(iter(self._signature.parameters), "")
        return self._wrapper is classmethod or (self._wrapper is None and first in _BOUND)

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn that the function is a method: it stands in the class in whose body it was written."""
        if self._wrapper is None and self.__qualname__ == f"{owner.__qualname__}.{self.__name__}":
            self._be_method()

    def _be_method(self) -> None:
        if not self._is_method:
            self._is_method = True
            self._examples = self._shown(self.guard)

    def _of(self, instance: Any, owner: type | None) -> Self:
        """Return the method bound to an object or a class; the function itself where it is not a method."""
        holder = (owner or type(instance)) if self._wrapper is classmethod else instance
        if holder is None or self._bound or self._wrapper is staticmethod:
            return self
        if not (self._is_method or self._is_in_class or self._may_be_method):
            return self  # a function of a module, which a class only names
        bound = self._copy()
        bound._be_method()
        bound._bound = (holder,)
        return bound

    def _copy(self) -> Self:
        """Return another object of the same content."""
        copied = object.__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def __copy__(self) -> Self:
        """Return the function itself: it is never changed, as functions are not."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the function itself; of a method, that of a copy of its object, as Python's methods do."""
        if not self._bound:
            return self
        copied = self._copy()
        copied._bound = copy.deepcopy(self._bound, memo)
        return copied

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by name, as functions do; otherwise, and for functions of `__main__`, by content.

        A spawned worker knows the program's names, but a worker on another machine does not: it is sent the content.
        """
        if self.__module__ != "__main__" and is_found(self):
            return self.__qualname__
        bare = [one.replace(annotation=one.empty) for one in self._signature.parameters.values()]
        content = {name: value for name, value in vars(self).items() if name not in _NOT_SENT}
        return _again, (type(self), {**content, "_signature": inspect.Signature(bare)})

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
        check_kind("instruction", instruction, str, "a text")
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
        if not first and self._is_method and next(iter(self._signature.parameters), "") == "cls":
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


def _again(kind: type[Decorated[Any, Any]], content: dict[str, Any]) -> Decorated[Any, Any]:
    """Restore a decorated function from a pickle."""
    made = object.__new__(kind)
    vars(made).update(content, __signature__=content["_signature"])
    made.target = made.guard.target(made.wanted)
    return mark(made) if isinstance(made, AsyncStructured) else made


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

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        mark(self)

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
    caller = _visible(sys._getframe(1))  # where a function's local types are found under postponed annotations

    def decorate(given: Callable[P, Any]) -> Decorated[P, Any]:
        function: Any = given.__func__ if isinstance(given, classmethod | staticmethod) else given
        check_function(function)
        annotated = return_type(function, caller)
        kind, wanted = _kind(function, annotated)
        wrapper = type(given) if function is not given else None
        made = kind(function, Guard(**settings), wanted, wrapper)
        made.tools = functions
        if made.tools and kind not in (Structured, AsyncStructured):
            raise TypeError(f"{function.__qualname__} has tools, and a value is streamed only without; leave one out")
        return made

    return decorate if function is None else decorate(function)


def _kind(function: Callable[..., Any], annotated: Any) -> tuple[type[Decorated[Any, Any]], Any]:
    """Return how a function is called, and the type that the model answers with."""
    origin, arguments = typing.get_origin(annotated), typing.get_args(annotated)
    name = function.__qualname__
    if origin in _STREAMED | _ASYNC_STREAMED and inspect.iscoroutinefunction(function):
        raise TypeError(f"{name} is an `async def` that would give a stream; write `def`, and `-> AsyncIterator[Type]`")
    if origin in _STREAMED and arguments:
        return Streamed, arguments[0]
    if origin in _ASYNC_STREAMED and arguments:
        return AsyncStreamed, arguments[0]
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


def _visible(frame: FrameType | None) -> Mapping[str, Any]:
    """Return the variables where a function is decorated; in the body of a class, also those around the class."""
    if frame is None:
        return {}
    is_class = "__qualname__" in frame.f_locals and not frame.f_code.co_flags & inspect.CO_OPTIMIZED
    return {**_visible(frame.f_back), **frame.f_locals} if is_class else frame.f_locals


def return_type(function: Callable[..., Any], local: Mapping[str, Any]) -> Any:
    """Return a function's return annotation; ValueError where it has none, or names a type that is not there."""
    name = function.__qualname__
    if "return" not in function.__annotations__:
        raise ValueError(f"{name} has no return annotation; write `-> Type`, the type that the model is to answer with")
    only_return = type("signature", (), {"__annotations__": {"return": function.__annotations__["return"]}})
    try:
        wanted = typing.get_type_hints(only_return, function.__globals__, dict(local), include_extras=True)["return"]
    except NameError as error:
        way_out = "define the type above it, in the module, or leave out `from __future__ import annotations`"
        raise ValueError(f"{name}'s return annotation can't be read: {error}; {way_out}") from None
    if wanted in (None, type(None), typing.Never, typing.NoReturn):
        raise ValueError(f"{name} is annotated to return nothing; name the type that the model is to answer with")
    return wanted


def _as_text(name: str, value: object) -> str:
    try:
        return prompts.as_text(value)
    except prompts.UnshowableError as error:
        words = f"the argument {name}={type(value).__name__} can't be shown to a model: {error}"
        raise prompts.UnshowableError(words) from None
