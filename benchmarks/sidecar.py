"""What the sidecar adds: `python -m benchmarks.sidecar [--litellm FOLDER] [--seconds N]`.

Saturated: wrk with 32 connections, and with one, on one fake provider (benchmarks/upstream.py): asked directly, through
Guard with one worker, and through LiteLLM's proxy, in turn and several times in one run. Steady: 100 requests a second
against a provider that takes 1 to 2 s; what comes on top of its own delay. LiteLLM needs an environment of its own:
`python -m venv build/litellm && build/litellm/bin/pip install 'litellm[proxy]'`. wrk is Debian's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

BODY = {"model": "served-1", "messages": [{"role": "user", "content": "Say hello, please."}]}
PATH = "/v1/chat/completions"
SCRIPT = f"""wrk.method = "POST"
wrk.body = [[{json.dumps(BODY)}]]
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer sk-unused"
"""
ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str], port: int, seconds: float = 120, **more: str) -> Iterator[int]:
    """Run a server until it answers, and end it in the end; yields its process id."""
    log = tempfile.TemporaryFile()  # noqa: SIM115 (closed below)
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **more})
    end = time.monotonic() + seconds
    try:
        while True:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-unused"}
                connection.request("POST", PATH, json.dumps(BODY), headers)
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


def wrk(port: int, connections: int, seconds: float, script: Path) -> tuple[float, float, int]:
    """Return requests a second, the latency at p50 in milliseconds, and the number of requests; raises on any error."""
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:.0f}s",
        "--latency",
        "--timeout",
        "30s",
        "-s",
        str(script),
    ]
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{PATH}"], capture_output=True, text=True, check=True
    ).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    latency = re.search(r"50%\s+([\d.]+)(us|ms|s)", said)
    number = re.search(r"(\d+) requests in", said)
    assert rate
    assert latency
    assert number
    return float(rate[1]), float(latency[1]) * {"us": 0.001, "ms": 1, "s": 1000}[latency[2]], int(number[1])


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


def saturated(folder: Path, environment: Path, seconds: float, rounds: int) -> None:
    """Print the first table."""
    script = folder / "post.lua"
    script.write_text(SCRIPT)
    upstream, guard, litellm = free_port(), free_port(), free_port()
    has_peer = (environment / "bin" / "litellm").exists()
    with contextlib.ExitStack() as stack:
        stack.enter_context(running([sys.executable, "-m", "benchmarks.upstream", str(upstream)], upstream))
        pids = {"Guard": stack.enter_context(running(guard_command(folder, guard, upstream), guard))}
        ports = {"the provider itself": upstream, "Guard": guard}
        if has_peer:
            command = litellm_command(folder, litellm, upstream, environment)
            alone_here = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
            prices = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # those that come with it, not fetched
            pids["LiteLLM"] = stack.enter_context(running(command, litellm, **alone_here, **prices))
            ports["LiteLLM"] = litellm
        rates: dict[str, list[float]] = {name: [] for name in ports}
        alone: dict[str, list[float]] = {name: [] for name in ports}
        costs: dict[str, list[float]] = {name: [] for name in ports}
        for _ in range(rounds):
            for name, port in ports.items():
                before = processor(pids[name]) if name in pids else 0.0
                rate, _, number = wrk(port, 32, seconds, script)
                rates[name].append(rate)
                costs[name].append((processor(pids[name]) - before) / number * 1e6 if name in pids else 0.0)
                alone[name].append(wrk(port, 1, seconds, script)[1])
    print("| | requests/s, 32 connections | processor, µs a request | p50 at 1 connection, ms | added, ms |")
    print("|---|--:|--:|--:|--:|")
    bare = min(alone["the provider itself"])
    for name in ports:
        cost = f"{min(costs[name]):,.0f}" if name in pids else ""
        print(f"| {name} | {max(rates[name]):,.0f} | {cost} | {min(alone[name]):.2f} | {min(alone[name]) - bare:.2f} |")
    if has_peer:
        more = max(rates["Guard"]) / max(rates["LiteLLM"])
        added = (min(alone["Guard"]) - bare) / (min(alone["LiteLLM"]) - bare)
        print(f"\nGuard / LiteLLM: {more:.1f} times the requests/s, 1/{1 / added:.1f} of the added latency\n")
    else:
        print(f"\nLiteLLM is not measured: there is none in {environment}.\n")


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
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is absent (Debian: apt-get install wrk)")
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load}\n")
    with tempfile.TemporaryDirectory() as folder:
        saturated(Path(folder), arguments.litellm, arguments.seconds, arguments.rounds)
        at_a_rate(Path(folder), max(20.0, arguments.seconds))


if __name__ == "__main__":
    main()
