"""The page for a person, for everyone: by the keyboard alone, readable, and no wider than the screen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sidecars import Sidecar
from ui_pages import FORMAT, SCHEMA, WRONG, Watched, ui

from guard.decoding.confidence import Token
from guard.errors import Violation
from guard.models.base import Reply
from guard.testing import fake_server
from guard.trace import TraceStore
from guard.trace.records import Attempt, Call

expect.set_options(timeout=20_000)  # a busy machine may take its time

LEAST = 4.5  #: WCAG 2.2's contrast of text, level AA.
WIDTHS = {"phone": 375, "desk": 1280}
VIEWS = ("overview", "calls", "economics", "playground")

#: Every text that is seen → its contrast with what is behind it, the worst first.
CONTRASTS = """(frame) => {
  const document = frame?.contentDocument ?? window.document;
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const layer = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) => [0, 1, 2].map((i) => (top[i] * top[3] + below[i] * (255 - top[3])) / 255);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(layer(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = (rgb) => rgb
    .map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const isOff = element.closest("button:disabled, .unseen, noscript, option");
    if (!texts.currentNode.data.trim() || isOff || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const colour = layer(element instanceof SVGElement ? style.fill : style.color);
    const below = behind(element);
    const [a, b] = [light(over(colour, below)), light(below)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), texts.currentNode.data.trim().slice(0, 40)]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}"""
#: What has the focus, in words, and how it shows that.
FOCUSED = """() => {
  const e = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(e);
  const words = e.labels?.[0]?.textContent ?? e.ariaLabel ?? e.title ?? "";
  const isShown = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  return [e.tagName.toLowerCase(), (words || e.textContent).replace(/\\s+/g, " ").trim(), isShown];
}"""


def test_the_keyboard_alone_reaches_everything_and_shows_where_it_is(
    filled: Sidecar, watched: Callable[..., Watched]
) -> None:
    page = watched(filled).page
    expect(page.locator(".failure").first).to_be_visible()
    walk = walked(page)
    failures = filled.ask("GET", "/guard/failures/kinds").json["calls"]
    assert walk == [
        ("a", "Skip to the content"),
        *(("a", name) for name in ("Overview", "Calls", "Economics", "Playground")),
        ("button", "Pause"),
        ("button", "Refresh"),
        ("select", "Time"),
        *(("div", name) for name in ("Calls", "Valid", "Re-asks", "Escalations", "Latency", "Cost")),
        *(("a", f"Call {call['call']}") for call in failures),
    ]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skips
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)[0] == "select"
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Playground")).to_be_focused()
    page.keyboard.press("Tab")
    names = [page.evaluate(FOCUSED)[1]]
    for _ in range(4):
        page.keyboard.press("Tab")
        names.append(page.evaluate(FOCUSED)[1])
    assert [name.partition(" ")[0] for name in names] == ["Model", "Prompt", "JSON", "More", "Ask"]
    roles = page.locator("main, header, nav").evaluate_all(
        "all => all.filter(e => e.checkVisibility()).map(e => e.tagName)"
    )
    assert roles[:3] == ["HEADER", "NAV", "MAIN"]
    unnamed = "all => all.filter(e => !(e.labels?.length || e.ariaLabel || e.textContent.trim())).map(e => e.id)"
    assert page.locator("button, a, input, select, textarea").evaluate_all(unnamed) == []


def test_a_focus_is_kept_when_what_is_around_it_is_shown_anew(
    filled: Sidecar, provider: fake_server.Server, watched: Callable[..., Watched]
) -> None:
    page = watched(filled).page
    link = page.locator(".failure a").first
    kind, name = page.locator(".failure").first, link.inner_text()
    link.focus()
    came_back = "document.dispatchEvent(new Event('visibilitychange'))"
    provider.answers = [WRONG]
    filled.chat(response_format=FORMAT)  # of the same kind
    page.evaluate(came_back)
    expect(page.locator("#told")).to_have_text("1 new failure.")
    expect(kind.locator("a")).not_to_have_text(name)
    expect(kind.locator("a")).to_be_focused()
    name = kind.locator("a").inner_text()
    other = Call("another", "t", "", "", "a", {}, time.time(), outcome="Unavailable")
    TraceStore(filled.trace).write_all([(other, None, 30.0)])
    page.evaluate(came_back)
    expect(kind.locator("a")).not_to_have_text(name)
    expect(page.get_by_role("link", name=name, exact=True)).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read(
    filled: Sidecar, provider: fake_server.Server, watched: Callable[..., Watched], scheme: str
) -> None:
    page = watched(filled, color_scheme=scheme).page
    expect(page.locator(".failure").first).to_be_visible()
    page.get_by_role("slider", name="Calls", exact=True).press("End")
    seen = {"overview": page.evaluate(CONTRASTS)}
    page.get_by_role("link", name="Calls", exact=True).click()
    expect(page.locator("#list td").first).to_be_visible()
    seen["calls"] = page.evaluate(CONTRASTS)
    page.get_by_role("link", name="Playground").click()
    provider.answers = [WRONG]
    page.get_by_label("JSON Schema").fill(json.dumps(SCHEMA))
    page.get_by_label("Model", exact=True).select_option("m")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#answer .findings")).to_be_visible()
    page.get_by_label("JSON Schema").fill("{")
    seen["playground"] = page.evaluate(CONTRASTS)
    tokens = tuple(Token(f"{share}% ", -0.5, share / 100, 1.0) for share in range(0, 101, 10))
    reply = Reply("".join(t.text for t in tokens), "stop", "served-1", 1, 1, tokens=tokens, mode="masks")
    attempt = Attempt(1, ({"role": "user", "content": "How?"},), reply, (Violation("/a", "/b", "c", "d"),))
    (number,) = TraceStore(filled.trace).write_all(
        [(Call("f", "t", "", "", "a", {}, 1.0, attempts=(attempt,)), None, 30.0)]
    )
    page.goto(f"{ui(filled)}#call/{number}")
    expect(page.frame_locator("iframe").locator("pre .t").first).to_be_visible()
    seen["call"] = page.locator("iframe").evaluate(CONTRASTS)
    for view, contrasts in seen.items():
        assert len(contrasts) > 15, view
        assert contrasts[0][0] >= LEAST, (view, contrasts[:5])


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_no_view_is_wider_than_the_screen(filled: Sidecar, watched: Callable[..., Watched], width: int) -> None:
    long = "x" * 300
    reply = Reply(long, "stop", long, 1, 1)
    attempt = Attempt(1, ({"role": "user", "content": long},), reply, (Violation(long, long, long, long),), model=long)
    call = Call(long, long, "", "", long, {}, 2.0, outcome="ValidationFailed", error=long, attempts=(attempt,))
    (number,) = TraceStore(filled.trace).write_all([(call, None, 30.0)])
    page = watched(filled, viewport={"width": width, "height": 812}, has_touch=width < 500).page
    for view in (*VIEWS, f"call/{number}"):
        page.goto(f"{ui(filled)}#{view}")
        expect(page.locator(f"#{view.partition('/')[0]}")).to_be_visible()
        if view == "overview":
            expect(page.locator(".failure").filter(has_text=long).first).to_be_visible()
        if view.startswith("call/"):
            expect(page.frame_locator("iframe").locator("article")).to_be_visible()
            inner = page.locator("iframe").evaluate(
                "f => f.contentDocument.documentElement.scrollWidth - f.clientWidth"
            )
            assert inner <= 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view


def walked(page: Page) -> list[tuple[str, str]]:
    """Press Tab from the beginning to the end; returns what had the focus, which must have been seen."""
    walk: list[tuple[str, str]] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        tag, words, is_shown = page.evaluate(FOCUSED)
        if tag == "body":
            break
        assert is_shown, words
        walk.append((tag, words))
    return walk
