"""What vLLM's own Python runs over HTTP: its server with Guard as the backend, and the openai SDK as the client.

python over_http.py BACKEND MODEL; findings as JSON on the last line, one entry for each feature.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import openai

sys.path.insert(0, str(Path(__file__).parents[1]))

from engines.schemas import OWN

START_S = 300.0  #: In which the server is up.
ROWS = 64  #: Requests at once.
LOG = Path(os.environ.get("ENGINES_LOG", "/dev/null"))
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "days": {"type": "integer", "multipleOf": 2, "minimum": 2, "maximum": 8},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}


@contextlib.contextmanager
def serving(backend: str, model: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", "m"]
    command += ["--structured-outputs-config", json.dumps({"backend": backend}), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--max-model-len", "1024", "--max-num-seqs", str(ROWS), "--enforce-eager"]
    command += ["--gpu-memory-utilization", "0.25", "--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    environment = {
        **os.environ,
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    with LOG.open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            address, end = f"http://127.0.0.1:{port}", time.monotonic() + START_S
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if server.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the server did not start; see {LOG}")
                time.sleep(0.5)
            yield address
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def is_valid(schema: Any, text: str) -> bool:
    try:
        return bool(jsonschema_rs.validator_for(schema, validate_formats=True).is_valid(json.loads(text)))
    except ValueError:
        return False


def asks(client: openai.OpenAI, schema: Any, max_tokens: int = 60, **more: Any) -> Any:
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    return client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": f"An example of {json.dumps(schema)[:400]}"}],
        max_tokens=max_tokens,
        response_format=form,
        **more,
    )


def features(client: openai.OpenAI) -> Iterator[tuple[str, Any]]:
    """Try each; what is found, with whether it is as it should be."""
    names = list(OWN)[:8]
    for name in names:
        choice = asks(client, OWN[name]).choices[0]
        yield (
            f"response_format: {name}",
            [choice.message.content, choice.finish_reason, is_valid(OWN[name], choice.message.content)],
        )
    pieces = [
        one.choices[0].delta.content or "" for one in asks(client, OWN["uniqueItems"], stream=True) if one.choices
    ]
    yield "stream", ["".join(pieces), len(pieces), is_valid(OWN["uniqueItems"], "".join(pieces))]
    plain = {"model": "m", "messages": [{"role": "user", "content": "Say it."}], "max_tokens": 30}
    for kind, value, judge in (
        ("regex", "[a-c]{3}-[0-9]{2}", lambda text: len(text) == 6),
        ("choice", ["yes", "no"], lambda text: text in ("yes", "no")),
        ("grammar", 'root ::= "a" [0-9] "b"', lambda text: len(text) == 3),
        ("json", OWN["multipleOf"], lambda text: is_valid(OWN["multipleOf"], text)),
    ):
        made = client.chat.completions.create(**plain, extra_body={"structured_outputs": {kind: value}})
        text = made.choices[0].message.content
        yield f"structured_outputs: {kind}", [text, made.choices[0].finish_reason, judge(text)]
    tool = {"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}
    for wanted in ("required", {"type": "function", "function": {"name": "weather"}}):
        made = client.chat.completions.create(**{**plain, "max_tokens": 80}, tools=[tool], tool_choice=wanted)
        calls = made.choices[0].message.tool_calls or []
        texts = [call.function.arguments for call in calls]
        yield (
            f"tools: {wanted if isinstance(wanted, str) else 'named'}",
            [texts, len(calls), bool(texts) and all(is_valid(WEATHER, one) for one in texts)],
        )
    for name, schema, most, said in (
        (
            "pattern",
            {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
            60,
            "/properties/a/pattern",
        ),
        ("contradiction", {"type": "object", "properties": {"a": False}, "required": ["a"]}, 60, "nothing can meet it"),
        ("budget", {"type": "string", "minLength": 300}, 20, "max_tokens=20 can't hold"),
    ):
        try:
            asks(client, schema, most)
            yield f"refusal: {name}", ["answered", 200, False]
        except openai.APIStatusError as error:
            yield (
                f"refusal: {name}",
                [error.message[:200], error.status_code, error.status_code == 400 and said in error.message],
            )


def many(client: openai.OpenAI) -> Any:
    """All requests at once, of all schemas."""
    wanted = [list(OWN.items())[number % len(OWN)] for number in range(ROWS)]

    def one(pair: tuple[str, Any]) -> tuple[bool, str]:
        try:
            choice = asks(client, pair[1], 72, temperature=0.8).choices[0]
            return is_valid(pair[1], choice.message.content), choice.finish_reason
        except openai.APIError as error:
            return False, f"{pair[0]}: {error}"[:200]

    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(ROWS) as pool:
        found = list(pool.map(one, wanted))
    wrong = [reason for valid, reason in found if not valid or reason != "stop"]
    return [f"{ROWS - len(wrong)} of {ROWS} in {time.monotonic() - start:.0f} s", wrong[:4], not wrong]


def killed_client(address: str, client: openai.OpenAI) -> Any:
    """A client that dies in the middle of a stream; the server goes on, with the same answer for others."""
    code = (
        "import sys, openai\n"
        "client = openai.OpenAI(base_url=sys.argv[1] + '/v1', api_key='k')\n"
        "stream = client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'x'}],\n"
        "    max_tokens=400, stream=True, response_format={'type': 'json_object'})\n"
        "for one in stream: print('.', flush=True)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, address], stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.read(4)
    other.kill()
    other.wait()
    text = asks(client, OWN["multipleOf"]).choices[0].message.content
    return [text, "", is_valid(OWN["multipleOf"], text)]


def main() -> None:
    backend, model = sys.argv[1:]
    found: dict[str, Any] = {}
    with serving(backend, model) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="k", timeout=300, max_retries=0)
        found.update(features(client))
        found[f"{ROWS} requests at once"] = many(client)
        found["a killed client"] = killed_client(address, client)
    print(json.dumps({"part": "http", "backend": backend, "found": found}))


if __name__ == "__main__":
    main()
