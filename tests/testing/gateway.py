"""A small service in front of a model: chat completions in, a valid value or an error of the protocol out.

It stands for any server that `guard test http://…` is pointed at.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import guard
from guard.models.remote.openai import OpenAIModel

STATUS = {"Refused": 422, "ContentFiltered": 422, "ValidationFailed": 422, "Truncated": 422, "RateLimited": 429}


@contextlib.contextmanager
def running(
    upstream: str,
    *,
    hides_model: bool = False,
    swallows: bool = False,
    counts_last: bool = False,
    doubles: bool = False,
) -> Iterator[str]:
    """Serve; gives the address. The flags are bugs."""
    asked = guard.Guard(OpenAIModel("small", base_url=upstream, api_key="none"), retries=1)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            schema = body["response_format"]["json_schema"]["schema"]
            try:
                value, call = asked.traced(schema, body["messages"])
            except guard.GuardError as error:
                if not swallows:
                    kind = type(error).__name__
                    self.answer(STATUS.get(kind, 502), {"error": {"message": str(error), "type": kind}})
                    return
                self.answer(200, completion({}, "small", (0, 0)))
                return
            served = body["model"] if hides_model else call.served
            used = (call.prompt_tokens, call.completion_tokens)
            last = call.attempts[-1].reply
            if counts_last and last is not None:
                used = (last.prompt_tokens, last.completion_tokens)
            if doubles:
                used = (2 * used[0], 2 * used[1])
            self.answer(200, completion(value, served, used))

        def answer(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()


def completion(value: Any, model: str, used: tuple[int, int]) -> dict[str, Any]:
    """Return a whole answer of the protocol."""
    message = {"role": "assistant", "content": json.dumps(value, ensure_ascii=False)}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)},
    }


def free_port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])
