"""The bystander, a process of its own: asks plain things beside the attacks, and times each.

`python -m attack.bystander` prints the port of a good provider that it has inside of itself, then reads lines: the
address of the sidecar to ask, again where another was started, and at last none; then it prints its figures. It asks
at a fixed rate, whatever came of the questions before: a sidecar that stands still is seen as often as it should have
answered. What it asks of its own provider directly, at the same rate, is what the machine itself costs.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

EVERY_S = 0.05  #: Between two questions of a kind.
PATIENCE_S = 30.0
KINDS = ("live", "plain", "direct")


@dataclass
class Figures:
    """What came of the questions of one kind."""

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


async def provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request of a connection with what it asked."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            asked = json.loads(await reader.readexactly(int(length[1]) if length else 0))
            message = {"role": "assistant", "content": asked["messages"][0]["content"]}
            whole = {
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": "good-1",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
            body = json.dumps(whole).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


class Bystander:
    """Asks, and keeps the times."""

    def __init__(self, provider: str) -> None:
        self.figures = {kind: Figures() for kind in KINDS}
        self._provider, self._address = provider, ""
        self._numbers = itertools.count()
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Ask until cancelled."""
        due = time.monotonic()
        while True:
            if self._address:
                for kind in KINDS:
                    task = asyncio.create_task(self._one(session, kind))
                    self._under_way.add(task)
                    task.add_done_callback(self._under_way.discard)
            due += EVERY_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def turn(self, address: str) -> None:
        """Ask there from now on; "": nobody. What is under way counts with the time that it has waited."""
        self._address = address
        for task in self._under_way:
            task.cancel()

    async def _one(self, session: aiohttp.ClientSession, kind: str) -> None:
        began, words = time.monotonic(), f"bystander {next(self._numbers)}"
        body = {"model": "good", "messages": [{"role": "user", "content": words}]}
        base = self._provider if kind == "direct" else self._address
        try:
            if kind == "live":
                async with session.get(f"{base}/health/live") as response:
                    said: Any = await response.json()
                    is_right = said == {"status": "live"}
            else:
                async with session.post(f"{base}/v1/chat/completions", json=body) as response:
                    said = await response.json()
                    is_right = response.status == 200 and said["choices"][0]["message"]["content"] == words
            if not is_right:
                self.figures[kind].failed.append(str(said)[:200])
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            self.figures[kind].failed.append(f"{type(error).__name__}: {error}"[:200])
        finally:
            self.figures[kind].seconds.append(time.monotonic() - began)


async def main() -> None:
    """Measure until the lines end."""
    server = await asyncio.start_server(provide, "127.0.0.1", 0, backlog=1024)
    provider = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    bystander = Bystander(provider)
    print(provider, flush=True)
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        asking = asyncio.create_task(bystander.run(session))
        while line := await asyncio.to_thread(sys.stdin.readline):
            bystander.turn(line.strip())
        bystander.turn("")
        asking.cancel()
    print(json.dumps({kind: vars(figures) for kind, figures in bystander.figures.items()}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
