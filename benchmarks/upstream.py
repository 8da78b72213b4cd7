"""A provider that costs next to nothing: `python -m benchmarks.upstream PORT [SHORTEST LONGEST]`.

It answers every request with the same chat completion, at once, or after a time drawn between two numbers of seconds,
which the answer tells as `delay`; a request with a `response_format` gets a JSON text. No HTTP library: requests are
split by their Content-Length.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "served-1",
    "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
}


JSON_TEXT = '{"vendor": "Tallyho", "total": 12.5}'


def response(delay: float, text: str = "Hello there.") -> bytes:
    """Return the whole answer."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    body = json.dumps({**ANSWER, "choices": choices, "delay": delay}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Provider(asyncio.Protocol):
    """One connection."""

    range: tuple[float, float] | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport, self._held = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._held) < end + 4 + length:
                return
            is_json = self._held.find(b'"response_format"', end, end + 4 + length) >= 0
            self._held = self._held[end + 4 + length :]
            if self.range is None:
                self._transport.write(JSON_AT_ONCE if is_json else AT_ONCE)
            else:
                delay = random.uniform(*self.range)
                asyncio.get_running_loop().call_later(delay, self._transport.write, response(delay))


AT_ONCE, JSON_AT_ONCE = response(0.0), response(0.0, JSON_TEXT)


async def main() -> None:
    """Serve until the process is ended."""
    port, *delays = sys.argv[1:]
    Provider.range = (float(delays[0]), float(delays[1])) if delays else None
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", int(port), backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
