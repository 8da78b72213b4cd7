"""Sidecars as processes, beside the providers of fake_server.py."""

from __future__ import annotations

import contextlib
import copy
import http.client
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forking import Forked

from guard.testing import fake_server

#: Models of three kinds: one that decodes here, one of Anthropic's, one behind OpenAI's protocol.
HERE, OWN, THERE = "here", "own", "m"
#: What the settings say of models that decode here.
DECODING = ("transformers:", "tuned:", "smollm2")
START_S = 120.0  #: Longest wait for a process that others make slow.


@dataclass
class Reply:
    """What the sidecar answered."""

    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.data)

    @property
    def events(self) -> list[Any]:
        """What the events of a stream say; "[DONE]" is that text."""
        return events_of(self.data)


def events_of(data: bytes) -> list[Any]:
    """Return what the events of a stream say; "[DONE]" is that text."""
    found = []
    for event in data.decode().split("\n\n"):
        said = "\n".join(line[6:] for line in event.split("\n") if line.startswith("data: "))
        if said:
            found.append(said if said == "[DONE]" else json.loads(said))
    return found


def received(connection: socket.socket) -> bytes:
    """Return everything until the other side closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            data += part
    return data


@dataclass
class Sidecar:
    """A process that serves."""

    process: subprocess.Popen[str] | Forked
    folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    metrics_port: int = 0
    errors: list[str] = field(default_factory=list)  # lines of standard error

    @property
    def url(self) -> str:
        """The address to give to an SDK."""
        return f"http://{self.host}:{self.port}/v1"

    @property
    def trace(self) -> Path:
        """The file of the trace."""
        return self.folder / "trace.db"

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the access log."""
        path = self.folder / "access.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 60
    ) -> Reply:
        """Send a request over a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        with contextlib.closing(connection):
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, data, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def chat(self, text: str = "Hello.", headers: Mapping[str, str] | None = None, **fields: Any) -> Reply:
        """Ask for a chat completion."""
        body = {"model": "m", "messages": [{"role": "user", "content": text}], **fields}
        return self.ask("POST", "/v1/chat/completions", body, headers)

    def wait(self, until: Any, seconds: float = 30.0) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, f"it did not come to be; standard error: {self.errors}"
            time.sleep(0.02)

    def end(self, sig: int = signal.SIGTERM) -> int:
        """End the process; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(START_S)


@contextlib.contextmanager
def serving(
    folder: Path,
    toml: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    program: Sequence[str] = ("guard",),
    common: str = "",
) -> Iterator[Sidecar]:
    """Start `guard serve` with settings, on any free port; ends it in the end.

    `program`: a module to run in place of Guard's command line, and what it is given first. `common`: lines of settings
    outside of `[serve]`.
    """
    config = folder / "guard.toml"
    text = (
        f'trace = "{folder / "trace.db"}"\n{common}[serve]\nport = 0\naccess_log = "{folder / "access.jsonl"}"\n{toml}'
    )
    config.write_text(text)
    command = [sys.executable, "-m", *program, "serve", "--config", str(config), *arguments]
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith(("GUARD_", "OPENAI_"))}
    if cache := os.environ.get("GUARD_CACHE"):
        surroundings["GUARD_CACHE"] = cache
    surroundings |= env or {}
    process: subprocess.Popen[str] | Forked
    if tuple(program) == ("guard",) and "workers" not in toml:
        process = Forked(command[3:], surroundings, decodes=any(kind in toml for kind in DECODING))
    else:  # what it imports is its own, or it starts processes of its own
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings)
    sidecar = Sidecar(process, folder)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            sidecar.errors.append(line.rstrip())
            lines.put(line)
        lines.put("")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while True:
            line = lines.get(timeout=START_S)
            assert line, f"the sidecar ended: {sidecar.errors}"
            if found := re.search(r"metrics on http://.*:(\d+)/metrics", line):
                sidecar.metrics_port = int(found[1])
            if found := re.search(r"serving .* on http://(.*):(\d+)/v1", line):
                sidecar.host, sidecar.port = found[1].strip("[]"), int(found[2])
                break
        yield sidecar
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(START_S)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
    assert not [line for line in sidecar.errors if "leaked" in line]  # as native modules say at the exit


def model(url: str, name: str = "m", **settings: Any) -> str:
    """Return the table of a served model that stands for a provider at an address."""
    lines = [f"[serve.models.{name}]", 'model = "openai:served-1"', f'base_url = "{url}"']
    return "\n".join([*lines, *(f"{key} = {json.dumps(value)}" for key, value in settings.items()), ""])


@contextlib.contextmanager
def serving_here(
    folder: Path, toml: str = "", name: str = "m", template: str | None = None, tags: Sequence[str] = ()
) -> Iterator[Sidecar]:
    """Start one that has a model here: a random llama so small that it loads at once, never right by itself.

    `tags` are tokens more of its tokenizer.
    """
    import tiny

    weights = folder / "tiny"
    tokenizer = copy.deepcopy(tiny.tokenizer())
    tokenizer.chat_template = template or tokenizer.chat_template
    tokenizer.add_tokens(list(tags))
    tiny.llama(padded_to=len(tokenizer), context=2048).save_pretrained(weights)
    tokenizer.save_pretrained(weights)
    own = f'[serve.models.{name}]\nmodel = "transformers:{weights}"\nmax_tokens = 60\n'
    with serving(folder, toml + own) as sidecar:
        yield sidecar


def says(*calls: tuple[str, str], content: str | None = None, **more: Any) -> Any:
    """Answer with calls of tools, and words beside them, streamed where asked so."""

    def answer(request: fake_server.ClientRequest) -> fake_server.Answer:
        made = [
            {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for at, (name, arguments) in enumerate(calls)
        ]
        message = {"role": "assistant", "content": content, **more, **({"tool_calls": made} if made else {})}
        finish = "tool_calls" if made else "stop"
        if not request.is_streaming:
            choices: Any = [{"index": 0, "message": message, "finish_reason": finish}]
            usage = {"prompt_tokens": 11, "completion_tokens": 7}
            return fake_server.Answer(
                raw=json.dumps({"model": "served-1", "choices": choices, "usage": usage}).encode()
            )
        pieces = [{**more}] if more else []
        pieces += [{"content": word} for word in re.findall(r"\S+\s*", content or "")]
        for at, call in enumerate(made):
            name, arguments = calls[at]
            pieces.append({"tool_calls": [{**call, "index": at, "function": {"name": name, "arguments": ""}}]})
            pieces += [{"tool_calls": [{"index": at, "function": {"arguments": letter}}]} for letter in arguments]
        deltas: list[Any] = [{"index": 0, "delta": piece, "finish_reason": None} for piece in pieces]
        deltas.append({"index": 0, "delta": {}, "finish_reason": finish})
        events = [{"model": "served-1", "choices": [delta]} for delta in deltas]
        raw = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
        return fake_server.Answer(raw=raw + b"data: [DONE]\n\n")

    return answer
