"""Tools: functions of the application that a model may call, with arguments that their signatures allow.

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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from guard.support.by_name import is_found
from guard.support.clipping import clipped


class ToolCall(BaseModel):
    """A function's name and its arguments, checked; `run` calls it."""

    model_config = ConfigDict(extra="forbid")
    _function: ClassVar[Callable[..., Any]]

    def run(self) -> Any:
        """Call the function with the arguments. An `async def` returns its coroutine."""
        return type(self)._function(**parameters(self._given))

    @property
    def _given(self) -> BaseModel:
        given: BaseModel = self.arguments  # type: ignore[attr-defined] # the class made for each tool has the field
        return given

    def __eq__(self, other: object) -> bool:
        """Whether both call the same function with equal arguments, also where one was unpickled."""
        if not isinstance(other, ToolCall):
            return NotImplemented
        same = type(self)._function is type(other)._function
        return same and parameters(self._given) == parameters(other._given)

    __hash__ = None  # type: ignore[assignment] # as of all models that may change

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the function, by its name, and the arguments: the classes are made for each process."""
        return _called, (type(self)._function, self._given.__getstate__())


def _called(function: Callable[..., Any], state: dict[Any, Any]) -> ToolCall:
    """Make the call that a pickle holds."""
    kind = _call(function)
    arguments: Any = kind.model_fields["arguments"].annotation
    given = arguments.__new__(arguments)
    given.__setstate__(state)
    return kind.model_construct(name=function.__name__, arguments=given)


def calls(*functions: Callable[..., Any]) -> Any:
    """Return the type of a call of one of the functions.

    Raises TypeError where a signature has no JSON Schema, SchemaError where nothing can meet it.
    """
    from guard.output import target  # imported late: it needs the schema compiler

    if not functions:
        raise TypeError("calls() needs at least one function")
    kinds = [_call(function) for function in functions]
    names = [function.__name__ for function in functions]
    if len(set(names)) < len(names):
        raise TypeError(f"calls({', '.join(names)}) must name each function once")
    if len(kinds) == 1:
        return kinds[0]
    for kind in kinds:  # of all together something can be met where one can't
        target.from_any(kind, {})
    return Annotated[functools.reduce(operator.or_, kinds), Field(discriminator="name")]


@dataclass(frozen=True)
class ToolSpec:
    """A tool as a model is told of it: its name, its description, and the JSON Schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any] | None = None  #: Runs a call; None: the application does.
    arguments: type[BaseModel] | None = None  #: Validates the arguments and holds them.

    @property
    def as_json(self) -> dict[str, Any]:
        """The tool in OpenAI's form, as chat templates take it."""
        told = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": told}

    def __copy__(self) -> ToolSpec:
        """Return the specification itself: it is never changed."""
        return self

    def __deepcopy__(self, _: Any) -> ToolSpec:
        """Return the specification itself: it is never changed."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the function or class by its name; without it where another process finds none of that name."""
        function = self.function if is_found(self.function) else None
        arguments: Any = self.arguments if is_found(self.arguments) else None
        if function is not None and self.arguments is not None:
            arguments = ...  # made of the function, in each process
        return _restored, (self.name, self.description, dict(self.parameters), function, arguments)


def _restored(name: str, description: str, schema: Mapping[str, Any], function: Any, arguments: Any) -> ToolSpec:
    """Make the specification that a pickle holds."""
    return ToolSpec(name, description, schema, function, _arguments(function) if arguments is ... else arguments)


def spec(tool: Any) -> ToolSpec:
    """Return the specification of a tool: a function, a Pydantic model, or JSON.

    JSON is in OpenAI's form, with or without the envelope, MCP's (`inputSchema`) or Anthropic's (`input_schema`). A
    function's docstring is its description; a Pydantic model's class name is the tool's name. Raises TypeError for
    anything else, and ValueError for JSON without a name or with a schema that is not an object's.
    """
    if isinstance(tool, ToolSpec):
        return tool
    if isinstance(tool, type) and issubclass(tool, BaseModel):
        about = inspect.getdoc(tool) if tool.__doc__ and tool.__doc__ != BaseModel.__doc__ else ""
        return ToolSpec(tool.__name__, about or "", _closed_schema(tool), None, tool)
    if isinstance(tool, Mapping):
        return _of_json(tool)
    arguments = _arguments(tool)
    return ToolSpec(tool.__name__, inspect.getdoc(tool) or "", _closed_schema(arguments), tool, arguments)


def specs(tools: Iterable[Any]) -> tuple[ToolSpec, ...]:
    """Return the specifications of tools; ValueError where two share a name."""
    if isinstance(tools, Mapping | str) or not isinstance(tools, Iterable):
        raise TypeError("tools=… must be a list of functions, Pydantic models or JSON")
    found = tuple(map(spec, tools))
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"tools=… names {name!r} twice; a model could not tell them apart")
    return found


def _of_json(tool: Mapping[str, Any]) -> ToolSpec:
    told = tool.get("function", tool) if tool.get("type", "function") == "function" else None
    if not isinstance(told, Mapping):
        raise ValueError(f"a tool of type {tool.get('type')!r:.60} is no function, and can't be held to a schema")
    name, description = told.get("name"), told.get("description") or ""
    if not isinstance(name, str) or not name:
        raise ValueError(f"the tool {clipped(dict(told))} has no name")
    schemas = [told[key] for key in ("parameters", "inputSchema", "input_schema") if told.get(key) is not None]
    parameters: Any = schemas[0] if schemas else {"type": "object", "properties": {}, "additionalProperties": False}
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        raise ValueError(f"the tool {name!r} takes {clipped(parameters)}, which is no object's schema")
    return ToolSpec(name, str(description), {"type": "object", **parameters})


def _closed_schema(kind: type[BaseModel]) -> dict[str, Any]:
    from guard.output.target import closed  # imported late: it needs the schema compiler
    from guard.schemas import types

    made: dict[str, Any] = closed(types.json_schema(kind))
    return made


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
    if not inspect.isroutine(function) or not hasattr(function, "__name__"):  # from 3.14 on a partial is a routine
        raise TypeError(f"the tool {clipped(function)} must be a function, a Pydantic model or JSON")
    from guard.schemas import types  # imported late: a schema needs no types

    fields: dict[str, Any] = {}
    hints = _hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{function.__name__}: the parameter {parameter} can't be given by name in JSON")
        if name not in hints:
            raise TypeError(f"{function.__name__}: the parameter {name} has no annotation; write `{name}: Type`")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[_field_name(name)] = (types.readable(hints[name]), default)
    config = ConfigDict(extra="forbid", alias_generator=_parameter_name, protected_namespaces=())
    made: type[BaseModel] = create_model(f"{function.__name__}_arguments", __config__=config, **fields)
    for field in fields:
        name = _parameter_name(field)
        if name not in fields and not name.startswith(("_", "model_")):  # an old method of Pydantic's, as `schema`
            setattr(made, name, property(operator.attrgetter(field)))
    return made


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's annotations; TypeError where one names a type that can't be found."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        way_out = "define the type in the module, or leave out `from __future__ import annotations`"
        raise TypeError(f"{function.__name__}'s annotations can't be read: {error}; {way_out}") from None


def parameters(built: BaseModel) -> dict[str, Any]:
    """Return checked arguments as the function takes them: by the names of its parameters."""
    return {_parameter_name(field): getattr(built, field) for field in type(built).model_fields}


#: Before the name of a parameter that can't be a field's: Pydantic has its own use for `_id`, `schema`, `model_dump`.
_PREFIX = "parameter_"


def _field_name(parameter: str) -> str:
    """Return the name of the field that holds a parameter's argument; in JSON it has the parameter's own."""
    is_taken = parameter.startswith(("_", _PREFIX)) or hasattr(BaseModel, parameter)
    return _PREFIX + parameter if is_taken else parameter


def _parameter_name(field: str) -> str:
    return field.removeprefix(_PREFIX)
