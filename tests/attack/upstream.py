"""The hostile provider, a process of its own: `python -m attack.upstream PORT` does what each prompt tells it to.

attack/plays.py has what it can do. One connection brings many requests, for what is left over on one is an attack as
well. It counts what comes to its trap, where redirects lead.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import socket
import struct
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from attack.cases import CANARY, Sign, Step
from attack.plays import PLAYS, TRAP, Heard, dumped, http

_PROMPT = re.compile(rf"canary:({CANARY}) play:([A-Za-z0-9_=.-]+)")


class Provider:
    """Plays, to whoever connects."""

    def __init__(self) -> None:
        self.trapped: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        with contextlib.suppress(OSError, RuntimeError):
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode("latin-1")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        data = await reader.readexactly(int(length[1]) if length else 0)
        if path.startswith("/told"):
            body = dumped(self.trapped)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return True
        if TRAP in path:
            self.trapped.append(data.decode(errors="replace")[:500])
        found = _PROMPT.search(data.decode(errors="replace"))
        canary, name = (found[1], found[2]) if found else ("nobody", "say-aGVsbG8=")
        heard = Heard(path, await asyncio.to_thread(_parsed, data), canary)
        if name.startswith("say-"):
            text = base64.urlsafe_b64decode(name[4:]).decode(errors="surrogatepass")
            steps: Iterable[Step] = [http(heard, heard.said(text))]
        else:
            steps = PLAYS[name](heard)
        return await _play(steps, writer)


async def _play(steps: Iterable[Step], writer: asyncio.StreamWriter) -> bool:
    """Play; returns whether the connection may bring another request."""
    for step in steps:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif isinstance(step, float):
            await asyncio.sleep(step)
        elif step is Sign.HANG:
            await asyncio.sleep(60)
            return False
        else:
            if step is Sign.RESET:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            return False
    return True


def _parsed(data: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(data) if len(data) < 2_000_000 else {}
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


async def main() -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(Provider().serve, "127.0.0.1", int(sys.argv[1]), backlog=1024, limit=2**20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
