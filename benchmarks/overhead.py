"""What a call costs beside the model: `python -m benchmarks.overhead [--calls N]`.

Two tables. The pipeline over a model that answers at once: prompt, check, record committed. And one fake server on
this machine asked in turn by the bare openai SDK, by instructor, and by Guard: what each adds to the SDK.
"""

from __future__ import annotations

import argparse
import json
import os
import socketserver
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

import guard
from guard.models.base import Reply, Request

TEXT = "Invoice NW-20418 of Northwind Paper & Print Ltd, 581.50 GBP net. " * 28  # 1.8 KB
ASK = [{"role": "user", "content": TEXT}]


class Invoice(BaseModel):
    """An invoice."""

    number: str
    vendor: str
    total: float
    lines: list[str]


ANSWER = json.dumps({"number": "NW-20418", "vendor": "Northwind", "total": 581.5, "lines": ["paper", "ink"]})


class Instant:
    """A model that answers at once."""

    name = "instant"

    def generate(self, request: Request) -> Reply:  # noqa: ARG002 (a model's method)
        """Answer."""
        return Reply(ANSWER, "stop", "instant", 400, 40, cost=0.0)


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Answer requests on one connection until it is closed."""
        while self.rfile.readline().strip():
            length, is_tool = 0, False
            while line := self.rfile.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            is_tool = b'"tools"' in self.rfile.read(length)
            message: dict[str, Any] = {"role": "assistant", "content": ANSWER}
            if is_tool:
                call = {"id": "1", "type": "function", "function": {"name": "Invoice", "arguments": ANSWER}}
                message = {"role": "assistant", "content": None, "tool_calls": [call]}
            body = json.dumps(
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "served",
                    "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if is_tool else "stop"}],
                    "usage": {"prompt_tokens": 400, "completion_tokens": 40, "total_tokens": 440},
                }
            ).encode()
            time.sleep(self.server.delay)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    delay = 0.0


def served(delay: float = 0.0) -> str:
    """Start the fake server in a process of its own, so that it shares no interpreter lock; return its address.

    It takes `delay` seconds for an answer.
    """
    import multiprocessing

    parent, child = multiprocessing.get_context("spawn").Pipe()
    multiprocessing.get_context("spawn").Process(target=_serve, args=(child, delay), daemon=True).start()
    return f"http://127.0.0.1:{parent.recv()}/v1"


def _serve(pipe: Any, delay: float) -> None:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.delay = delay
    pipe.send(server.server_address[1])
    server.serve_forever()


def ways(url: str) -> dict[str, Callable[[], Any]]:
    """Return what is compared; instructor only where it is installed."""
    import openai

    from guard.models.remote.openai import OpenAIModel

    client = openai.OpenAI(base_url=url, api_key="none")
    found: dict[str, Callable[[], Any]] = {
        "openai SDK": lambda: client.chat.completions.create(model="m", messages=ASK)
    }
    try:
        import instructor
    except ImportError:
        pass
    else:
        wrapped = instructor.from_openai(client)
        found["instructor"] = lambda: wrapped.chat.completions.create(model="m", messages=ASK, response_model=Invoice)
    asked = guard.Guard(OpenAIModel("m", base_url=url, api_key="none"))
    found["Guard"] = lambda: asked.generate(Invoice, ASK)
    return found


def measured(ways: dict[str, Callable[[], Any]], calls: int) -> dict[str, list[float]]:
    """Time the ways in turn, so that the machine's moods meet them alike; returns sorted milliseconds."""
    for way in ways.values():
        for _ in range(20):
            way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(calls):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append((time.perf_counter() - start) * 1000)
    return {name: sorted(each) for name, each in times.items()}


def main() -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description="What a call costs beside the model.")
    parser.add_argument("--calls", type=int, default=1000, help="of each way (default: %(default)s)")
    calls = parser.parse_args().calls
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GUARD_TRACE"] = str(Path(folder) / "trace.db")
        instant = guard.Guard(Instant())
        (times,) = measured({"pipeline": lambda: instant.generate(Invoice, ASK)}, calls).values()
        p50, p99 = statistics.median(times) * 1000, times[int(len(times) * 0.99)] * 1000
        console.print(f"pipeline over a model that answers at once: {p50:.0f} µs at p50, {p99:.0f} µs at p99")
        found = measured(ways(served()), calls)
    table = Table("", "p50, ms", "p99, ms", "added to the SDK at p50, ms")
    bare = statistics.median(found["openai SDK"])
    for name, each in found.items():
        p50 = statistics.median(each)
        table.add_row(name, f"{p50:.2f}", f"{each[int(len(each) * 0.99)]:.2f}", f"{p50 - bare:.2f}")
    console.print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
