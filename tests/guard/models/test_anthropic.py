"""Anthropic's models, against a provider on this machine."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from asked_four_ways import CELLS, CLOSED, GOOD, OPTIONAL, TEXT, Way, claude, every_way, request, streaming

from guard.errors import (
    BadReply,
    CallError,
    Unavailable,
    Unsupported,
)
from guard.models.remote import errors
from guard.models.remote.anthropic import AnthropicModel
from guard.models.remote.remote_model import MODES
from guard.testing.fake_server import FAULTS, Answer, Server

pytestmark = pytest.mark.usefixtures("every_generator_is_closed", "no_leftovers")


#: Where Anthropic's protocol shows a fault otherwise. It has no content filter but refusals.
CLAUDES = {**CELLS, "content filter": (BadReply, BadReply)}


@every_way
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("time-out", "slow drip", "huge body")])
def test_faults_of_anthropic_s_end_alike(fault: str, ask: Way) -> None:
    expected = CLAUDES[fault]["streaming" in ask.__name__]
    faulty = FAULTS[fault](GOOD)
    with Server(faulty) as server:
        asked = claude(server, retries=0)
        if isinstance(expected, str):
            reply = asked.generate(request()) if expected == "refusal" else ask(asked, request())
            assert (reply.finish, reply.text, reply.mode) == (expected, faulty.text, "native")
            assert (reply.prompt_tokens, reply.completion_tokens) == (11, 7)
        else:
            with pytest.raises(CallError) as caught:
                ask(asked, request())
            assert type(caught.value) is expected
            assert "sk-ant" not in str(caught.value)


@every_way
@pytest.mark.parametrize("mode", MODES)
def test_anthropic_s_modes(mode: str, ask: Way) -> None:
    text = '{"reason": "two", "total": 4.50}'
    schema = {**CLOSED, "properties": {"reason": {"type": "string"}, "total": {"type": "number"}}}
    with Server(Answer(text, thinking="Let me see.")) as server:
        reply = ask(claude(server, mode=mode), request(schema, max_tokens=50))
        expected = text.replace("4.50", "4.5") if mode == "tool" and "streaming" not in ask.__name__ else text
        assert (reply.text, reply.mode, reply.thinking) == (expected, mode, "Let me see.")
        body = server.requests[0].body
        assert body["messages"] == [{"role": "user", "content": "What is 2 + 2?"}]
        assert body["system"].startswith("Be exact.")
        assert body["max_tokens"] == 50
        if mode == "native":
            assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
        if mode == "tool":
            assert body["tools"][0]["input_schema"] == schema
            assert body["tool_choice"]["name"] == body["tools"][0]["name"]


def test_anthropic_s_thinking_has_a_budget_of_its_own() -> None:
    with Server(GOOD) as server:
        asked = claude(server, mode="tool")
        asked.generate(request(max_tokens=50, thinking=2000))
        asked.generate(request(max_tokens=50))
        with pytest.raises(Unsupported, match=r"at least 1,024 tokens, or not at all; raise thinking=10"):
            asked.generate(request(max_tokens=50, thinking=10))
        thinks, not_ = (r.body for r in server.requests)
        assert thinks["thinking"] == {"type": "enabled", "budget_tokens": 2000}
        assert (thinks["max_tokens"], thinks["tool_choice"]["type"]) == (2050, "auto")
        assert "temperature" not in thinks
        assert not_["thinking"] == {"type": "disabled"}


def test_anthropic_s_optional_properties_stay_optional_and_recursion_is_a_tool_s() -> None:
    recursive = {**CLOSED, "properties": {"reason": {"type": "string"}, "total": {"$ref": "#"}}, "required": ["reason"]}
    with Server(Answer('{"reason": "r"}')) as server:
        assert claude(server).generate(request(OPTIONAL)).mode == "native"
        assert server.requests[0].body["output_config"]["format"]["schema"] == OPTIONAL
        assert claude(server).generate(request(recursive)).mode == "tool"


@pytest.mark.parametrize("counted", [b"null", b"-5", b'"11"'])
def test_a_count_that_is_none_does_not_undo_an_earlier_one(counted: bytes) -> None:
    """A prompt of 200,000 tokens cost nothing where the stream's last event had null for their number."""

    def change(body: bytes) -> list[bytes]:
        told = b'"usage": {"input_tokens": ' + counted + b', "output_tokens"'
        return [body.replace(b'"usage": {"output_tokens"', told)]

    with Server(replace(GOOD, usage=(200_000, 7), cached=1_000, change=change)) as server:
        reply = streaming(claude(server), request())
    assert (reply.prompt_tokens, reply.cached_tokens, reply.is_estimate) == (200_000, 1_000, False)


def test_a_prompt_whose_size_is_not_told_is_estimated() -> None:
    """A count of null was taken for 0."""
    said = {"type": "message", "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn"}
    with Server(
        Answer(raw=json.dumps({**said, "usage": {"input_tokens": None, "output_tokens": 7}}).encode())
    ) as server:
        reply = claude(server).generate(request())
    assert reply.prompt_tokens > 20
    assert reply.is_estimate


def test_what_is_put_into_the_cache_has_a_price_of_its_own() -> None:
    """It was charged as any prompt is, which is four fifths of what Anthropic asks."""
    said = {"type": "message", "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn"}
    usage = {"input_tokens": 10, "cache_creation_input_tokens": 100_000, "output_tokens": 5}
    with Server(Answer(raw=json.dumps({**said, "usage": usage}).encode())) as server:
        asked = AnthropicModel("claude-sonnet-4-5", base_url=server.url.removesuffix("/v1"), api_key="k")
        assert asked.generate(request()).cost == pytest.approx((10 * 3 + 100_000 * 3.75 + 5 * 15) / 1e6)


def test_an_overloaded_stream_is_unavailable() -> None:
    raw = b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n'
    with Server(Answer(raw=raw)) as server, pytest.raises(Unavailable, match="Overloaded"):
        list(claude(server, retries=0).stream(request()))


@pytest.mark.parametrize("secret", ["sk-0123456789abcdef", "no-form-that-is-known"])
def test_of_a_provider_s_words_the_beginning_is_looked_at_and_no_part_of_a_secret_is_shown(secret: str) -> None:
    for length in range(errors.LOOKED_AT - 30, errors.LOOKED_AT + 5):
        hidden = "sk-" + "x" * (length - 3)  # so long that of all before the secret nothing is left
        shown = errors.said_by(f"{hidden} {secret} {'and so on ' * 100_000}", (secret, hidden))
        assert shown.startswith(("[redacted]", "…"))
        assert secret[:4] not in shown
    assert errors.said_by("word " * 2_000_000) == errors.said_by("word " * 1_000)
    assert errors.said_by("x" * 2_000_000) == "…"
