"""The page for a person, in a real browser: what it shows, that it shows nothing else, and who can use it."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, expect
from sidecars import Sidecar, model, serving
from ui_pages import GOOD, SCHEMA, WRONG, Watched, ui

from guard.decoding.alternative import Alternative
from guard.decoding.confidence import Token
from guard.errors import Violation
from guard.models.base import Reply
from guard.schemas.grounding.sources import Place
from guard.sidecar import keys
from guard.testing import fake_server
from guard.trace import TraceStore
from guard.trace.databases import FUNCTION
from guard.trace.records import Attempt, Call, Shown
from guard.tuning.registry import CARD, Registry, write_json

expect.set_options(timeout=20_000)  # a busy machine may take its time

#: What would run where any of these texts became markup.
HOSTILE = """</script></style></iframe>"'><img src=x onerror=parent.hacked=hacked=1><svg onload=hacked=1>\u202e{{1}}"""


def comes_true(page: Page, expression: str) -> None:
    """Wait until an expression holds: asked from here, as the page's policy lets no text be run as code in it."""
    until = time.monotonic() + 5
    while not page.evaluate(expression):
        assert time.monotonic() < until, expression
        page.wait_for_timeout(20)


def tile(page: Page, name: str) -> str:
    return page.locator("#totals > div", has=page.get_by_text(name, exact=True)).locator("dd").first.inner_text()


def test_it_is_served_to_anyone_under_a_strict_policy(sidecar: Sidecar) -> None:
    reply = sidecar.ask("GET", "/ui")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    for path in ("/ui", "/ui/app.css", "/ui/app.js", "/ui/json.js"):
        headers = sidecar.ask("GET", path).headers
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    for path in ("/ui/", "/ui/nonesuch.js", "/ui/../ui.py", "/ui/%2e%2e/ui.py"):
        assert sidecar.ask("GET", path).status == 404


def test_figures_are_those_of_the_endpoints(filled: Sidecar, watched: Callable[..., Watched]) -> None:
    page = watched(filled).page
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator(".column").first).to_be_visible()
    points = [p for ps in filled.ask("GET", "/guard/stats?minutes=60").json["models"].values() for p in ps]
    calls, valid = sum(p["calls"] for p in points), sum(p["valid"] for p in points)
    assert calls >= 4
    assert tile(page, "Calls") == str(calls)
    assert tile(page, "Valid") == f"{int(valid / calls * 1000) / 10:g}%"
    assert tile(page, "Re-asks") == str(sum(p["re_asks"] for p in points))
    assert tile(page, "Cost") == "not known"
    row = page.locator("#models tbody tr", has_text="openai:served-1")
    expect(row.locator("td").nth(2)).to_have_text(str(calls))
    expect(row.locator("td").nth(1)).to_contain_text("m answers")
    page.get_by_role("button", name="Pause").click()  # so that no step moves while they are read
    page.get_by_label("Time", exact=True).select_option("15")
    plot = page.get_by_role("slider", name="Calls", exact=True)
    expect(plot).to_have_attribute("aria-valuemax", "14")
    plot.press("Home")
    steps = {plot.press("ArrowRight") or plot.get_attribute("aria-valuetext") for _ in range(60)}
    read = sum(int(words.rpartition("served-1 ")[2]) for words in steps if words and "served-1" in words)
    points = filled.ask("GET", "/guard/stats?minutes=15").json["models"]["openai:served-1"]
    assert read == sum(p["calls"] for p in points)


def test_a_failure_is_shown_with_its_findings_and_opens(filled: Sidecar, watched: Callable[..., Watched]) -> None:
    page = watched(filled).page
    failure = filled.ask("GET", "/guard/failures?limit=1").json["calls"][0]
    shown = page.locator(".failure").first
    expect(shown).to_contain_text("/required")
    expect(shown).to_contain_text("(root): expected the property 'total', got {}")
    shown.get_by_role("link").click()
    assert page.url.endswith(f"#call/{failure['call']}")
    frame = page.frame_locator("iframe")
    expect(frame.locator("article")).to_have_count(3)
    expect(frame.get_by_role("heading", level=1)).to_have_text(f"Call {failure['call']}: /v1/chat/completions")
    assert page.title() == f"Call {failure['call']} · Guard"
    inside = "document.querySelector('iframe').contentDocument"
    page.evaluate(f"{inside}.querySelectorAll('nav a')[1].focus()")
    page.keyboard.press("Enter")  # within the frame, and does not lead it away
    assert page.evaluate(f"[{inside}.activeElement.id, {inside}.URL]") == ["attempt-2", "about:srcdoc"]
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as a page").click()
    whole = filled.ask("GET", f"/guard/traces/{failure['call']}/page").data
    assert saved.value.suggested_filename == f"call-{failure['call']}.html"
    assert Path(saved.value.path()).read_bytes() == whole
    page.goto(f"{ui(filled)}#call/999999")
    expect(page.get_by_role("alert").filter(has_text="the trace has no call 999999")).to_be_visible()


def test_tokens_are_shown_in_colours_and_a_frame_as_high_as_they_need(
    filled: Sidecar, watched: Callable[..., Watched]
) -> None:
    tokens = (Token('{"total": ', 0.0, 1.0, None, forced=True), Token("3}", -0.5, 0.6, 1.5))
    reply = Reply("".join(t.text for t in tokens), "stop", "served-1", 11, 7, tokens=tokens, mode="masks", cost=0.0)
    attempt = Attempt(1, ({"role": "user", "content": "How much?"},), reply, model="openai:served-1")
    call = Call("f", "sum", "", "", "openai:served-1", {}, 1.0, attempts=(attempt,))
    (number,) = TraceStore(filled.trace).write_all([(call, None, 30.0)])
    page = watched(filled, f"call/{number}").page
    expect(page.frame_locator("iframe").locator("pre .t")).to_have_count(2)
    # Asked from outside: no script runs in there, playwright's neither.
    inside = "document.querySelector('iframe').contentDocument"
    colours = f"[...{inside}.querySelectorAll('pre .t')].map((e) => getComputedStyle(e).backgroundColor)"
    assert len(set(page.evaluate(colours))) == 2
    height = page.evaluate("document.querySelector('iframe').clientHeight")
    page.evaluate(f"{inside}.querySelectorAll('details').forEach((e) => (e.open = true))")
    comes_true(page, f"document.querySelector('iframe').clientHeight > {height}")
    comes_true(page, f"document.querySelector('iframe').clientHeight >= {inside}.documentElement.scrollHeight")


def test_grounded_values_are_marked_in_the_document_with_what_else_they_could_have_been(
    filled: Sidecar, watched: Callable[..., Watched]
) -> None:
    document = "Pay <b>Anna Smith</b> 12.50 EUR."
    text = '{"payee": "Anna Smith", "total": 12.5}'
    tokens = (
        Token('{"payee":', 0.0, 0.0, None),
        Token(' "Anna Smith",', -0.5, 0.0, None),
        Token(' "total": 12.5}', 0.0, 0, None),
    )
    others = {"/payee": (Alternative("Pay <b>Anna", 0.25),)}
    reply = Reply(text, "stop", "served-1", 11, 7, tokens=tokens, alternatives=others, mode="masks", cost=0.0)
    attempt = Attempt(
        1,
        ({"role": "user", "content": document},),
        reply,
        model="openai:served-1",
        sources={"/payee": (Place("mail", 7, 17),), "/total": (Place("mail", 22, 27),)},
        inputs={"mail": Shown(0, 0, 0, len(document))},
    )
    call = Call("f", "sum", "", "", "openai:served-1", {}, 1.0, attempts=(attempt,))
    (number,) = TraceStore(filled.trace).write_all([(call, None, 30.0)])
    frame = watched(filled, f"call/{number}").page.frame_locator("iframe")
    expect(frame.locator("mark")).to_have_text(["Anna Smith", "12.50"])
    assert frame.locator("mark").first.get_attribute("title") == "/payee"
    frame.get_by_text("Probability of each value").click()
    expect(frame.get_by_text("/payee: 0.61")).to_have_text('/payee: 0.61, or "Pay <b>Anna" 0.25')


ORDER = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 9},
        "size": {"enum": ["small", "large"]},
        "count": {"$ref": "#/$defs/count"},
        "paid": {"type": "boolean"},
        "to": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"type": "string"},
    },
    "required": ["name", "size", "count", "to"],
    "additionalProperties": False,
    "$defs": {"count": {"type": "integer", "minimum": 1}},
}
PLACED = {"name": "Ada", "size": "small", "count": 2, "paid": True, "to": {"city": "Lund"}, "tags": ["new"]}


def test_an_answer_is_rated_and_corrected_in_a_form_by_its_schema(
    sidecar: Sidecar, provider: fake_server.Server, watched: Callable[..., Watched]
) -> None:
    provider.answers = [json.dumps(PLACED)]
    shape = {"type": "json_schema", "json_schema": {"name": "order", "schema": ORDER}}
    number = sidecar.chat(response_format=shape).headers["x-guard-call"]
    page = watched(sidecar, f"call/{number}").page

    def kept() -> Any:
        return sidecar.ask("GET", f"/guard/traces/{number}").json["feedback"]

    told = page.locator(".feedback [role=status]")
    expect(told).to_have_text("Nobody has said yet.")
    page.get_by_role("button", name="It is right").click()
    expect(told).to_have_text("Right, says person.")
    page.get_by_text("Correct it").click()
    save = page.get_by_role("button", name="Save the correction")
    save.click()  # what stands there is what was answered
    expect(told).to_have_text("Right, and saved, says person.")
    assert kept() == {"right": True, "value": json.dumps(PLACED), "by": "person"}

    page.get_by_label("count").fill("0")
    save.click()
    expect(page.locator(".feedback [role=alert]")).to_contain_text("/count: expected a number >= 1, got 0")
    page.get_by_label("count").fill("two")
    save.click()
    expect(page.locator(".feedback [role=alert]")).to_have_text("two is not JSON: write a number.")
    expect(page.get_by_label("count")).to_be_focused()
    page.get_by_label("count").fill("3")
    page.get_by_label("size").select_option("large")
    page.get_by_label("city").fill("Malmö")
    page.get_by_label("paid").select_option("(left out)")
    page.get_by_label("tags").fill('["new", "gift"]')
    save.click()
    expect(told).to_have_text("Wrong, and corrected, says person.")
    right = {"name": "Ada", "size": "large", "count": 3, "to": {"city": "Malmö"}, "tags": ["new", "gift"]}
    assert json.loads(kept()["value"]) == right
    page.reload()
    expect(page.get_by_label("city")).to_have_value("Malmö")
    page.get_by_role("button", name="It is wrong").click()
    expect(told).to_have_text("Wrong, says person.")


def test_what_is_served_alone_and_what_it_costs_is_shown(filled: Sidecar, watched: Callable[..., Watched]) -> None:
    page = watched(filled, "economics").page
    row = page.locator("#costs tbody tr").first
    expect(row).to_contain_text("/v1/chat/completions")
    line = filled.ask("GET", "/guard/economics?minutes=1440").json["functions"][0]
    assert line["valid"] >= 3
    expect(page.locator("#shares")).to_have_text("No tuned model was measured here: guard shadow does it.")


def test_a_version_is_measured_from_the_page(tmp_path: Path, watched: Callable[..., Watched]) -> None:
    registry = Registry(tmp_path / "models")
    (registry.place("shop.read") / "1").mkdir(parents=True)
    write_json(registry.place("shop.read") / "1" / CARD, {"base": "smollm2"})
    with serving(tmp_path, model("http://127.0.0.1:9/v1"), env={"GUARD_REGISTRY": str(registry.root)}) as sidecar:
        page = watched(sidecar, "economics").page
        page.get_by_role("button", name="Measure shop.read, version 1").click()
        shown = page.locator("#versions")
        expect(shown).to_contain_text("shop.read, version 1 beside version 0")
        words = "failed: 0 questions with right answers are too few to compare on; 20 are needed"
        expect(shown).to_contain_text(words, timeout=120_000)


def test_calls_are_paged_back_and_forth(filled: Sidecar, watched: Callable[..., Watched]) -> None:
    page = watched(filled, "calls").page
    store = TraceStore(filled.trace)
    store.write_all([(Call("f", "t", "", "", "openai:a", {}, 1.0), None, 30.0) for _ in range(30)])
    newest = filled.ask("GET", "/guard/traces?limit=1").json["calls"][0]["call"]
    first = page.locator("#list tbody tr").first.locator("td").first
    page.get_by_role("button", name="Refresh").click()
    expect(first).to_have_text(str(newest))
    expect(page.get_by_role("button", name="Newer")).to_be_disabled()
    page.get_by_role("button", name="Older").click()
    expect(first).to_have_text(str(newest - 25))
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    store.write_all([(Call("f", "t", "", "", "openai:a", {}, 1.0), None, 30.0)])
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#told")).to_have_text("Refreshed.")
    expect(first).to_have_text(str(newest - 25))  # a page that was gone back to stands still
    page.get_by_role("button", name="Newer").click()
    expect(first).to_have_text(str(newest + 1))


def test_calls_that_cant_be_read_are_left_out_and_named(tmp_path: Path, watched: Callable[..., Watched]) -> None:
    with serving(tmp_path, model("http://127.0.0.1:9/v1")) as sidecar:
        store = TraceStore(sidecar.trace)
        store.write_all([(Call("f", "t", "", "", "openai:a", {}, 1.0), None, 30.0) for _ in range(7)])
        with contextlib.closing(sqlite3.connect(sidecar.trace)) as other:
            other.create_function(FUNCTION, 0, int)
            other.execute("UPDATE calls SET options = '' WHERE id < 6")
            other.commit()
        page = watched(sidecar, "calls").page
        expect(page.locator("#list tbody tr")).to_have_count(2)
        words = [f"call {number} is damaged and can't be read" for number in (5, 4, 3)]
        expect(page.locator("#list .notice")).to_have_text(f"Left out: {'; '.join(words)}; and 2 more.")


def test_what_is_under_way_is_shown_while_it_is_and_refreshing_pauses(
    filled: Sidecar, provider: fake_server.Server, watched: Callable[..., Watched]
) -> None:
    page = watched(filled).page
    expect(page.locator("#live")).to_have_text("No request is under way.")
    leave = threading.Event()
    provider.answers = [lambda _: leave.wait(20) and "Hello."]
    thread = threading.Thread(target=lambda: filled.chat(headers={"x-request-id": "slow-1"}))
    thread.start()
    try:
        row = page.locator("#live tbody tr")
        expect(row).to_contain_text("slow-1")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#state")).to_have_text("Paused")
    finally:
        leave.set()
        thread.join()
    page.wait_for_timeout(2500)  # longer than it would be until the next look
    expect(row).to_contain_text("slow-1")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#live")).to_have_text("No request is under way.")


def test_the_playground_answers_or_says_what_is_wrong(
    filled: Sidecar, provider: fake_server.Server, watched: Callable[..., Watched]
) -> None:
    page = watched(filled, "playground").page
    page.get_by_label("Model", exact=True).select_option("m")
    page.get_by_label("Prompt").fill("How much?")
    schema, ask = page.get_by_label("JSON Schema"), page.get_by_role("button", name="Ask")
    # As it is written: a browser's own reading would make this 12345678901234567000, and lose the first of two names.
    schema.fill('{"type": "object", "properties": {"total": {"maximum": 12345678901234567890}}}')
    provider.answers = ['{"total":12345678901234567890}']
    ask.click()
    expect(page.locator("#progress")).to_have_text("The answer is valid.")
    assert '"maximum": 12345678901234567890' in json.dumps(provider.requests[-1].body).replace('\\"', '"')
    expect(page.get_by_role("region", name="The value")).to_have_text('{\n  "total": 12345678901234567890\n}')
    expect(page.locator("#answer .pairs")).to_contain_text("served-1")

    schema.fill(json.dumps(SCHEMA))
    expect(page.locator("#progress")).to_have_text("Edited since the last answer: ask again.")
    provider.answers = [WRONG]
    ask.click()
    expect(page.locator("#progress")).to_have_text("There is no valid answer.")
    expect(page.locator("#answer .findings li")).to_have_text(
        "(root): expected the property 'total', got {} rule /required"
    )
    expect(page.locator("#answer a")).to_be_visible()

    provider.answers = [fake_server.Answer('{"total":3}', finish="length")]
    ask.click()
    expect(page.locator("#progress")).to_have_text("The answer is valid, but not whole.")
    expect(page.locator("#answer .pairs")).to_contain_text("cut at(root)")

    provider.requests.clear()
    for text, words in (
        ('{"type": "object",\n  "properties" {}}', "Line 2, column 16: expected a colon, but there is {."),
        ('{"type": "object",', "Line 1, column 19: expected a name in double quotes, but the text ends."),
        ("[1,]", "Line 1, column 4: expected a value, but there is ]."),
        ('{"a": 01}', "Line 1, column 8: expected a comma or the closing bracket, but there is 1."),
        ('{"a": 1, "b": {"a": 2},\n"\\u0061": 3}', "Line 2, column 1: expected another name, since this one is there"),
        ("{}\n\n{}", "Line 3, column 1: expected nothing more, but there is {."),
        ('{"é\U0001f600": "\t"}', "Line 1, column 8: expected a value, but there is a text that is broken."),
    ):
        schema.fill(text)
        ask.click()
        expect(page.locator("#schema-wrong")).to_contain_text(words)
        expect(schema).to_be_focused()
    assert provider.requests == []
    for text, words in (('{"type": 3}', "/type"), ("[]", "schema")):
        schema.fill(text)
        ask.click()
        expect(page.locator("#answer")).to_contain_text(words)
    expect(page.locator("#state")).to_have_text("Live")


def test_the_playground_marks_in_the_prompt_what_the_answer_is_grounded_in(
    filled: Sidecar, provider: fake_server.Server, watched: Callable[..., Watched]
) -> None:
    page = watched(filled, "playground").page
    grounded = {"type": "string", "x-guard-from": {"input": "input", "within": "paragraph"}}
    names = ["first", "whole"]
    schema = {"type": "object", "properties": dict.fromkeys(names, grounded), "required": names}
    prompt = "\U0001f600 <b>Ada</b> Lovelace wrote.\n\n" + "More.\n" * 60 + "Signed, Ada"
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_label("JSON Schema").fill(json.dumps(schema))
    page.get_by_label("Model", exact=True).select_option("m")
    provider.answers = [json.dumps({"first": "Ada", "whole": "Ada</b> Lovelace"})]
    page.get_by_role("button", name="Ask").click()
    source, marks = page.get_by_role("region", name="The prompt, marked"), page.locator("#answer mark")
    expect(marks).to_have_text(["Ada", "</b> Lovelace", "Ada"])
    assert [mark.get_attribute("title") for mark in marks.all()] == ["/first, /whole", "/whole", "/first"]
    assert source.text_content() == prompt
    buttons = page.locator(".places button")
    expect(buttons).to_have_text(["/first Ada in 2 places", "/whole Ada</b> Lovelace in 1 place"])
    lit = page.locator("#answer mark.lit")
    buttons.nth(0).focus()
    expect(lit).to_have_text(["Ada", "Ada"])
    assert "underline" in str(lit.first.evaluate("e => getComputedStyle(e).textDecorationLine"))
    page.keyboard.press("Tab")
    expect(lit).to_have_text(["Ada", "</b> Lovelace"])
    source.evaluate("e => { e.scrollTop = e.scrollHeight; }")
    buttons.nth(0).hover()
    expect(lit).to_have_text(["Ada", "</b> Lovelace", "Ada"])
    expect(marks.first).to_be_in_viewport()
    page.keyboard.press("Tab")
    expect(source).to_be_focused()
    provider.answers = [GOOD]
    page.get_by_label("JSON Schema").fill(json.dumps(SCHEMA))
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("region", name="The value")).to_be_visible()
    expect(marks).to_have_count(0)


@pytest.fixture(scope="module")
def reader(browser: Browser, running: Sidecar) -> Iterator[Page]:
    """Give a page on which the page's own reading of JSON can be called."""
    page = browser.new_page()
    page.goto(ui(running))
    page.evaluate("async () => { window.json = await import(new URL('ui/json.js', document.baseURI)); }")
    yield page
    page.close()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def nearly_json(draw: st.DrawFn) -> str:
    """Draw JSON texts, some of them with a few characters taken out or put in."""
    text = json.dumps(draw(VALUES), indent=draw(st.sampled_from([None, 0, 2])), ensure_ascii=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        put = draw(st.sampled_from(["", *'{}[],:"-.0e1\\u\t\n', "\xa0", "null", "\x00"]))
        text = text[:at] + put + text[at + draw(st.integers(0, 2)) :]
    return text


@given(text=nearly_json())
@example(text='{"a": 1, "\\u0061": 2}')
def test_a_schema_is_read_as_the_sidecar_reads_it_and_indented_as_it_stands(reader: Page, text: str) -> None:
    def pairs(found: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        if len({name for name, _ in found}) < len(found):
            raise ValueError("a name stands twice")
        return found

    try:
        json.loads(text, object_pairs_hook=pairs, parse_constant=int)
        is_json = True
    except ValueError:
        is_json = False
    fault, indented = reader.evaluate("(text) => [json.faultOf(text)?.line ?? null, json.indented(text)]", text)
    assert (fault is None) == is_json
    if is_json:
        tokens = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s]')
        assert tokens.findall(indented) == tokens.findall(text)
        assert json.loads(indented) == json.loads(text)


def test_the_playground_shows_that_it_asks_and_can_be_stopped(
    filled: Sidecar, provider: fake_server.Server, watched: Callable[..., Watched]
) -> None:
    page = watched(filled, "playground", reduced_motion="reduce").page
    provider.answers = [fake_server.Answer(GOOD, change=lambda _: [fake_server.HANG])]
    page.get_by_label("Model", exact=True).select_option("m")
    page.get_by_label("Prompt").press("Control+Enter")
    expect(page.locator("#progress")).to_have_text("Asking m.")
    assert page.locator(".spinner").evaluate("e => getComputedStyle(e).animationName") == "none"
    expect(page.locator(".elapsed")).to_have_text("1 s")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Ask")).to_be_focused()
    filled.wait(lambda: filled.ask("GET", "/guard/live").json["requests"] == [])


def test_what_strangers_wrote_is_text(
    filled: Sidecar, provider: fake_server.Server, watched: Callable[..., Watched]
) -> None:
    token = Token(HOSTILE, -0.5, 0.5, 1.0)
    reply = Reply(HOSTILE, "stop", HOSTILE, 1, 1, tokens=(token,), thinking=HOSTILE, thinking_tokens=1)
    finding = Violation(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    message = {"role": HOSTILE, "content": HOSTILE, HOSTILE: HOSTILE}
    attempt = Attempt(1, (message,), reply, (finding,), HOSTILE, model=HOSTILE, reason=HOSTILE)
    call = Call(HOSTILE, HOSTILE, "", HOSTILE, HOSTILE, {}, time.time(), 1.0, HOSTILE, HOSTILE, (attempt,))
    (number,) = TraceStore(filled.trace).write_all([(call, None, 30.0)])
    page = watched(filled).page
    expect(page.locator(".failure").first).to_contain_text(HOSTILE)
    expect(page.locator("#models")).to_contain_text(HOSTILE)
    expect(page.locator("#legend")).to_contain_text(HOSTILE)
    slider = page.get_by_role("slider", name="Latency")
    slider.press("End")
    if HOSTILE not in page.locator(".read").nth(4).inner_text():
        slider.press("ArrowLeft")  # a minute has begun since
    expect(page.locator(".read").nth(4)).to_contain_text(HOSTILE)
    page.goto(f"{ui(filled)}#calls")
    expect(page.locator("#list")).to_contain_text(HOSTILE)
    page.goto(f"{ui(filled)}#call/{number}")
    expect(page.frame_locator("iframe").locator("body")).to_contain_text(HOSTILE)
    page.goto(f"{ui(filled)}#playground")
    provider.answers = [json.dumps({HOSTILE: HOSTILE})]
    page.get_by_label("JSON Schema").fill("")
    page.get_by_label("Model", exact=True).select_option("m")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("region", name="The value")).to_contain_text("onerror")
    page.goto(f"{ui(filled)}#{HOSTILE}")
    expect(page.locator("#overview")).to_be_visible()
    page.wait_for_timeout(100)
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("img").count() == 0


def test_the_policy_lets_no_markup_of_texts_in_even_where_the_script_would(
    filled: Sidecar, watched: Callable[..., Watched]
) -> None:
    found = watched(filled)
    tried = """() => {
      try { document.body.innerHTML = "<img src=x onerror='window.hacked = 1'>"; } catch (error) { return error.name; }
    }"""
    assert found.page.evaluate(tried) == "TypeError"
    found.said.clear()  # the policy notes that it held


def test_where_keys_are_it_asks_for_an_operators_and_keeps_it_in_the_tab_only(
    tmp_path: Path, watched: Callable[..., Watched]
) -> None:
    store = TraceStore(tmp_path / "trace.db")
    _, operator = keys.create(store, "boss", is_operator=True)
    _, plain = keys.create(store, "shop")
    with fake_server.Server(GOOD) as provider, serving(tmp_path, model(provider.url)) as sidecar:
        found = watched(sidecar, "playground")
        page = found.page
        field = page.get_by_label("Operator's key", exact=True)
        expect(field).to_be_focused()
        expect(page.locator("#playground")).to_be_hidden()
        for given, words in (
            ("sk-guard-x-y", "This key is not known here, or was revoked."),
            (plain, "not an operator's."),
            ("schlüssel", "letters, digits and dashes only"),
        ):
            field.fill(given)
            field.press("Enter")
            expect(page.locator("#gate-wrong")).to_contain_text(words)
        field.fill(operator)
        field.press("Enter")
        expect(page.locator("#gate")).to_be_hidden()
        page.get_by_role("button", name="Ask").click()
        page.get_by_role("link", name="attempts and tokens").click()
        expect(page.frame_locator("iframe").locator("article").first).to_be_visible()
        stored = "() => [localStorage.length, document.cookie, Object.values(sessionStorage).length]"
        assert page.evaluate(stored) == [0, "", 1]
        assert not any(operator in request.url for request in found.asked)
        page.reload()
        expect(page.frame_locator("iframe").locator("article").first).to_be_visible()
        page.get_by_role("button", name="Forget the key").click()
        expect(field).to_be_visible()
        assert page.evaluate(stored) == [0, "", 0]
        expect(page.locator("iframe")).to_have_count(0)


def test_a_sidecar_that_is_gone_is_said_and_found_again(tmp_path: Path, watched: Callable[..., Watched]) -> None:
    with fake_server.Server(GOOD) as provider:
        with serving(tmp_path, model(provider.url)) as sidecar:
            page = watched(sidecar).page
            expect(page.locator("#state")).to_have_text("Live")
            expect(page.locator("#failures .empty")).to_have_text("No call has failed.")
            sidecar.end()
            expect(page.get_by_role("alert").first).to_contain_text("The sidecar does not answer: it can't be reached.")
            expect(page.locator("#state")).to_have_text("No answer")
        port = sidecar.port
        with serving(tmp_path, model(provider.url), "--port", str(port)):
            expect(page.locator("#state")).to_have_text("Live", timeout=20_000)
            expect(page.locator("#trouble")).to_be_empty()
            expect(page.locator("#told")).to_have_text("The sidecar answers again.")
