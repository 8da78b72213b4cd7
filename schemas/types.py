"""Types: whatever a caller may name a schema by becomes JSON Schema.

JSON Schema itself (a dict, a bool, JSON text) passes through; anything else is a Python type, and Pydantic says what
its JSON looks like. Its schemas are draft 2020-12, with declared order of fields kept.
"""

from __future__ import annotations

import functools
import inspect
import operator
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pydantic
import pydantic_core
import typing_extensions

from guard.kernels.errors import Finding, SchemaError
from guard.schemas.typed.notes import Beyond, take_notes

if TYPE_CHECKING:
    from guard.schemas.typed.exact_reader import ExactReader

#: What Pydantic writes before an error of what it builds: `SchemaError: `, `error: `.
_KIND = re.compile(r"\w*error: ", re.IGNORECASE)


def is_schema(schema: object) -> bool:
    """Say whether an argument is JSON Schema already, rather than a type."""
    return isinstance(schema, (dict, bool, str, bytes, bytearray, Mapping))


@dataclass(frozen=True)
class Described:
    """A Python type as JSON Schema, and what of it no schema says."""

    schema: Any
    beyond: tuple[Beyond, ...] = ()  # left to Pydantic, which reads the answer


def json_schema(annotation: Any) -> Any:
    """Return the JSON Schema of a Python type: a model, dataclass, TypedDict, Enum, Literal or any annotation."""
    return described(annotation).schema


class Spelled:
    """A type as it is written, a key of caches. Python's own equality forgets the order of a union.

    Hashing it raises TypeError where a part of the type is unhashable.
    """

    __slots__ = ("key", "wanted")

    def __init__(self, wanted: Any) -> None:
        self.wanted, self.key = wanted, _spelling(wanted)

    def __eq__(self, other: object) -> bool:
        """Whether two types are written alike."""
        return isinstance(other, Spelled) and self.key == other.key

    def __hash__(self) -> int:
        """Return the hash of what is written."""
        return hash(self.key)


def _spelling(wanted: Any) -> Any:
    if isinstance(wanted, list):  # the parameters of a Callable
        return tuple(map(_spelling, wanted))
    origin = typing.get_origin(wanted)
    if origin is None:
        return type(wanted), wanted
    return origin, tuple(map(_spelling, typing.get_args(wanted)))


def as_described(wanted: Any) -> tuple[Any, tuple[Beyond, ...]]:
    """Return a JSON Schema or a type as a schema, and what it does not say; SchemaError where a type has none."""
    if is_schema(wanted):
        return wanted, ()
    found = wanted if isinstance(wanted, Described) else described(wanted)
    return found.schema, found.beyond


def described(annotation: Any) -> Described:
    """Return the JSON Schema of a Python type, exact but for what is listed; SchemaError where it has none."""
    from guard.schemas.typed.generator import Generator  # here: it takes time that schemas do not need

    if _says_more(annotation):
        words = f"{annotation!r:.100} is no type; it says more of one"
        raise SchemaError(Finding("", None, words, "write it behind the type: Annotated[str, …]"))
    try:
        return Described(*take_notes(adapter(annotation).json_schema(schema_generator=Generator)))
    except Exception as error:  # Pydantic's own are of many kinds, and a type's own code may raise others
        name = getattr(annotation, "__qualname__", repr(annotation))
        raise SchemaError(Finding("", None, f"{name} has no JSON Schema: {_reason(error)}", _fix(error))) from error


def _reason(error: Exception) -> str:
    """Return what is wrong with a type, of many lines the one that says it."""
    if _is_undefined(error) and not isinstance(error, NameError):
        return "a type that it names is not found in its module"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, pydantic_core.SchemaError):  # the first lines say only where it is
        return _KIND.sub("", lines[-1].strip(), count=1)
    return lines[0].partition(". Set `arbitrary_types_allowed")[0].rstrip(".")


def _is_undefined(error: Exception) -> bool:
    """Whether an annotation that is written as a text names what Pydantic does not find."""
    return isinstance(error, NameError) or getattr(error, "code", None) == "class-not-fully-defined"


def _fix(error: Exception) -> str:
    if _is_undefined(error):
        return "define it in the module, or leave out `from __future__ import annotations`"
    if not isinstance(error, pydantic_core.SchemaError):
        return "use a type that Pydantic can read from JSON"
    if "regex" not in str(error):
        return "correct it"
    return "correct the pattern, or give it as re.compile(…), which Python's re reads"


def _says_more(annotation: Any) -> bool:
    """Whether something is what stands behind a type in `Annotated`. Types have the same methods, for their class."""
    kind = annotation if isinstance(annotation, type) else type(annotation)
    return inspect.isfunction(inspect.getattr_static(kind, "__get_pydantic_json_schema__", None))


def reader(annotation: Any) -> ExactReader:
    """Return what reads a type's values from JSON."""
    from guard.schemas.typed.exact_reader import ExactReader  # here: it takes time that schemas do not need

    return ExactReader(adapter(annotation))


def adapter(annotation: Any) -> pydantic.TypeAdapter[Any]:
    """Return Pydantic's adapter of a type."""
    return pydantic.TypeAdapter(readable(annotation))


def readable(annotation: Any) -> Any:
    """Return an annotation with what Pydantic refuses before Python 3.12, `typing.TypedDict`, replaced by its like."""
    return _readable(annotation, {})


def _readable(annotation: Any, done: dict[Any, Any]) -> Any:
    if sys.version_info >= (3, 12):
        return annotation
    if typing.is_typeddict(annotation) and type(annotation).__module__ == "typing":
        return _typed_dict(annotation, done)
    arguments = typing.get_args(annotation)
    origin: Any = typing.get_origin(annotation)
    if not arguments or origin is typing.Literal:
        return annotation
    found = tuple(_readable(argument, done) for argument in arguments)
    if all(a is b for a, b in zip(arguments, found, strict=True)):
        return annotation
    if origin is typing.Annotated:
        return typing.Annotated[(found[0], *annotation.__metadata__)]
    if origin is types.UnionType or origin is typing.Union:
        return functools.reduce(operator.or_, found)
    return origin[found]


def _typed_dict(annotation: Any, done: dict[Any, Any]) -> Any:
    if annotation in done:
        return done[annotation]
    fields: dict[str, Any] = {}
    for name, hint in typing_extensions.get_type_hints(annotation, include_extras=True).items():
        said: Any = typing.get_origin(hint)  # `__required_keys__` misses what annotations in quotes say
        if said is typing.Required or said is typing.NotRequired:
            kind, bare = said, typing.get_args(hint)[0]
        else:
            kind, bare = (typing.Required if name in annotation.__required_keys__ else typing.NotRequired), hint
        fields[name] = kind[_readable(bare, done)]
    make: Any = typing_extensions.TypedDict
    done[annotation] = made = make(annotation.__name__, fields)
    made.__doc__, made.__module__ = annotation.__doc__, annotation.__module__
    return made
