"""Tools: functions of the application that a model may ask to be called, with arguments that their signatures allow.

`calls(f, g)` is a type like any other: masks enforce it, the pipeline validates it, and its value runs the function.

```python
call = guard.Guard().generate(guard.tools.calls(weather, calendar), messages=[...])
call.name, call.arguments, call.run()
```
"""

from __future__ import annotations

import functools
import inspect
import operator
import typing
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model


class ToolCall(BaseModel):
    """A function's name and its arguments, checked; `run` calls it."""

    model_config = ConfigDict(extra="forbid")
    _function: ClassVar[Callable[..., Any]]

    def run(self) -> Any:
        """Call the function with the arguments; an `async def` gives its coroutine."""
        given: BaseModel = self.arguments  # type: ignore[attr-defined] # each tool's own class has the field
        return type(self)._function(**{name: getattr(given, name) for name in type(given).model_fields})


def calls(*functions: Callable[..., Any]) -> Any:
    """Return the type of a call of one of the functions; TypeError where a signature can't be a schema."""
    if not functions:
        raise TypeError("calls() needs at least one function")
    kinds = [_call(function) for function in functions]
    names = [function.__name__ for function in functions]
    if len(set(names)) < len(names):
        raise TypeError(f"calls({', '.join(names)}) must name each function once")
    if len(kinds) == 1:
        return kinds[0]
    return Annotated[functools.reduce(operator.or_, kinds), Field(discriminator="name")]


def schema(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the JSON Schema of a function's arguments."""
    return _arguments(function).model_json_schema()


def _call(function: Callable[..., Any]) -> type[ToolCall]:
    arguments = _arguments(function)
    fields: dict[str, Any] = {"name": (Literal[function.__name__], ...), "arguments": (arguments, ...)}
    kind = create_model(f"{function.__name__}_call", __base__=ToolCall, __doc__=inspect.getdoc(function), **fields)
    kind._function = staticmethod(function)
    return kind


def _arguments(function: Callable[..., Any]) -> type[BaseModel]:
    if not inspect.isroutine(function):
        raise TypeError(f"{function!r} must be a function")
    hints = typing.get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{function.__name__}: the parameter {parameter} can't be given by name in JSON")
        if name not in hints:
            raise TypeError(f"{function.__name__}: the parameter {name} has no annotation; write `{name}: Type`")
        fields[name] = (hints[name], ... if parameter.default is parameter.empty else parameter.default)
    return create_model(f"{function.__name__}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
