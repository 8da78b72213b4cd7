"""What command-line arguments name: types and schemas, structured functions, documents, text files."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard.cli.console import Problem
from guard.support.bounds import written
from guard.support.loading import LoadError, load
from guard.support.strict_json import unread

if TYPE_CHECKING:
    from guard.tools import ToolSpec


Documents = Annotated[
    list[str] | None,
    typer.Option("--document", metavar="URI=FILE", help="What a reference leads to. May be repeated."),
]
Draft = Annotated[
    str | None,
    typer.Option(help="How a schema without $schema is read: draft4 … openapi3.1. Default: draft2020-12."),
]
Inexact = Annotated[bool, typer.Option(help="Leave keywords that can't be enforced exactly to validation.")]


def compile_options(given: list[str] | None, draft: str | None, inexact: bool) -> dict[str, Any]:
    """Return the options of `guard.compile` that a command line names."""
    options: dict[str, Any] = {"documents": documents(given)} if given else {}
    options |= {"draft": draft} if draft is not None else {}
    return {**options, "inexact": "residual"} if inexact else options


def read_text(path: Path) -> str:
    """Return a file's text; Problem says why it can't be read."""
    from guard.batch.inputs import InputError, text_of

    try:
        text = text_of(path)
    except InputError as error:
        raise Problem(str(error)) from None
    if not text.strip():
        raise Problem(f"{path} is empty; there is nothing to read in it")
    return text


def version_of(name: str) -> tuple[str, int] | None:
    """Return the function and the number of `FUNCTION@VERSION`; None of what is none."""
    function, at, number = name.rpartition("@")
    is_number = number.isdecimal() and len(number) < 10  # Python reads no number of thousands of digits
    return (function, int(number)) if at and is_number else None


def resolve(target: str) -> Any:
    """Return the type that an argument names: the text of a JSON Schema, a format, or the object `module:name`."""
    if not target:
        raise Problem("'' names nothing; give a JSON Schema's file, module:Type, or file.py:Type")
    if target.lstrip().startswith("{"):
        raise Problem("a JSON Schema is read from a file; write it into one, and give the file's name")
    if target.endswith(".py") or (":" in target and not Path(target).exists()):
        try:
            found = load(target)
        except LoadError as error:
            raise Problem(str(error)) from None
        if inspect.isfunction(found) or inspect.isbuiltin(found):
            raise Problem(f"{target} is a function; decorate it with guard.structured, or name its return type")
        if isinstance(found, int | float | list | tuple | set) and not isinstance(found, bool):
            raise Problem(f"{target} is {written(found)}, and no type; name a type, or a structured function")
        return found
    from guard.schemas.structural.spellings import is_format

    text = _schema_text(target, ", module:Type, or file.py:Type")
    return found if is_format(found := json.loads(text)) else text


def mcp_tools(command: str) -> Sequence[ToolSpec]:
    """Return the tools of the MCP server that a command starts."""
    from guard import mcp
    from guard.errors import ModelError

    try:
        return asyncio.run(mcp.listed(command))
    except (ModelError, ValueError) as error:
        raise Problem(f"--mcp: {error}") from None


def _schema_text(path: str, or_else: str = "") -> str:
    """Return the text of a file that holds a JSON Schema."""
    text = read_text(Path(path))
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        raise Problem(f"{path} {unread(error)}; give a JSON Schema{or_else}") from None
    except (ValueError, RecursionError) as error:
        from guard.schemas.limits import Limits

        most = f"a schema has {Limits().depth} levels at most, and numbers of {Limits().digits:,} digits"
        raise Problem(f"{path} {unread(error)}; {most}") from None
    if not isinstance(schema, dict | bool):
        raise Problem(f"{path} is JSON but no JSON Schema: a schema is an object or a boolean")
    return text


def resolve_type(target: str) -> tuple[Any, dict[str, Any]]:
    """Return what `resolve` does; for a structured function, its type and its compile options."""
    from guard.calls.decorator import Decorated

    found = resolve(target)
    if isinstance(found, Decorated):
        compiled = found.target.compiled
        return compiled.contents if compiled.is_format else found.wanted, found.guard.options
    return found, {}


def documents(given: list[str] | None) -> dict[str, str]:
    """Read the files that --document names. Each must be JSON, even if nothing references it."""
    read = {}
    for one in given or []:
        uri, equals, path = one.rpartition("=")
        if not equals or not uri:
            raise Problem(f"--document {one} must be URI=FILE")
        if uri in read:
            raise Problem(f"--document {one} names {uri} a second time; leave one out")
        read[uri] = _schema_text(path)
    return read
