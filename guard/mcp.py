"""Tools of servers of the Model Context Protocol: listed, called with masked arguments, their outputs checked.

    async with ClientSession(read, write) as session:
        await session.initialize()
        done = await guard.arun_tools("Weather in Ulm?", await guard.mcp.tools(session))

A session is one of the `mcp` package, version 1 or 2, or any object with its `list_tools` and `call_tool`. A server's
description of its tools is not trusted: a tool whose schema can't be enforced is refused when a model is asked with it.
"""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from guard.errors import ModelError
from guard.support.threads import in_thread
from guard.tools import ToolSpec

MOST_TOOLS = 10_000  #: Most tools of one server.
MOST_PAGES = 1_000  #: Most pages in which a server may list them: pages may be empty, and never end.
SECONDS = 30.0  #: Time for a server to start and list its tools.
_log = logging.getLogger("guard")


class ToolError(Exception):
    """The server reports that its tool has failed."""


async def tools(session: Any) -> tuple[ToolSpec, ...]:
    """Return the tools that a server offers; calling one sends the call to the server.

    A tool returns its structured output as JSON, or its text where there is none; a picture or a sound is named in it,
    and left out. An output that violates the tool's output schema is logged as a warning and passed on. A call raises
    ToolError where the server reports a failure. ModelError where the server lists more than MOST_TOOLS, or on more
    than MOST_PAGES pages.
    """
    found: list[ToolSpec] = []
    cursor = None
    for _ in range(MOST_PAGES):
        page = await _page(session, cursor)
        found += [_spec(session, tool) for tool in page.tools]
        if len(found) > MOST_TOOLS:
            raise ModelError(f"the MCP server lists more than {MOST_TOOLS:,} tools")
        cursor = _of(page, "next_cursor", "nextCursor")
        if not cursor:
            return tuple(found)
    raise ModelError(f"the MCP server lists its tools on more than {MOST_PAGES:,} pages")


async def listed(command: str) -> tuple[ToolSpec, ...]:
    """Start a server by its command, list its tools, and stop it; ModelError where it does not start or answer."""
    import anyio

    try:
        from mcp import ClientSession, StdioServerParameters, stdio_client
    except ImportError as error:
        raise ModelError(f"MCP servers need {error.name}: pip install 'guard-slm[mcp]'") from None
    program, *arguments = shlex.split(command) or [""]
    if not program:
        raise ValueError(f"{command!r} is no command: name a program that is an MCP server")
    started = StdioServerParameters(command=program, args=arguments)
    try:
        with anyio.fail_after(SECONDS):
            async with stdio_client(started) as (reading, writing), ClientSession(reading, writing) as session:
                await session.initialize()
                return await tools(session)
    except TimeoutError:
        raise ModelError(f"{program} listed no tools within {SECONDS:g} s") from None
    except (OSError, ExceptionGroup) as error:
        raise ModelError(f"{program} can't be asked for its tools: {_first(error)}") from None
    except Exception as error:
        if type(error).__module__.split(".")[0] != "mcp":
            raise
        raise ModelError(f"{program} can't be asked for its tools: {error}") from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _page(session: Any, cursor: str | None) -> Any:
    if cursor is None:
        return await session.list_tools()
    try:
        from mcp.types import PaginatedRequestParams
    except ImportError:  # a session of another client
        return await session.list_tools(cursor)
    return await session.list_tools(params=PaginatedRequestParams(cursor=cursor))


def _spec(session: Any, tool: Any) -> ToolSpec:
    given = _of(tool, "input_schema", "inputSchema")
    parameters = {"type": "object", **(given if isinstance(given, Mapping) else {})}
    call = _calling(session, tool.name, _of(tool, "output_schema", "outputSchema"))
    return ToolSpec(tool.name, getattr(tool, "description", None) or "", parameters, call)


def _calling(session: Any, name: str, output: Any) -> Callable[..., Awaitable[str]]:
    async def call(**arguments: Any) -> str:
        result = await session.call_tool(name, arguments)
        text = "\n".join(map(_text, result.content))
        if _of(result, "is_error", "isError"):
            raise ToolError(text or f"{name} has failed")
        structured = _of(result, "structured_content", "structuredContent")
        if isinstance(output, Mapping):
            await in_thread(_check, name, output, structured)  # the server chose the schema, and how long it takes
        return text if structured is None else json.dumps(structured, ensure_ascii=False)

    call.__name__ = name
    return call


def _text(part: Any) -> str:
    """Return the text of a part of an output, or what stands for a part that has none."""
    holder = getattr(part, "resource", part)
    text = getattr(holder, "text", None)
    return text if isinstance(text, str) else f"[{getattr(part, 'type', 'a part')} left out: it is no text]"


def _check(name: str, schema: Mapping[str, Any], output: Any) -> None:
    """Log how an output violates its tool's output schema."""
    from guard.output import target

    try:
        findings = target.from_any(dict(schema), {"inexact": "residual"}).check(json.dumps(output))[1]
    except Exception as error:  # the server's schema is invalid
        _log.warning("the output schema of the MCP tool %s can't be used: %s", name, error)
        return
    if findings:
        _log.warning("the MCP tool %s returned what its own output schema does not allow: %s", name, findings[0])


def _of(thing: Any, *names: str) -> Any:
    """Return the attribute under its name in version 2 of the package, or in version 1."""
    return next((found for name in names if (found := getattr(thing, name, None)) is not None), None)
