"""What a person looks at: live requests, figures, failures with findings, traces, a playground."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import sqlite3
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

from sidecars import Sidecar, model, serving, serving_here

from guard.models.base import Reply
from guard.sidecar.endpoints import operator
from guard.testing import fake_server
from guard.trace import TraceStore
from guard.trace.databases import FUNCTION
from guard.trace.records import Attempt, Call

SCHEMA = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}
WRONG = [{"at": "", "rule": "/required", "expected": "the property 'total'", "got": "{}"}]


def assert_only_its_style_is_allowed(page: Any) -> None:
    """The page said its policy by itself alone, which allowed any style, and could not forbid to frame it."""
    style = page.data.partition(b"<style>")[2].partition(b"</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    policy = page.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", f"style-src 'sha256-{digest}'", "frame-ancestors 'none'"} <= set(policy)


def test_a_playground_tries_a_schema_or_says_what_was_wrong(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = ["{}", '{"total": 3}']
    asked: dict[str, Any] = {"model": "m", "prompt": "How much?", "schema": SCHEMA}
    found = sidecar.ask("POST", "/guard/playground", asked).json
    assert (found["value"], found["attempts"], found["served"]) == ({"total": 3}, 2, "served-1")
    provider.answers = ["{}"]
    refused = sidecar.ask("POST", "/guard/playground", asked)
    assert (refused.status, refused.json["error"]["findings"]) == (422, WRONG)
    assert sidecar.ask("POST", "/guard/playground", {**asked, "schema": {"type": 3}}).status == 400
    assert sidecar.ask("POST", "/guard/playground", {**asked, "nonesuch": 1}).status == 400
    none = sidecar.ask("POST", "/guard/playground", {**asked, "max_tokens": 0})
    assert (none.status, none.json["error"]["param"]) == (400, "max_tokens")


def test_a_path_that_a_proxy_blocks_has_no_other_spelling(sidecar: Sidecar) -> None:
    """/guard%2flive was /guard/live, and passed a proxy that blocks /guard/."""
    paths = ["/guard/live", "/metrics", "/guard%2flive", "/guard%2Flive", "/%67uard/live", "/%6detrics"]
    assert [sidecar.ask("GET", path).status for path in paths] == [200, 200, 404, 404, 404, 404]


def test_an_answer_that_is_not_whole_is_marked_wherever_it_is_shown(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    asked = {"model": "m", "prompt": "?", "schema": {"type": "string"}}
    found = []
    for text, finish in (('"x"', "stop"), ('"x"', "length"), (json.dumps("the same again and " * 20), "stop")):
        provider.answers = [fake_server.Answer(text, finish=finish)]
        found.append(sidecar.ask("POST", "/guard/playground", asked).json)
    assert [(one["cut_at"], one["repeated_at"]) for one in found] == [([], []), ([""], []), ([], [""])]
    listed = sidecar.ask("GET", "/guard/traces?limit=3").json["calls"]
    assert [call["verdict"] for call in listed] == ["valid, not whole", "valid, not whole", "valid"]


def test_a_playground_says_where_the_prompt_states_what_is_grounded(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    grounded = {"type": "string", "x-guard-from": "input"}
    schema = {"type": "object", "properties": {"who": grounded, "kind": {"type": "string"}}, "required": ["who"]}
    provider.answers = ['{"who": "Ada", "kind": "order"}']
    prompt = "\U0001f600 For Ada, and Ada alone: order."
    asked = {"model": "m", "prompt": prompt, "schema": schema}
    assert sidecar.ask("POST", "/guard/playground", asked).json["places"] == {"/who": [[6, 9], [15, 18]]}
    asked["schema"] = {"type": "object"}
    assert sidecar.ask("POST", "/guard/playground", asked).json["places"] == {}


def test_a_person_says_of_an_answer_whether_it_is_right(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = ['{"total": 3}']
    number = sidecar.ask("POST", "/guard/playground", {"model": "m", "prompt": "?", "schema": SCHEMA}).json["call"]

    def said(**body: Any) -> Any:
        return sidecar.ask("POST", "/guard/feedback", {"call": number, **body})

    assert said(right=True).json == {"call": number, "right": True, "by": "person"}
    assert said(value={"total": 5}, by="ada").json == {"call": number, "right": False, "by": "ada"}
    assert said(value={"total": 3}).json["right"] is True
    refused = said(value={"total": "much"})
    assert (refused.status, refused.json["error"]["param"]) == (400, "value")
    assert "/total: expected" in refused.json["error"]["message"]
    for wrong in ({}, {"right": True, "value": 1}, {"right": "yes"}, {"right": True, "call": 999_999_999}):
        assert said(**wrong).status == 400


def test_failures_come_with_their_findings_and_traces_with_every_attempt(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = ["{}"]
    wanted = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA}}
    number = sidecar.chat("<b>How much?</b>", response_format=wanted).json["error"]["call"]
    failure = sidecar.ask("GET", "/guard/failures?limit=1").json["calls"][0]
    assert (failure["call"], failure["outcome"], failure["findings"]) == (number, "ValidationFailed", WRONG)
    whole = sidecar.ask("GET", f"/guard/traces/{number}").json
    assert [attempt["reason"] for attempt in whole["attempts"]] == ["invalid"] * 3
    page = sidecar.ask("GET", f"/guard/traces/{number}/page")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"<b>How much" not in page.data
    assert_only_its_style_is_allowed(page)
    listed = sidecar.ask("GET", f"/guard/traces?limit=2&before={number + 1}").json["calls"]
    assert listed[0]["call"] == number
    older = sidecar.ask("GET", f"/guard/failures?limit=200&before={number}").json["calls"]
    assert all(call["call"] < number and call["outcome"] != "valid" for call in older)
    assert sidecar.ask("GET", "/guard/traces/999999999").status == 404
    for wrong in ("limit=0", "limit=x", "limit=1000", "limit=%31%F0"):
        assert sidecar.ask("GET", f"/guard/failures?{wrong}").status == 400


def test_live_requests_are_listed_while_they_run(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [fake_server.Answer("Hello.", change=lambda body: [1, body])]
    thread = threading.Thread(target=lambda: sidecar.chat(headers={"x-request-id": "slow-1"}))
    thread.start()
    sidecar.wait(lambda: provider.requests)
    (listed,) = sidecar.ask("GET", "/guard/live").json["requests"]
    assert (listed["id"], listed["model"], listed["path"]) == ("slow-1", "m", "/v1/chat/completions")
    thread.join()
    assert sidecar.ask("GET", "/guard/live").json["requests"] == []


def test_figures_are_by_model_and_by_step_of_time_in_any_database(place: str) -> None:
    store, now = TraceStore.at(place), time.time() // 60 * 60 + 59  # late in a minute: a step is one, or several

    def call(age: float, outcome: str, *tiers: int) -> Call:
        attempts = tuple(
            Attempt(n, ({"role": "user"},), tier=tier, model=f"openai:{'ab'[tier]}") for n, tier in enumerate(tiers, 1)
        )
        started = now - age
        return Call("f", "t", "", "", "openai:a", {}, started, 0.5, outcome=outcome, attempts=attempts)

    for each in (call(30, "valid", 0), call(31, "valid", 0, 0, 1), call(1800, "Refused", 0), call(9000, "valid", 0)):
        store.write(each)
    figures = operator.figures(store, 60, now)
    assert figures["step_seconds"] == 60

    def told(points: list[Any]) -> list[tuple[int, ...]]:
        return [tuple(p[name] for name in ("calls", "ended", "valid", "re_asks", "escalated")) for p in points]

    points = figures["models"]["openai:a"]
    assert told(points) == [(1, 1, 0, 0, 0), (2, 1, 1, 1, 1)]
    assert told(figures["models"]["openai:b"]) == [(1, 1, 1, 0, 0)]
    assert told(figures["total"]) == [(1, 1, 0, 0, 0), (2, 2, 2, 1, 1)]
    assert points[1]["started"] == now - 59
    assert points[0]["mean_seconds"] == 0.5


def test_a_cost_that_is_not_known_is_not_counted_as_nothing(place: str) -> None:
    store, now = TraceStore.at(place), time.time()

    def call(*costs: float | None, is_kept: bool = False) -> Call:
        attempts = tuple(
            Attempt(n, ({"role": "user"},), Reply("{}", "stop", "a", 1, 1, cost=cost, is_kept=is_kept))
            for n, cost in enumerate(costs, 1)
        )
        return Call("f", "t", "", "", "openai:a", {}, now - 30, 0.5, attempts=attempts)

    for each in (call(0.25), call(0.5, None), call(None, None), call(None, is_kept=True), call()):
        store.write(each)
    (point,) = operator.figures(store, 60, now)["models"]["openai:a"]
    assert (point["calls"], point["usd"], point["unpriced"]) == (5, 0.75, 2)


def test_failures_of_one_kind_are_one_row_with_a_count(sidecar: Sidecar, provider: fake_server.Server) -> None:
    schema = {"type": "array", "items": {"type": "integer"}}
    wanted = {"type": "json_schema", "json_schema": {"name": "numbers", "schema": schema}}
    before = sidecar.ask("GET", "/guard/failures/kinds").json["calls"]
    for text in ('["x"]', '[1, "y"]', "{}"):  # two kinds: an item, wherever it is; and no list
        provider.answers = [text]
        assert sidecar.chat(response_format=wanted).status == 422
    found = sidecar.ask("GET", "/guard/failures/kinds").json
    assert found["next"] is None
    other, items = found["calls"][:2]
    assert (other["count"], items["count"], len(found["calls"])) == (1, 2, len(before) + 2)
    assert items["call"] == other["call"] - 1
    assert items["since"] < items["started"]
    assert items["findings"][0]["at"] == "/1"


def test_a_local_models_calls_cost_nothing_also_where_a_stream_was_left(tmp_path: Path) -> None:
    with serving_here(tmp_path) as here:
        for fields in ({}, {"response_format": {"type": "json_object"}}, {"tools": [TOOL]}):
            body = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True, **fields}
            with contextlib.closing(http.client.HTTPConnection(here.host, here.port)) as connection:
                connection.request("POST", "/v1/chat/completions", json.dumps({**body, "max_tokens": 400}))
                connection.getresponse().read(1)
        here.wait(lambda: here.ask("GET", "/guard/live").json["requests"] == [])
        here.wait(lambda: len(here.ask("GET", "/guard/traces").json["calls"]) == 3)
        for call in here.ask("GET", "/guard/traces").json["calls"]:
            assert call["usd"] == 0
        (points,) = here.ask("GET", "/guard/stats?minutes=10").json["models"].values()
        assert sum(point["unpriced"] for point in points) == sum(point["usd"] for point in points) == 0


def test_figures_are_told(sidecar: Sidecar) -> None:
    assert sidecar.chat().status == 200
    found = sidecar.ask("GET", "/guard/stats?minutes=10").json
    assert sum(point["calls"] for point in found["models"]["openai:served-1"]) >= 1


def test_a_number_of_any_length_is_a_call_or_none(sidecar: Sidecar) -> None:
    for number in ("9" * 5_000, "9" * 19, "-1", "0", "x", "\u0663", "1e5", "%31"):
        for path in (f"/guard/traces/{number}", f"/guard/traces/{number}/page"):
            reply = sidecar.ask("GET", urllib.parse.quote(path, safe="/%"))
            assert reply.status in (200, 404) if number == "%31" else reply.status == 404
        for query in ("limit", "before"):
            assert sidecar.ask("GET", f"/guard/traces?{query}={urllib.parse.quote(number)}").status == 400
        assert sidecar.ask("GET", f"/guard/stats?minutes={urllib.parse.quote(number)}").status == 400


def test_a_query_has_a_hundred_fields_at_most(sidecar: Sidecar) -> None:
    assert sidecar.ask("GET", f"/guard/traces?{'a=1&' * 99}limit=1").status == 200
    many = sidecar.ask("GET", f"/guard/traces?{'a=1&' * 100}limit=1")
    assert many.status == 400
    assert "more than 100 fields" in many.json["error"]["message"]


def test_lists_leave_damaged_calls_out_and_say_so(tmp_path: Path) -> None:
    """One damaged record took every list down; the pages before and after it were lost too."""
    with serving(tmp_path, model("http://127.0.0.1:9/v1")) as here:
        store = TraceStore(here.trace)
        failed = Call("f", "t", "", "", "m", {}, 1.0, outcome="Refused", attempts=(Attempt(1, (), error="no"),))
        store.write_all([(failed, None, 30.0) for _ in range(8)])
        with contextlib.closing(sqlite3.connect(here.trace)) as other:
            other.create_function(FUNCTION, 0, int)
            other.execute("UPDATE attempts SET findings = '{broken' WHERE call IN (2, 6, 7)")
            other.commit()
        said = [f"call {number} is damaged and can't be read" for number in (7, 6, 2)]
        for path in ("/guard/traces", "/guard/failures"):
            pages = [here.ask("GET", f"{path}?limit=3{at}").json for at in ("", "&before=4", "&before=1")]
            assert [[call["call"] for call in page["calls"]] for page in pages] == [[8, 5, 4], [3, 1], []]
            assert [page["damaged"] for page in pages] == [said[:2], said[2:], []]
        kinds = here.ask("GET", "/guard/failures/kinds").json
        assert [(call["call"], call["count"]) for call in kinds["calls"]] == [(8, 5)]
        assert (kinds["damaged"], kinds["next"]) == (said, None)
