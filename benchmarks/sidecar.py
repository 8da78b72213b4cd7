"""What the sidecar adds: `python -m benchmarks.sidecar [--litellm FOLDER] [--portkey FOLDER] [--seconds N]`.

Saturated: wrk with 32 connections, and with one, on one fake provider (benchmarks/upstream.py): asked directly, through
Guard with one worker, through LiteLLM's proxy, and through Portkey's gateway, in turn and several times in one run;
plain requests, and requests with a schema. Guard validates the answers to the latter, the others pass them on; Guard
commits every call to its trace, the others have no database. Steady: 100 requests a second against a provider that
takes 1 to 2 s; what comes on top of its own delay.

A peer that is not there is left out, and that is said. LiteLLM needs an environment of its own: `python -m venv
build/litellm && build/litellm/bin/pip install 'litellm[proxy]'`; Portkey's gateway a folder: `npm install --prefix
build/portkey @portkey-ai/gateway`. wrk is Debian's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import math
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

BODY = {"model": "served-1", "messages": [{"role": "user", "content": "Say hello, please."}]}
SCHEMA = {
    "type": "object",
    "properties": {"vendor": {"type": "string"}, "total": {"type": "number"}},
    "required": ["vendor", "total"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "invoice", "strict": True, "schema": SCHEMA}}
BODIES = {"plain": BODY, "with a schema": {**BODY, "response_format": FORMAT}}
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer sk-unused"}
PATH = "/v1/chat/completions"
ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: list[str], port: int, headers: Mapping[str, str] = HEADERS, seconds: float = 120, **more: str
) -> Iterator[int]:
    """Run a server until it answers, and end it in the end; yields its process id."""
    log = tempfile.TemporaryFile()  # noqa: SIM115 (closed below)
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **more})
    end = time.monotonic() + seconds
    try:
        while True:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("POST", PATH, json.dumps(BODY), dict(headers))
                if connection.getresponse().status == 200:
                    break
            if process.poll() is not None or time.monotonic() > end:
                log.seek(0)
                raise RuntimeError(log.read().decode()[-3000:])
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        log.close()


def processor(pid: int) -> float:
    """Return the seconds of the processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Figures:
    """What wrk has measured; the best of several rounds."""

    rate: float = 0.0  # requests a second
    p50: float = math.inf  # milliseconds
    p99: float = math.inf
    processor: float = math.inf  # microseconds a request
    alone: float = math.inf  # p50 at one connection, milliseconds


@dataclass
class System:
    """The provider itself, or a gateway in front of it."""

    name: str
    port: int
    pid: int
    headers: Mapping[str, str] = field(default_factory=lambda: HEADERS)
    figures: dict[str, Figures] = field(default_factory=lambda: {kind: Figures() for kind in BODIES})

    def measure(self, kind: str, folder: Path, seconds: float) -> None:
        """Take one more round into account."""
        lines = ['wrk.method = "POST"', f"wrk.body = [[{json.dumps(BODIES[kind])}]]"]
        lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in self.headers.items()]
        script, best = folder / "post.lua", self.figures[kind]
        script.write_text("\n".join(lines))
        before = processor(self.pid)
        rate, p50, p99, number = wrk(self.port, 32, seconds, script)
        best.processor = min(best.processor, (processor(self.pid) - before) / number * 1e6)
        best.rate, best.p50, best.p99 = max(best.rate, rate), min(best.p50, p50), min(best.p99, p99)
        best.alone = min(best.alone, wrk(self.port, 1, seconds, script)[1] or math.inf)  # 0: it was too slow for wrk


def wrk(port: int, connections: int, seconds: float, script: Path) -> tuple[float, float, float, int]:
    """Return requests a second, latencies at p50 and p99 in milliseconds, and the number of requests.

    Raises RuntimeError on any error.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", "--timeout", "30s", "-s"]
    address = f"http://127.0.0.1:{port}{PATH}"
    said = subprocess.run([*command, str(script), address], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    number = re.search(r"(\d+) requests in", said)
    assert rate
    assert number
    latencies = dict(re.findall(r"(50|99)%\s+([\d.]+(?:us|ms|s|m))\b", said))
    return float(rate[1]), _milliseconds(latencies["50"]), _milliseconds(latencies["99"]), int(number[1])


def _milliseconds(text: str) -> float:
    value, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr]  # wrk's own form
    return float(value) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]


async def steady(port: int, rate: float, seconds: float) -> list[float]:
    """Ask at a fixed rate, whatever has come back; returns what came on top of each answer's own delay, in ms."""
    added: list[float] = []

    async def one(session: aiohttp.ClientSession) -> None:
        start = time.perf_counter()
        async with session.post(f"http://127.0.0.1:{port}{PATH}", json=BODY) as response:
            said: Any = await response.json()
        if response.status != 200:
            raise RuntimeError(said)
        added.append((time.perf_counter() - start - said["delay"]) * 1000)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        start, jobs = time.perf_counter(), []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
            jobs.append(asyncio.create_task(one(session)))
        await asyncio.gather(*jobs)
    return added


def guard_command(folder: Path, port: int, upstream: int) -> list[str]:
    """Return what starts Guard in front of a provider."""
    config = folder / f"guard-{port}.toml"
    config.write_text(
        f'trace = "{folder / f"trace-{port}.db"}"\n[serve]\nport = {port}\naccess_log = "{folder / "access.jsonl"}"\n'
        f'[serve.models.served-1]\nmodel = "openai:served-1"\nbase_url = "http://127.0.0.1:{upstream}/v1"\n'
    )
    return [sys.executable, "-m", "guard", "serve", "--config", str(config)]


def litellm_command(folder: Path, port: int, upstream: int, environment: Path) -> list[str]:
    """Return what starts LiteLLM's proxy in front of a provider."""
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: served-1\n    litellm_params:\n      model: openai/served-1\n"
        f"      api_base: http://127.0.0.1:{upstream}/v1\n      api_key: unused\n"
        "litellm_settings:\n  telemetry: false\n"
    )
    binary = environment / "bin" / "litellm"
    return [str(binary), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]


def portkey_command(port: int, environment: Path) -> list[str]:
    """Return what starts Portkey's gateway; requests name the provider in their headers."""
    script = environment / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return ["node", str(script), "--headless", f"--port={port}"]


def started(stack: contextlib.ExitStack, folder: Path, litellm: Path, portkey: Path) -> list[System]:
    """Start the provider and all gateways that are there; says which are not."""
    upstream = free_port()
    provider = stack.enter_context(running([sys.executable, "-m", "benchmarks.upstream", str(upstream)], upstream))
    systems = [System("the provider itself", upstream, provider)]
    port = free_port()
    systems.append(System("Guard", port, stack.enter_context(running(guard_command(folder, port, upstream), port))))
    if (litellm / "bin" / "litellm").exists():
        port = free_port()
        more = {
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the prices that come with it, not fetched
        }
        command = litellm_command(folder, port, upstream, litellm)
        systems.append(System("LiteLLM", port, stack.enter_context(running(command, port, **more))))
    else:
        print(f"LiteLLM is not measured: there is none in {litellm}.\n")
    command = portkey_command(free_port(), portkey)
    if shutil.which("node") and Path(command[1]).exists():
        port = int(command[-1].partition("=")[2])
        own = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"}
        headers = {**HEADERS, **own}
        # Its check of hosts allows this machine's own only where it is told so.
        pid = stack.enter_context(running(command, port, headers, TRUSTED_CUSTOM_HOSTS="127.0.0.1,localhost"))
        systems.append(System("Portkey's gateway", port, pid, headers))
    else:
        print(f"Portkey's gateway is not measured: there is none in {portkey}, or no node.\n")
    return systems


def saturated(folder: Path, litellm: Path, portkey: Path, seconds: float, rounds: int) -> None:
    """Print the first table."""
    with contextlib.ExitStack() as stack:
        systems = started(stack, folder, litellm, portkey)
        for _ in range(rounds):
            for kind in BODIES:
                for system in systems:
                    system.measure(kind, folder, seconds)
    provider, guard, *peers = systems
    for kind in BODIES:
        print(f"| {kind} | requests/s, 32 connections | p50, ms | p99, ms | processor, µs a request | added, ms |")
        print("|---|--:|--:|--:|--:|--:|")
        bare = provider.figures[kind].alone
        for system in systems:
            best = system.figures[kind]
            added = "" if system is provider or math.isinf(best.alone) else f"{best.alone - bare:.2f}"
            print(
                f"| {system.name} | {best.rate:,.0f} | {best.p50:,.1f} | {best.p99:,.1f}"
                f" | {best.processor:,.0f} | {added} |"
            )
        print()
        own = guard.figures[kind]
        for peer in peers:
            other = peer.figures[kind]
            print(
                f"Guard / {peer.name}: {own.rate / other.rate:.2f} times the requests/s,"
                f" {own.processor / other.processor:.2f} of the processor,"
                f" {(own.alone - bare) / (other.alone - bare):.2f} of the added latency\n"
            )


def at_a_rate(folder: Path, seconds: float) -> None:
    """Print what is added at 100 requests a second."""
    upstream, guard = free_port(), free_port()
    with (
        running([sys.executable, "-m", "benchmarks.upstream", str(upstream), "1", "2"], upstream),
        running(guard_command(folder, guard, upstream), guard),
    ):
        print("| 100 requests/s, a provider that takes 1 to 2 s | added p50, ms | p99 | most |\n|---|--:|--:|--:|")
        for name, port in (("the provider itself", upstream), ("Guard", guard)):
            added = sorted(asyncio.run(steady(port, 100, seconds)))
            p99 = added[int(len(added) * 0.99)]
            print(f"| {name} | {statistics.median(added):.2f} | {p99:.2f} | {added[-1]:.2f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sidecar", description=__doc__)
    parser.add_argument("--litellm", type=Path, default=ROOT / "build" / "litellm", help="its environment")
    parser.add_argument("--portkey", type=Path, default=ROOT / "build" / "portkey", help="its folder")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is absent (Debian: apt-get install wrk)")
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load}\n")
    with tempfile.TemporaryDirectory() as folder:
        saturated(Path(folder), arguments.litellm, arguments.portkey, arguments.seconds, arguments.rounds)
        at_a_rate(Path(folder), max(20.0, arguments.seconds))


if __name__ == "__main__":
    main()
