"""The official SDKs, unchanged but for the base URL: Python's, and Node's where node and npm are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import openai
import pydantic
import pytest
from sidecars import Sidecar

from guard.testing import fake_server

NODE_SDK = "openai@6"
SCRIPT = Path(__file__).with_name("sdk.mjs")
#: Kept between runs, beside other things that are built.
INSTALLED = Path(__file__).parents[3] / "build" / "node"


class Invoice(pydantic.BaseModel):
    vendor: str
    total: float


class Weather(pydantic.BaseModel):
    """Look the weather up."""

    city: str


GOOD = '{"vendor": "ACME", "total": 3}'


@pytest.fixture
def client(sidecar: Sidecar) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sidecar.url, api_key="unused", max_retries=0) as client:
        yield client


def test_python_parses_an_answer_into_a_type(client: openai.OpenAI, provider: fake_server.Server) -> None:
    provider.answers = ["nope", GOOD]
    completion = client.chat.completions.parse(
        model="m", messages=[{"role": "user", "content": "Read."}], response_format=Invoice
    )
    assert completion.choices[0].message.parsed == Invoice(vendor="ACME", total=3)
    assert completion._request_id
    assert completion._request_id.startswith("req-")


def test_python_streams_an_answer_into_a_type(client: openai.OpenAI, provider: fake_server.Server) -> None:
    provider.answers = [GOOD]
    with client.chat.completions.stream(
        model="m",
        messages=[{"role": "user", "content": "Read."}],
        response_format=Invoice,
        stream_options={"include_usage": True},
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.parsed == Invoice(vendor="ACME", total=3)
    assert final.usage is not None
    assert final.usage.total_tokens == 18


def test_python_calls_a_tool(client: openai.OpenAI, provider: fake_server.Server) -> None:
    provider.answers = ['{"town": "Rome"}', '{"city": "Rome"}']
    completion = client.chat.completions.parse(
        model="m",
        messages=[{"role": "user", "content": "How warm is it in Rome?"}],
        tools=[openai.pydantic_function_tool(Weather)],
    )
    (call,) = completion.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == Weather(city="Rome")


def test_python_asks_for_a_response(client: openai.OpenAI, provider: fake_server.Server) -> None:
    provider.answers = [GOOD]
    response = client.responses.parse(model="m", input="Read.", text_format=Invoice)
    assert response.output_parsed == Invoice(vendor="ACME", total=3)
    with client.responses.stream(model="m", input="Read.", text_format=Invoice) as stream:
        final = stream.get_final_response()
    assert final.output_parsed == Invoice(vendor="ACME", total=3)


def test_python_streams_plain_text_and_lists_models(client: openai.OpenAI, provider: fake_server.Server) -> None:
    provider.answers = ["Hello there."]
    stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello there."
    assert [model.id for model in client.models.list()] == ["m", "again"]


def test_python_raises_its_typed_errors(client: openai.OpenAI, provider: fake_server.Server) -> None:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.chat.completions.create(model="nonesuch", messages=messages)
    provider.answers = ["nope"]
    with pytest.raises(openai.UnprocessableEntityError, match="no valid Invoice") as raised:
        client.chat.completions.parse(model="m", messages=messages, response_format=Invoice)
    assert raised.value.code == "validation_failed"
    provider.answers = [fake_server.error(429, "slow down")]
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="m", messages=messages)
    provider.answers = [fake_server.Answer("Hello there.", change=fake_server.halved())]
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="m", messages=messages, stream=True))


def test_pythons_own_retries_leave_alone_what_was_asked_often_enough(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = [fake_server.error(500, "broke")]
    client = openai.OpenAI(base_url=sidecar.url, api_key="unused", max_retries=5)
    with client, pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
    assert len(provider.requests) == 1


def test_node_asks_streams_and_calls(sidecar: Sidecar, provider: fake_server.Server) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("node and npm are absent, which .ci/run installs (Debian: apt-get install nodejs npm)")
        pytest.skip("node and npm are absent (Debian: apt-get install nodejs npm)")
    if not (INSTALLED / "node_modules" / "openai").is_dir():
        INSTALLED.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(INSTALLED), NODE_SDK]
        subprocess.run(command, check=True, capture_output=True, timeout=300)

    def answer(request: fake_server.ClientRequest) -> str:
        return '{"city": "Rome"}' if request.is_tool else GOOD

    provider.answers = [answer]
    shutil.copy(SCRIPT, INSTALLED / SCRIPT.name)
    run = subprocess.run(
        ["node", str(INSTALLED / SCRIPT.name), sidecar.url],  # noqa: S607 (whichever node there is)
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {
        "answer": {"vendor": "ACME", "total": 3},
        "streamed": {"vendor": "ACME", "total": 3},
        "usage": 18,
        "call": ["weather", {"city": "Rome"}],
        "response": {"vendor": "ACME", "total": 3},
        "error": [404, "model_not_found"],
        "models": ["m", "again"],
    }
