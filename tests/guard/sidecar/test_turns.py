"""Responses that go on from earlier ones, as the SDKs ask for them, and how their items are a chat's messages."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import recounts
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sidecars import Sidecar, model, says, serving, serving_here

from guard.sidecar import keys, response_state
from guard.sidecar.endpoints import response_items
from guard.sidecar.errors import ApiError
from guard.sidecar.response_state import Turns
from guard.testing import fake_server
from guard.trace import TraceStore

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
FORMAT: Any = {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
OSLO, WRONG = '{"city": "Oslo"}', '{"city": 3}'
PICTURE = "data:image/png;base64,AAAA"


@pytest.fixture
def client(sidecar: Sidecar) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sidecar.url, api_key="unused", max_retries=0) as client:
        yield client


def whole(text: str, number: int = 1) -> fake_server.Answer:
    """Answer as a provider's own /responses does."""
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": f"msg_up_{number}", "role": "assistant", "status": "completed", "content": [part]}
    said = {
        "id": f"resp_up_{number}",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "served-1",
    }
    return fake_server.Answer(raw=json.dumps({**said, "output": [item], "usage": None}).encode())


def streamed(*events: Any) -> fake_server.Answer:
    """Answer with events."""
    return fake_server.Answer(raw=b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events))


def ask(sidecar: Sidecar, **fields: Any) -> Any:
    return sidecar.ask("POST", "/v1/responses", {"model": "m", "input": "How much?", **fields})


def messages(provider: fake_server.Server) -> list[Any]:
    found: list[Any] = provider.requests[-1].body["messages"]
    return found


def test_a_turn_goes_on_from_the_one_before_whether_that_was_typed_or_plain(
    client: openai.OpenAI, provider: fake_server.Server
) -> None:
    provider.answers = [whole("Three.")]
    plain = client.responses.create(model="m", input="How much?")
    provider.answers = ['{"n": 3}']
    provider.requests.clear()
    typed = client.responses.create(model="m", input="As JSON?", previous_response_id=plain.id, text=FORMAT)
    assert typed.output_text == '{"n": 3}'
    assert typed.previous_response_id == plain.id
    assert [(m["role"], m["content"]) for m in messages(provider)] == [
        ("user", "How much?"),
        ("assistant", [{"type": "text", "text": "Three."}]),
        ("user", "As JSON?"),
    ]
    provider.answers = [whole("Yes.", 2)]
    provider.requests.clear()
    client.responses.create(model="m", input="Sure?", previous_response_id=typed.id)
    sent = provider.requests[-1].body
    assert "previous_response_id" not in sent  # the provider has never heard of it
    assert [item["role"] for item in sent["input"]] == ["user", "assistant", "user", "assistant", "user"]


def test_items_are_referred_to_as_the_ai_sdk_does_on_every_second_turn(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = [says(("weather", OSLO), content="I look.")]
    user = {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}
    first = ask(sidecar, input=[user], tools=[WEATHER]).json
    assert [item["type"] for item in first["output"]] == ["message", "function_call"]
    call = first["output"][1]
    provider.answers = [says(content="Rain.")]
    provider.requests.clear()
    conversation = [
        user,
        *({"type": "item_reference", "id": item["id"]} for item in first["output"]),
        {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"},
    ]
    second = ask(sidecar, input=conversation, tools=[WEATHER]).json
    assert second["output"][0]["content"][0]["text"] == "Rain."
    _, assistant, result = messages(provider)
    assert assistant["content"] == [{"type": "text", "text": "I look."}]
    assert assistant["tool_calls"][0]["id"] == result["tool_call_id"] == call["call_id"]


def test_a_model_here_goes_on_too_and_a_stream_is_kept_before_its_end(tmp_path: Path) -> None:
    with (
        serving_here(tmp_path) as here,
        openai.OpenAI(base_url=here.url, api_key="unused", max_retries=0) as client,
    ):
        for fields in ({}, {"text": {"format": {"type": "json_object"}}}):
            with client.responses.stream(model="m", input="Hi.", max_output_tokens=16, **fields) as stream:
                first = list(stream)[-1].response
            again = client.responses.create(
                model="m", input="And?", previous_response_id=first.id, max_output_tokens=16
            )
            assert again.usage.input_tokens > first.usage.input_tokens > 0
            assert client.responses.retrieve(first.id).output_text == first.output_text
            client.responses.delete(first.id)
            with pytest.raises(openai.NotFoundError):
                client.responses.retrieve(first.id)
            with pytest.raises(openai.BadRequestError, match="not kept"):
                client.responses.create(model="m", input="And?", previous_response_id=again.id)  # its own is gone


def test_nothing_is_kept_where_store_is_false_and_another_key_sees_nothing(tmp_path: Path) -> None:
    with fake_server.Server('{"n": 3}') as provider, serving(tmp_path, model(provider.url)) as sidecar:
        store = TraceStore(sidecar.trace)
        (_, one), (_, other) = keys.create(store, "one"), keys.create(store, "other")
        sidecar.wait(lambda: ask(sidecar, text=FORMAT).status == 401)

        def by(key: str, **fields: Any) -> Any:
            body = {"model": "m", "input": "?", "text": FORMAT, **fields}
            return sidecar.ask("POST", "/v1/responses", body, {"authorization": f"Bearer {key}"})

        first = by(one).json
        assert by(one, previous_response_id=first["id"]).status == 200
        for reply in (by(other, previous_response_id=first["id"]), by(one, previous_response_id="resp_x")):
            error = reply.json["error"]
            assert (reply.status, error["code"], error["param"]) == (
                400,
                "previous_response_not_found",
                "previous_response_id",
            )
        reference = [{"type": "item_reference", "id": first["output"][0]["id"]}, {"role": "user", "content": "?"}]
        assert by(one, input=reference).status == 200
        reply = by(other, input=reference)
        assert (reply.status, reply.json["error"]["param"]) == (404, "input.0.id")
        gone = by(one, store=False).json
        assert gone["store"] is False
        assert by(one, previous_response_id=gone["id"]).status == 400
        path = f"/v1/responses/{first['id']}"
        assert sidecar.ask("GET", path, headers={"authorization": f"Bearer {other}"}).status == 404
        assert sidecar.ask("GET", path, headers={"authorization": f"Bearer {one}"}).json == first


def test_a_response_that_was_answered_outlives_a_kill(tmp_path: Path) -> None:
    with fake_server.Server('{"n": 3}') as provider:
        with serving(tmp_path, model(provider.url)) as sidecar:
            first = ask(sidecar, text=FORMAT).json
            sidecar.process.kill()
            sidecar.process.wait()
        with serving(tmp_path, model(provider.url)) as sidecar:
            assert ask(sidecar, text=FORMAT, previous_response_id=first["id"]).status == 200


def test_what_is_kept_is_bounded_for_each_key(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.sidecar.response_state.EVERY", 1)
    turns = Turns(TraceStore.at(place), None, most=10, days=1.0)

    def kept(owner: str) -> set[str]:
        return set(turns._rows(owner, [f"r{n}" for n in range(40)], seconds=10))

    turns._write("other", {"r0": {}}, seconds=10)
    for number in range(25):
        turns._write("one", {f"r{number}": {"n": "x"}}, seconds=10)
    assert "r24" in kept("one")
    assert len(kept("one")) <= 10
    assert kept("other") == {"r0"}
    later = time.time() + 100_000
    monkeypatch.setattr(time, "time", lambda: later)
    turns._write("one", {"r39": {}}, seconds=10)
    assert (kept("one"), kept("other")) == ({"r39"}, set())


def rows(place: str) -> int:
    """Return how many rows are there, of whatever age."""
    with TraceStore.at(place).reading() as connection:
        assert connection is not None
        return int(connection.execute(sa.text("SELECT count(*) FROM responses")).scalar_one())


def test_what_is_too_old_is_neither_read_nor_gone_on_from_and_soon_deleted(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read as long as the key wrote nothing, and up to 31 responses longer."""
    monkeypatch.setattr("guard.sidecar.response_state.AT_ONCE", 2)

    async def book(work: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        return work(*arguments, seconds=seconds)

    turns, now = Turns(TraceStore.at(place), book, most=10, days=1.0), time.time()
    for number, hours in enumerate((-30, -27, -25, -23, -1)):
        monkeypatch.setattr(time, "time", lambda hours=hours: now + hours * 3_600)
        turns._write("k", {f"r{number}": {}}, f"r{number}", f"r{number - 1}" if number else None, seconds=10)
    monkeypatch.setattr(time, "time", lambda: now)
    names = [f"r{number}" for number in range(5)]
    assert turns._sizes("k", names, seconds=10).keys() == turns._rows("k", names, seconds=10).keys() == {"r3", "r4"}
    assert turns._chain("k", "r4", seconds=10) is None
    assert rows(place) == 5
    asyncio.run(turns.expire())
    assert rows(place) == 2


def test_large_responses_make_room_before_the_32nd(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty-one of ten megabytes were kept beyond the hundred."""
    for name, size in (("MOST_BYTES", 1_000), ("EVERY_BYTES", 100)):
        monkeypatch.setattr(f"guard.sidecar.response_state.{name}", size)
    turns = Turns(TraceStore.at(place), None, most=1_000, days=1.0)
    for number in range(30):
        turns._write("k", {f"r{number}": "x" * 98}, seconds=10)  # a hundred bytes
    assert rows(place) <= 11


def test_what_is_kept_is_bounded_for_each_key_in_whatever_order_they_ask(place: str) -> None:
    turns = Turns(TraceStore.at(place), None, most=5, days=1.0)
    for number in range(2 * response_state.EVERY + 2):
        for owner in ("one", "other"):
            turns._write(owner, {f"r{number}": {}}, seconds=10)
    for owner in ("one", "other"):
        names = [f"r{number}" for number in range(2 * response_state.EVERY + 2)]
        assert len(turns._rows(owner, names, seconds=10)) <= 5 + response_state.EVERY


def test_ids_that_an_upstream_gives_again_are_kept_by_two_writers_at_once(place: str) -> None:
    every = [Turns(TraceStore(place), None, most=1000, days=1.0) for _ in range(4)]

    def written(turns: Turns) -> None:
        for number in range(20):
            turns._write("k", {"resp_1": {"of": number}, "msg_1": {"of": number}}, seconds=30)

    recounts.at_once(*[functools.partial(written, turns) for turns in every])
    assert every[0]._rows("k", ["resp_1", "msg_1"], seconds=10) == {"resp_1": {"of": 19}, "msg_1": {"of": 19}}
    for turns in every:
        turns._store.close()


@pytest.mark.parametrize("previous", ["resp_\0", "x" * 201])
def test_what_goes_on_from_an_id_that_no_database_takes_is_answered_and_not_kept(
    sidecar: Sidecar, provider: fake_server.Server, previous: str
) -> None:
    provider.answers = [whole("Three.", 77)]
    assert ask(sidecar, previous_response_id=previous).status == 200
    assert provider.requests[-1].body["previous_response_id"] == previous
    assert sidecar.ask("GET", "/v1/responses/resp_up_77").status == 404


def test_items_do_not_count_as_responses(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With three items each, a fourth as many responses were kept as the settings say."""
    monkeypatch.setattr("guard.sidecar.response_state.EVERY", 1)
    turns = Turns(TraceStore.at(place), None, most=10, days=1.0)
    for number in range(12):
        turns._write("k", {f"r{number}": {}, **{f"m{number}_{item}": {} for item in range(3)}}, seconds=10)
    names = [name for number in range(12) for name in (f"r{number}", *(f"m{number}_{item}" for item in range(3)))]
    assert set(turns._rows("k", names, seconds=10)) == set(names[8:])


def test_a_chain_that_comes_back_to_itself_is_not_kept(place: str) -> None:
    """A provider that gives all responses one id: the chain was followed a thousand times."""
    turns = Turns(TraceStore.at(place), None, most=10, days=1.0)
    turns._write("k", {"a": {}}, "a", None, seconds=10)
    turns._write("k", {"b": {}}, "b", "a", seconds=10)
    assert turns._chain("k", "b", seconds=10) == [("b", 2), ("a", 2)]
    turns._write("k", {"a": {}}, "a", "b", seconds=10)
    assert turns._chain("k", "a", seconds=10) is None


def test_a_chain_is_whole_or_not_there(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.sidecar.response_state.MOST_TURNS", 20)
    turns = Turns(TraceStore.at(place), None, most=100, days=1.0)
    assert turns._chain("k", None, seconds=10) == []
    for number in range(1, 22):
        turns._write("k", {f"r{number}": {}}, f"r{number}", f"r{number - 1}" if number > 1 else None, seconds=10)
    assert turns._chain("k", "r20", seconds=10) == [(f"r{number}", 2) for number in range(20, 0, -1)]
    assert turns._chain("other", "r20", seconds=10) is None
    with pytest.raises(ApiError, match="more than 20 responses"):
        turns._chain("k", "r21", seconds=10)
    turns._write("k", {"s2": {}}, "s2", "s1", seconds=10)
    assert turns._chain("k", "s1", seconds=10) is None
    assert turns._chain("k", "s2", seconds=10) is None


def test_a_look_at_the_head_of_a_response_does_not_delete_it(sidecar: Sidecar, provider: fake_server.Server) -> None:
    """HEAD, which every GET brings along, deleted the response like DELETE."""
    provider.answers = [whole("Three.")]
    path = f"/v1/responses/{ask(sidecar).json['id']}"
    assert [sidecar.ask(way, path).status for way in ("HEAD", "GET", "DELETE", "HEAD")] == [200, 200, 200, 404]


@pytest.mark.parametrize(
    "end",
    [
        {"response": "x"},
        {"response": None},
        {},
        {"response": {"id": "resp_odd", "status": "completed", "output": 5}},
        {"response": {"id": "resp_odd", "status": "completed", "output": [5]}},
    ],
)
def test_an_end_without_a_whole_response_is_no_answer_and_is_not_kept(
    sidecar: Sidecar, provider: fake_server.Server, end: Any
) -> None:
    """It was a failure of the sidecar's own, at once or when a later request went on from it."""
    provider.answers = [streamed({"type": "response.completed", **end})]
    reply = ask(sidecar, stream=True)
    assert (reply.status, reply.json["error"]["code"]) == (502, "bad_reply")
    assert sidecar.ask("GET", "/v1/responses/resp_odd").status == 404


def test_a_content_that_is_no_list_has_no_text(sidecar: Sidecar, provider: fake_server.Server) -> None:
    said = {"id": "resp_odd_2", "object": "response", "status": "completed", "output": [{"type": "x", "content": 5}]}
    provider.answers = [fake_server.Answer(raw=json.dumps(said).encode())]
    assert ask(sidecar).json == said


def test_the_use_of_a_streamed_response_is_on_record(sidecar: Sidecar, provider: fake_server.Server) -> None:
    """It is in the response, not in its event: every stream's was an estimate, for the key's limits too."""
    told = {"input_tokens": 1234, "output_tokens": 567, "total_tokens": 1801}
    said = json.loads(whole("Three.", 9).raw or b"")
    done = {"type": "response.completed", "response": {**said, "usage": told}}
    provider.answers = [streamed({"type": "response.output_text.delta", "delta": "Three."}, done)]
    assert ask(sidecar, stream=True).status == 200
    record = TraceStore.at(sidecar.trace).latest()[0]
    assert (record.prompt_tokens, record.completion_tokens, record.is_estimate) == (1234, 567, False)


def test_two_writers_keep_what_each_has_written(place: str) -> None:
    turns = Turns(TraceStore.at(place), None, most=1000, days=1.0)
    names = [[f"{who}{n}" for n in range(20)] for who in "ab"]
    threads = [
        threading.Thread(target=lambda mine=mine: [turns._write("k", {n: {"of": n}}, seconds=30) for n in mine])
        for mine in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = turns._rows("k", [name for mine in names for name in mine], seconds=10)
    assert found == {name: {"of": name} for mine in names for name in mine}


# ---- items as messages ----


def test_items_become_the_messages_that_a_chat_had() -> None:
    given = [
        {"role": "user", "content": [{"type": "input_text", "text": "Look."}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I call."}]},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}", "id": "fc_1"},
        {"type": "function_call", "call_id": "b", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "plain"},
        {
            "type": "function_call_output",
            "call_id": "b",
            "output": [
                {"type": "input_text", "text": "a picture:"},
                {"type": "input_image", "image_url": PICTURE, "detail": "low"},
                {"type": "input_file", "file_data": "data:text/plain;base64,AA==", "filename": "a.txt"},
            ],
        },
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I can't."}]},
        {"role": "user", "content": "Why?"},
    ]
    calls = [
        {"id": i, "type": "function", "function": {"name": n, "arguments": "{}"}} for i, n in (("a", "f"), ("b", "g"))
    ]
    assert response_items.messages(given) == [
        {"role": "user", "content": [{"type": "text", "text": "Look."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "I call."}], "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "plain"},
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": [
                {"type": "text", "text": "a picture:"},
                {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
                {"type": "file", "file": {"file_data": "data:text/plain;base64,AA==", "filename": "a.txt"}},
            ],
        },
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I can't."}]},
        {"role": "user", "content": "Why?"},
    ]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}, "input.0.content.0.image_url"),
        ({"role": "user", "content": [{"type": "input_file", "file_url": "https://x"}]}, "input.0.content.0"),
        ({"role": "user", "content": [{"type": "hologram"}]}, "input.0.content.0.type"),
        ({"type": "function_call", "call_id": "a", "name": "f"}, "input.0"),
        ({"type": "function_call_output", "call_id": "a"}, "input.0.output"),
        ({"type": "computer_call"}, "input.0.type"),
        ({"role": "user", "content": [3]}, "input.0.content"),
    ],
)
def test_what_a_chat_has_no_place_for_is_refused_with_its_place(item: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        response_items.messages([item])
    assert (caught.value.status, caught.value.param) == (400, param)


CALLS = st.builds(
    lambda n: {"type": "function_call", "call_id": n, "name": "f", "arguments": "{}"}, st.text(max_size=2)
)
RESULTS = st.builds(lambda n: {"type": "function_call_output", "call_id": n, "output": "x"}, st.text(max_size=2))
SAID = st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "assistant"]), st.text())


@given(st.lists(CALLS | RESULTS | SAID))
def test_no_item_is_lost_and_none_changes_places(given: list[Any]) -> None:
    told = []
    for message in response_items.messages(given):
        if message["role"] == "tool":
            told.append(("output", message["tool_call_id"]))
            continue
        if message["content"] is not None:
            told.append((message["role"], message["content"]))
        told += [("call", call["id"]) for call in message.get("tool_calls", ())]
    names = {"function_call": "call", "function_call_output": "output"}
    wanted = [
        (item["role"], item["content"]) if "role" in item else (names[item["type"]], item["call_id"]) for item in given
    ]
    assert told == wanted


# ---- events ----


def test_a_streamed_call_begins_empty_and_its_arguments_come_once(
    client: openai.OpenAI, provider: fake_server.Server
) -> None:
    provider.answers = [says(("weather", WRONG)), says(("weather", OSLO))]
    with client.responses.stream(model="m", input="?", tools=[WEATHER]) as stream:
        events = list(stream)
    (added,) = [e for e in events if e.type == "response.output_item.added"]
    assert added.item.arguments == ""
    deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert "".join(deltas) == OSLO
    assert events[-1].response.output[0].arguments == OSLO


def test_words_come_before_calls_in_one_streamed_response(client: openai.OpenAI, provider: fake_server.Server) -> None:
    provider.answers = [says(("weather", OSLO), content="I look it up.")]
    with client.responses.stream(model="m", input="?", tools=[WEATHER]) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [item.type for item in final.output] == ["message", "function_call"]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "I look it up."
    assert [e.output_index for e in events if e.type == "response.output_item.done"] == [0, 1]
    assert [e.sequence_number for e in events] == list(range(len(events)))


def test_a_refusal_has_events_of_its_own(client: openai.OpenAI, provider: fake_server.Server) -> None:
    provider.answers = [fake_server.Answer("", refusal="I can't.")]
    with client.responses.stream(model="m", input="?", text=FORMAT) as stream:
        events = list(stream)
    kinds = [event.type for event in events]
    assert (
        kinds.index("response.refusal.delta") < kinds.index("response.refusal.done") < kinds.index("response.completed")
    )
    assert events[-1].response.output[0].content[0].refusal == "I can't."


@pytest.mark.parametrize("form", [{"type": "text"}, {"type": "json_schema", "name": "s", "schema": {"type": "string"}}])
def test_an_answer_that_was_cut_ends_as_incomplete(tmp_path: Path, form: dict[str, Any]) -> None:
    with serving_here(tmp_path) as here:
        body = {"model": "m", "input": "x", "max_output_tokens": 5, "text": {"format": form}}
        whole = here.ask("POST", "/v1/responses", body).json
        assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        *_, item, last = here.ask("POST", "/v1/responses", {**body, "stream": True}).events
        assert (item["type"], last["type"]) == ("response.output_item.done", "response.incomplete")
        assert last["response"]["usage"]["output_tokens"] == whole["usage"]["output_tokens"] > 0
        for told in (whole["output"], last["response"]["output"], [item["item"]]):
            assert [message["status"] for message in told] == ["incomplete"]


def test_fields_that_are_not_known_here_go_on(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = ['{"n": 3}']
    ask(
        sidecar,
        text={**FORMAT, "verbosity": "low"},
        service_tier="flex",
        prompt_cache_key="k",
        metadata={"a": "b"},
        new_field=[1],
        store=True,
    )
    sent = provider.requests[0].body
    assert {
        name: sent.get(name) for name in ("verbosity", "service_tier", "prompt_cache_key", "metadata", "new_field")
    } == {
        "verbosity": "low",
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "metadata": {"a": "b"},
        "new_field": [1],
    }
    assert "store" not in sent


def test_what_a_model_thought_is_an_item(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [fake_server.Answer('{"n": 3}', thinking="Hm.")]
    thought, message = ask(sidecar, text=FORMAT).json["output"]
    assert (thought["type"], thought["content"]) == ("reasoning", [{"type": "reasoning_text", "text": "Hm."}])
    assert message["content"][0]["text"] == '{"n": 3}'
    events = ask(sidecar, text=FORMAT, stream=True).events
    assert [e["delta"] for e in events if e["type"] == "response.reasoning_text.delta"] == ["Hm."]


def test_a_key_goes_on_from_nothing_that_only_the_provider_knows(tmp_path: Path) -> None:
    """A plain request was passed on with an id that was not kept for its key.

    The provider knows one account: it went on from another key's response, and from a deleted one.
    """
    with fake_server.Server(whole("42.")) as provider, serving(tmp_path, model(provider.url)) as sidecar:
        store = TraceStore(sidecar.trace)
        (_, one), (_, other) = keys.create(store, "one"), keys.create(store, "other")
        sidecar.wait(lambda: ask(sidecar).status == 401)

        def by(key: str, method: str = "POST", path: str = "", **fields: Any) -> Any:
            body = {"model": "m", "input": "?", **fields} if method == "POST" else None
            return sidecar.ask(method, f"/v1/responses{path}", body, {"authorization": f"Bearer {key}"})

        def refusal(key: str, **fields: Any) -> tuple[int, str]:
            reply = by(key, **fields)
            return reply.status, reply.json["error"]["param"]

        first = by(one).json
        assert by(one, previous_response_id=first["id"]).status == 200
        asked = len(provider.requests)
        for more in ({}, {"stream": True}, {"store": False}):
            assert refusal(other, previous_response_id=first["id"], **more) == (400, "previous_response_id")
        for named in ({"type": "item_reference"}, {"type": None}, {}):
            reference = [{**named, "id": first["output"][0]["id"]}]
            assert refusal(other, input=reference) == (404, "input.0.id")
        assert refusal(other, conversation="conv_1") == (400, "conversation")
        assert refusal(other, conversation={"id": "conv_1"}) == (400, "conversation")
        assert by(one, "DELETE", f"/{first['id']}").status == 200
        assert refusal(one, previous_response_id=first["id"]) == (400, "previous_response_id")
        assert len(provider.requests) == asked


def test_without_keys_the_provider_may_know_what_is_not_kept(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [whole("42.", 55)]
    for named in ({"previous_response_id": "resp_far"}, {"conversation": "conv_far"}, {"input": [{"id": "msg_far"}]}):
        assert ask(sidecar, **named).status == 200
        assert named.items() <= provider.requests[-1].body.items()
