"""Tools of MCP servers: a real one over its standard streams, and sessions of both versions of the package."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import guard
from guard import mcp
from guard.models.scripted import ScriptedModel

SERVER = '''
try:
    from mcp.server import MCPServer
except ImportError:
    from mcp.server.fastmcp import FastMCP as MCPServer

server = MCPServer("weather")

@server.tool()
def weather(city: str, days: int = 1) -> str:
    """Tell the weather of a city."""
    if city == "Nowhere":
        raise ValueError("no such city")
    return f"sunny in {city} for {days}"

server.run()
'''


@pytest.fixture
def command(tmp_path: Path) -> str:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return f"{sys.executable} {path}"


def test_a_server_lists_and_is_called(command: str, tmp_path: Path) -> None:
    from mcp import ClientSession, StdioServerParameters, stdio_client

    program, *arguments = command.split()
    model = ScriptedModel(
        '[{"name": "weather", "arguments": {"city": "Ulm", "days": 2}},'
        ' {"name": "weather", "arguments": {"city": "Nowhere"}}]',
        '{"content": "Sunny."}',
    )

    async def ask() -> guard.Conversation:
        started = StdioServerParameters(command=program, args=arguments)
        async with stdio_client(started) as (reading, writing), ClientSession(reading, writing) as session:
            await session.initialize()
            tools = await mcp.tools(session)
            assert [(tool.name, tool.description) for tool in tools] == [("weather", "Tell the weather of a city.")]
            return await guard.arun_tools("Weather?", tools, model=model, trace=tmp_path / "trace.db")

    done = asyncio.run(ask())
    assert "sunny in Ulm for 2" in done.messages[2]["content"]
    assert "weather failed: ToolError" in done.messages[3]["content"]
    assert done.text == "Sunny."


def test_arguments_are_held_to_the_tools_schema(command: str, tmp_path: Path) -> None:
    tools = asyncio.run(mcp.listed(command))
    wrong = ScriptedModel('[{"name": "weather", "arguments": {"city": 3}}]')
    with pytest.raises(guard.ValidationFailed, match="city"):
        guard.Guard(model=wrong, trace=tmp_path / "trace.db", retries=0).turn("?", tools)


def checked(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "guard", "check", *arguments], capture_output=True, text=True)


def test_guard_check_reports_the_tools_of_a_server(command: str) -> None:
    done = checked("--mcp", command, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == "weather"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--mcp", "no-such-program-here"), "can't be asked for its tools"),
        (("--mcp", ""), "is no command"),
        (("--mcp", f"{sys.executable} -c pass"), "can't be asked for its tools"),
        ((), "nothing to check"),
    ],
)
def test_a_server_that_is_none_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    done = checked(*arguments)
    assert done.returncode not in (0, 1), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


class Session:
    """A session as version 1 of the package has it, whose tools come in two pages."""

    def __init__(self, result: Any, output: Any = None) -> None:
        self.result, self.output = result, output

    async def list_tools(self, cursor: Any = None, params: Any = None) -> Any:
        schema = {"type": "object", "properties": {}}
        name = "first" if cursor is None and params is None else "second"
        tool = SimpleNamespace(name=name, description=None, inputSchema=schema, outputSchema=self.output)
        return SimpleNamespace(tools=[tool], nextCursor="more" if name == "first" else None)

    async def call_tool(self, name: str, arguments: Any) -> Any:  # noqa: ARG002 (the protocol's)
        return self.result


def test_pages_are_joined() -> None:
    assert [tool.name for tool in asyncio.run(mcp.tools(Session(None)))] == ["first", "second"]


@pytest.mark.parametrize(("given", "is_warned"), [({"n": 1}, False), ({"n": "x"}, True), (None, True)])
def test_an_output_that_breaks_its_schema_is_warned_of(given: Any, is_warned: bool, caplog: Any) -> None:
    text = SimpleNamespace(type="text", text="one")
    result = SimpleNamespace(content=[text], isError=False, structuredContent=given)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    async def call() -> str:
        tool, _ = await mcp.tools(Session(result, schema))
        assert tool.function is not None
        answer: str = await tool.function()
        return answer

    with caplog.at_level(logging.WARNING, "guard"):
        assert asyncio.run(call()) == ("one" if given is None else json.dumps(given))
    assert ("output schema" in caplog.text) == is_warned


def test_an_output_is_checked_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server chooses the schema: to compile it held up every other call of the loop."""
    may_end = threading.Event()

    def held_up(*_: Any) -> None:
        assert may_end.wait(20), "nothing else could run meanwhile"

    monkeypatch.setattr(mcp, "_check", held_up)
    result = SimpleNamespace(content=[], isError=False, structuredContent={"n": 1})

    async def call() -> None:
        tool, _ = await mcp.tools(Session(result, {"type": "object"}))
        assert tool.function is not None
        calling = asyncio.ensure_future(tool.function())
        await asyncio.sleep(0.05)
        may_end.set()
        assert await calling == '{"n": 1}'

    asyncio.run(call())


def test_pages_of_tools_that_never_end_are_refused() -> None:
    class Endless:
        async def list_tools(self, *_: Any, **__: Any) -> Any:
            return SimpleNamespace(tools=[], next_cursor="more")

    with pytest.raises(guard.ModelError, match="more than 1,000 pages"):
        asyncio.run(mcp.tools(Endless()))


def test_what_an_output_has_beside_text_is_named(tmp_path: Path) -> None:
    """A picture alone was told as an empty text, and the text of a resource was lost."""
    picture = SimpleNamespace(type="image", data="AAAA", mimeType="image/png")
    page = SimpleNamespace(type="resource", resource=SimpleNamespace(uri="file:a", text="of a page"))
    words = SimpleNamespace(type="text", text="Here:")

    class Session:
        async def list_tools(self) -> Any:
            tool = SimpleNamespace(name="show", description="", input_schema={"type": "object"})
            return SimpleNamespace(tools=[tool], next_cursor=None)

        async def call_tool(self, *_: Any) -> Any:
            return SimpleNamespace(content=[words, picture, page], is_error=False)

    async def ask() -> guard.Conversation:
        model = ScriptedModel('[{"name": "show", "arguments": {}}]', '{"content": "Done."}')
        return await guard.arun_tools("?", await mcp.tools(Session()), model=model, trace=tmp_path / "trace.db")

    assert asyncio.run(ask()).messages[2]["content"] == "Here:\n[image left out: it is no text]\nof a page"
