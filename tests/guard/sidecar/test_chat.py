"""Chat completions that need schema work: what comes out is valid, or an error of the protocol that says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sidecars import HERE, OWN, THERE, Reply, Sidecar, model, serving, serving_here

from guard.sidecar.request_context import RequestContext
from guard.testing import fake_server

GOOD = '{"vendor": "ACME", "total": 3}'
SCHEMA = {
    "type": "object",
    "properties": {"vendor": {"type": "string"}, "total": {"type": "number"}},
    "required": ["vendor", "total"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "invoice", "strict": True, "schema": SCHEMA}}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/city"}},
            "required": ["city"],
            "additionalProperties": False,
            "$defs": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
        },
    },
}


def content(reply: Reply) -> Any:
    assert reply.status == 200, reply.data
    return reply.json["choices"][0]["message"]["content"]


def pieces(reply: Reply) -> str:
    assert reply.status == 200, reply.data
    assert reply.events[-1] == "[DONE]"
    return "".join(c["delta"].get("content") or "" for e in reply.events[:-1] for c in e["choices"])


def test_an_answer_of_a_schema_is_valid_and_its_head_tells_how_it_came(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = ["no JSON at all", "Sure: " + GOOD]
    reply = sidecar.chat(response_format=FORMAT)
    assert content(reply) == GOOD
    heads = {name: value for name, value in reply.headers.items() if name.startswith("x-guard-")}
    assert float(heads.pop("x-guard-overhead-ms")) > 0
    assert int(heads.pop("x-guard-call")) > 0
    assert heads == {
        "x-guard-model": "served-1",
        "x-guard-tier": "0",
        "x-guard-attempts": "2",
        "x-guard-repairs": "1",
        "x-guard-cost": "unknown",
    }
    assert reply.json["usage"] == {"prompt_tokens": 22, "completion_tokens": 14, "total_tokens": 36}


USER = {"role": "user", "content": "Hi"}
PLAIN: Any = {
    "/v1/chat/completions": {"messages": [USER], "max_tokens": 5, "stream_options": {"include_usage": True}},
    "/v1/completions": {"prompt": "Hi", "max_tokens": 5},
    "/v1/responses": {"input": "Hi", "max_output_tokens": 20},
    "/v1/messages": {"messages": [USER], "max_tokens": 5},
}


def models_of(said: Any) -> set[str]:
    """Return what an answer, or an event of one, names as its model."""
    places = (said, said.get("response") or {}, said.get("message") or {}) if isinstance(said, dict) else ()
    return {place["model"] for place in places if "model" in place}


AS_JSON: Any = {"messages": [USER], "response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("path", "fields", "name"),
    [
        *((path, fields, HERE) for path, fields in [*PLAIN.items(), ("/v1/chat/completions", AS_JSON)]),
        # The provider writes the prose of a chat, which is no JSON and no completion.
        *((path, PLAIN[path], name) for path in PLAIN if path != "/v1/completions" for name in (OWN, THERE)),
    ],
)
def test_an_answer_has_one_model_the_one_that_answered_streamed_or_not(
    three_kinds: Sidecar, path: str, fields: dict[str, Any], name: str
) -> None:
    own = f"transformers:{three_kinds.folder / 'tiny'}" if name == HERE else "served-1"
    asked = {"model": name, **fields}
    whole = three_kinds.ask("POST", path, {k: v for k, v in asked.items() if k != "stream_options"})
    assert (whole.status, models_of(whole.json)) == (200, {own}), whole.data
    events = three_kinds.ask("POST", path, {**asked, "stream": True})
    (streamed,) = set[str]().union(*map(models_of, events.events))
    assert streamed == own or (name, streamed) == (OWN, "x")  # as it was asked for: its provider has not said more yet
    assert whole.headers["x-guard-model"] == own
    if name == HERE:
        assert events.headers["x-guard-model"] == own


def test_fields_that_are_not_known_here_go_to_the_provider_with_every_attempt(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = ["nope", GOOD]
    reply = sidecar.chat(response_format=FORMAT, top_p=0.5, user="u-1", metadata={"a": "b"}, service_tier="flex")
    assert content(reply) == GOOD
    for request in provider.requests:
        assert {k: request.body[k] for k in ("top_p", "user", "metadata", "service_tier")} == {
            "top_p": 0.5,
            "user": "u-1",
            "metadata": {"a": "b"},
            "service_tier": "flex",
        }


def test_an_answer_that_stays_invalid_is_422_with_its_findings_and_the_number_of_its_record(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = ['{"vendor": "ACME"}']
    reply = sidecar.chat(response_format=FORMAT)
    error = reply.json["error"]
    assert (reply.status, error["code"], reply.headers["x-should-retry"]) == (422, "validation_failed", "false")
    assert error["findings"] == [
        {"at": "", "rule": "/required", "expected": "the property 'total'", "got": "{'vendor': 'ACME'}"}
    ]
    assert sidecar.ask("GET", f"/guard/traces/{error['call']}").json["outcome"] == "ValidationFailed"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answer=st.one_of(
        st.text(max_size=30),
        st.dictionaries(st.sampled_from(["vendor", "total", "x"]), st.integers() | st.text(max_size=4)).map(json.dumps),
        st.just(GOOD),
        st.just(f"```json\n{GOOD}\n```"),
    ),
    stream=st.booleans(),
    mode=st.sampled_from(["schema", "object"]),
)
def test_whatever_a_provider_says_a_success_is_valid(
    sidecar: Sidecar, provider: fake_server.Server, answer: str, stream: bool, mode: str
) -> None:
    provider.answers = [answer]
    wanted = FORMAT if mode == "schema" else {"type": "json_object"}
    reply = sidecar.chat(response_format=wanted, stream=stream)
    assert reply.status in (200, 422), reply.data
    if reply.status == 200:
        text = pieces(reply) if stream else content(reply)
        jsonschema.validate(json.loads(text), SCHEMA if mode == "schema" else {"type": "object"})


def test_a_buffered_stream_is_checked_before_its_first_byte_and_says_so(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = ["nope", GOOD]
    reply = sidecar.chat(response_format=FORMAT, stream=True, stream_options={"include_usage": True})
    assert pieces(reply) == GOOD
    assert reply.headers["x-guard-stream"] == "buffered"
    assert reply.headers["x-guard-attempts"] == "2"
    assert reply.events[-2]["usage"]["total_tokens"] == 36
    assert reply.events[-2]["choices"] == []
    provider.answers = ["nope"]
    assert sidecar.chat(response_format=FORMAT, stream=True).status == 422


def test_a_live_stream_hands_on_what_comes_and_ends_in_an_error_where_it_was_not_valid(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    live = {"x-guard-stream": "live"}
    provider.answers = [GOOD]
    reply = sidecar.chat(response_format=FORMAT, stream=True, headers=live)
    assert pieces(reply) == GOOD
    assert len(reply.events) > 5
    assert reply.headers["x-guard-stream"] == "live"
    for wrong in ('{"vendor": "ACME"}', f"Sure: {GOOD}"):  # what is out can't be mended
        provider.answers = [wrong]
        reply = sidecar.chat(response_format=FORMAT, stream=True, headers=live)
        assert reply.status == 200
        assert reply.events[-1]["error"]["code"] == "validation_failed"


def test_what_a_model_thinks_beside_a_schema_streams_before_the_value(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    for answer in (
        fake_server.Answer(GOOD, thinking="Hm, so the vendor is it."),
        f"<think>Hm, so the vendor is it.</think>{GOOD}",
    ):
        provider.answers = [answer]
        reply = sidecar.chat(response_format=FORMAT, stream=True, headers={"x-guard-stream": "live"})
        assert pieces(reply) == GOOD
        deltas = [choice["delta"] for event in reply.events[:-1] for choice in event["choices"]]
        thoughts = [at for at, delta in enumerate(deltas) if delta.get("reasoning_content")]
        assert "".join(deltas[at]["reasoning_content"] for at in thoughts) == "Hm, so the vendor is it."
        assert max(thoughts) < min(at for at, delta in enumerate(deltas) if delta.get("content"))
        assert len(thoughts) == (1 if isinstance(answer, str) else 8)


def test_a_header_that_names_no_guarantee_is_refused(sidecar: Sidecar) -> None:
    reply = sidecar.chat(response_format=FORMAT, stream=True, headers={"x-guard-stream": "perhaps"})
    assert (reply.status, reply.json["error"]["param"]) == (400, "x-guard-stream")


def test_a_call_of_a_strict_tool_has_valid_arguments(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = ['{"city": "Paris"}', '{"town": "Rome"}', '{"city": "Rome"}']
    reply = sidecar.chat(tools=[WEATHER])
    choice = reply.json["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Rome"}'}
    assert provider.requests[0].body["tools"] == [WEATHER]
    assert reply.headers["x-guard-attempts"] == "3"


def test_a_model_may_answer_without_a_call_unless_the_choice_says_that_it_must(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    def talk(_: fake_server.ClientRequest) -> fake_server.Answer:
        raw = {"choices": [{"message": {"role": "assistant", "content": "It is warm."}, "finish_reason": "stop"}]}
        return fake_server.Answer(raw=json.dumps(raw).encode())

    provider.answers = [talk]
    assert content(sidecar.chat(tools=[WEATHER])) == "It is warm."
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        assert sidecar.chat(tools=[WEATHER], tool_choice=choice).status == 422


def test_a_streamed_call_comes_whole(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = ['{"city": "Oslo"}']
    reply = sidecar.chat(tools=[WEATHER], tool_choice="required", stream=True)
    deltas = [c["delta"] for e in reply.events[:-1] for c in e["choices"]]
    (call,) = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert (call["index"], call["function"]["arguments"]) == (0, '{"city": "Oslo"}')
    assert reply.headers["x-guard-stream"] == "buffered"


def test_several_choices_are_all_valid_and_each_is_another_draw(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [GOOD]
    reply = sidecar.chat(response_format=FORMAT, n=3, seed=7, temperature=1)
    assert [choice["message"]["content"] for choice in reply.json["choices"]] == [GOOD] * 3
    assert sorted(request.body["seed"] for request in provider.requests) == [7, 8, 9]
    assert reply.json["usage"]["prompt_tokens"] == 33


@pytest.mark.parametrize("how", [{"response_format": {"type": "json_object"}}, {"tools": [WEATHER]}])
def test_each_choice_of_a_native_upstream_is_another_draw(
    sidecar: Sidecar, provider: fake_server.Server, how: dict[str, Any]
) -> None:
    provider.answers = ['{"city": "Oslo"}']
    before = len(provider.requests)
    reply = sidecar.chat(**how, n=4, seed=7)
    assert reply.status == 200, reply.data
    assert sorted(request.body["seed"] for request in provider.requests[before:]) == [7, 8, 9, 10]
    sidecar.chat(**how, n=2)
    assert not any("seed" in request.body for request in provider.requests[before + 4 :])


def test_a_tier_without_an_upstream_that_escalates_pays_for_each_choice_once(tmp_path: Path) -> None:
    toml = (
        '[serve.models.m]\nmodel = "anthropic:small"\nescalate_to = ["served-1"]\ntransport_retries = 0\n'
        '[serve.models.served-1]\nmodel = "openai:served-1"\nbase_url = "{url}"\n'
    )
    gone = {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    with (
        fake_server.Server("One.", "Two.", "Three.") as provider,
        serving(tmp_path, toml.replace("{url}", provider.url), env=gone) as sidecar,
    ):
        for fields in ({}, {"seed": 5}):
            before = len(provider.requests)
            reply = sidecar.chat(n=3, **fields)
            asked = [request.body for request in provider.requests[before:]]
            assert [body.get("n", 1) for body in asked] == [1, 1, 1]
            assert len({body["seed"] for body in asked}) == 3
            assert [choice["index"] for choice in reply.json["choices"]] == [0, 1, 2]
            assert all(choice["message"]["content"] for choice in reply.json["choices"])


def test_the_overhead_of_choices_side_by_side_is_what_no_model_took(tmp_path: Path) -> None:
    slow = fake_server.Answer("{}", change=lambda body: [0.3, body])
    with fake_server.Server(slow) as provider, serving(tmp_path, model(provider.url, concurrency=2)) as sidecar:
        reply = sidecar.chat(response_format={"type": "json_object"}, n=4)
        assert float(reply.headers["x-guard-overhead-ms"]) > 0


@given(spans=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=12))
def test_models_at_work_side_by_side_count_once(spans: list[tuple[int, int]]) -> None:
    visit = RequestContext("POST", "/", None)
    visit.models_at_work = [(float(start), float(start + length)) for start, length in spans]
    assert visit.model_seconds == len({at for start, length in spans for at in range(start, start + length)})


def test_a_refusal_is_an_answer_of_the_protocol_not_a_value(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [fake_server.Answer("x", refusal="I can't help with that.")]
    message = sidecar.chat(response_format=FORMAT).json["choices"][0]["message"]
    assert message == {"role": "assistant", "content": None, "refusal": "I can't help with that."}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
        ),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages"),
        ({"model": 3}, "model"),
        ({"n": 0}, "n"),
        ({"temperature": "hot"}, "temperature"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"tools": [WEATHER, WEATHER]}, "tools"),
        ({"response_format": FORMAT, "logprobs": True}, "logprobs"),
    ],
)
def test_a_request_that_says_something_wrong_is_400_and_names_the_field(
    sidecar: Sidecar, provider: fake_server.Server, fields: dict[str, Any], param: str
) -> None:
    reply = sidecar.chat(**fields)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.data
    assert provider.requests == []


def test_a_schema_that_is_none_or_costs_too_much_is_400(sidecar: Sidecar, provider: fake_server.Server) -> None:
    deep: dict[str, Any] = {}
    for _ in range(150):
        deep = {"properties": {"a": deep}}
    enormous = {"enum": [f"{n:0100d}" for n in range(30_000)]}
    for schema in ({"type": "nonesuch"}, {"$ref": "https://example.com/other.json"}, enormous):
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        reply = sidecar.chat(response_format=wanted)
        assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_schema"), (schema, reply.data)
    assert provider.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_what_one_model_can_not_do_goes_on_to_the_next_with_the_schema(tmp_path: Path, stream: bool) -> None:
    with fake_server.Server('{"vendor": 3}') as small, fake_server.Server(GOOD) as large:
        toml = model(small.url, "m", escalate_to=["large"], retries=1) + model(large.url, "large")
        with serving(tmp_path, toml) as sidecar:
            reply = sidecar.chat(response_format=FORMAT, stream=stream)
            assert (pieces(reply) if stream else content(reply)) == GOOD
            assert (reply.headers["x-guard-tier"], reply.headers["x-guard-attempts"]) == ("1", "3")
            assert large.requests[0].body["response_format"]["json_schema"]["schema"] == SCHEMA
            reply = sidecar.chat(tools=[WEATHER], tool_choice="required", stream=stream)
            assert reply.status == 422  # neither of them
            assert (len(small.requests), len(large.requests)) == (4, 3)


def test_a_picture_is_400_where_models_run_here_and_goes_on_to_a_provider(tmp_path: Path) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    asked = [{"role": "user", "content": "Hi."}, {"role": "user", "content": [picture]}]
    with fake_server.Server(GOOD) as seeing:
        both = f'[serve.models.both]\nmodel = "transformers:{tmp_path / "tiny"}"\nescalate_to = ["large"]\n'
        with serving_here(tmp_path, model(seeing.url, "large") + both) as sidecar:
            for fields in ({}, {"response_format": FORMAT}, {"tools": [WEATHER]}, {"regex": "a|b"}):
                for stream in (False, True):
                    reply = sidecar.chat(messages=asked, stream=stream, **fields)
                    assert (reply.status, reply.json["error"]["param"]) == (400, "messages.1"), reply.data
            assert seeing.requests == []
            reply = sidecar.chat(model="both", messages=asked, response_format=FORMAT)
            assert (content(reply), reply.headers["x-guard-tier"]) == (GOOD, "1")
            assert content(sidecar.chat(model="both", messages=asked)) == GOOD
            assert pieces(sidecar.chat(model="both", messages=asked, stream=True)) == GOOD
            assert all(request.body["messages"][1]["content"] == [picture] for request in seeing.requests)


def test_a_schema_that_masks_can_not_enforce_is_checked_where_a_provider_answers(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    twice = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(.)\\1$"}}, "required": ["a"]}
    provider.answers = ['{"a": "xy"}', '{"a": "xx"}']
    wanted = {"type": "json_schema", "json_schema": {"name": "twice", "schema": twice}}
    assert content(sidecar.chat(response_format=wanted)) == '{"a": "xx"}'
    assert len(provider.requests) == 2


def test_an_unknown_model_is_404(sidecar: Sidecar) -> None:
    reply = sidecar.chat(model="nonesuch")
    assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_valid_answer_that_a_provider_cut_ends_in_length(
    sidecar: Sidecar, provider: fake_server.Server, is_stream: bool
) -> None:
    provider.answers = [fake_server.Answer(GOOD, finish="length")]
    reply = sidecar.chat(response_format=FORMAT, max_tokens=12, stream=is_stream)
    if is_stream:
        assert pieces(reply) == GOOD
        ends = [c["finish_reason"] for e in reply.events[:-1] for c in e["choices"] if c["finish_reason"]]
    else:
        assert content(reply) == GOOD
        ends = [choice["finish_reason"] for choice in reply.json["choices"]]
    assert (ends, len(provider.requests)) == (["length"], 1)
