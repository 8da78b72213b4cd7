"""The page of a call: what is on it, and that nothing that was written on it is markup."""

from __future__ import annotations

import dataclasses
import html.parser
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scripted import reply

from guard.decoding.confidence import Token, by_value
from guard.errors import Violation
from guard.output.repair import Edit
from guard.trace.html import page
from guard.trace.records import Attempt, Call

TOKENS = (
    Token('{"', -0.25, 0.5, 1.5),
    Token("", 0.0, 0.0, None),
    Token('é": ', 0.0, 1.0, None, forced=True),
    Token("1}", -1.0, 0.04, 0.125),
)
FIRST = Attempt(
    1,
    ({"role": "user", "content": "\nHow many?"},),
    reply('{"é": 1}', tokens=TOKENS, mode="masks", cost=0.0025),
    (Violation("/é", "minimum", "a number >= 3", "1"),),
    model="smollm2",
    reason="invalid",
)
SECOND = Attempt(
    2,
    ({"role": "user", "content": [{"type": "image"}], "name": "x"},),
    reply("so: 3", thinking="Three."),
    model="large",
    tier=1,
    repairs=(Edit(0, "prose", "so: ", ""),),
    repaired="3",
)


class Reader(html.parser.HTMLParser):
    """Collects elements by name with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def spans(self) -> list[tuple[str | None, str | None]]:
        return [(a.get("class"), a.get("title")) for tag, a in self.elements if tag == "span" and a.get("title")]


def _call(**changes: Any) -> Call:
    return Call(
        "shop.count",
        "Count",
        "c0ffee",
        "typed/1",
        "smollm2",
        {"retries": 2},
        1_770_000_000.5,
        0.75,
        attempts=(FIRST, SECOND),
        number=12,
        **changes,
    )


def test_tokens_are_coloured_by_what_the_mask_removed_and_forced_ones_marked() -> None:
    assert Reader(page(_call())).spans() == [
        ("t r4", "50.0% removed, logprob -0.25, margin 1.50"),
        ("t r0 e", "0.0% removed, logprob 0.00, the only one allowed"),
        ("t r9 f", "forced"),
        ("t r0", "4.0% removed, logprob -1.00, margin 0.12"),
    ]


def test_attempts_findings_and_repairs_stand_beside_them() -> None:
    read = Reader(page(_call(), {"schema": {"type": "object"}}))
    for words in (
        "Call 12: shop.count",
        "valid after 2 attempts; escalated for invalid",
        "Attempt 1: smollm2, tier 0, invalid",
        "Attempt 2: large, tier 1, valid",
        "/é: expected a number >= 3, got 1",
        'prose at 0: "so: " became ""',
        "How many?",
        "Three.",
        '"type": "image"',
        '"name": "x"',
        '"type": "object"',
        "Share of the probability that the mask removed",
    ):
        assert words in read.text, words
    assert [a["href"] for tag, a in read.elements if tag == "a"] == ["#attempt-1", "#attempt-2"]
    assert read.open == []


def test_a_model_that_raised_and_a_call_that_asked_nobody_have_a_page() -> None:
    raised = _call()
    raised = dataclasses.replace(raised, outcome="ModelError", error="down", attempts=(Attempt(1, (), error="down"),))
    assert "ModelError after 1 attempt: down" in Reader(page(raised)).text
    assert (
        "BudgetExceeded after 0 attempts"
        in Reader(page(dataclasses.replace(raised, outcome="BudgetExceeded", error="", attempts=()))).text
    )


def test_tokens_whose_texts_redaction_took_leave_the_answer_as_it_is() -> None:
    call = _call()
    tokens = tuple(dataclasses.replace(token, text="") for token in TOKENS)
    first = dataclasses.replace(call.attempts[0], reply=reply('"[redacted]"', tokens=tokens))
    read = Reader(page(dataclasses.replace(call, attempts=(first,))))
    assert '"[redacted]"' in read.text
    assert read.spans() == []


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    written = page(_call())
    read = Reader(written)
    assert not {tag for tag, _ in read.elements} & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert "http" not in written.replace('http-equiv="Content-Security-Policy"', "")
    assert "default-src 'none'" in written
    assert "prefers-color-scheme: dark" in written
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in read.elements


TEXTS = st.text(st.one_of(st.sampled_from("<>&\"'`=/\0\x1b\ud800\u202e\n"), st.characters(codec=None)), max_size=30) | (
    st.sampled_from(["<script>alert(1)</script>", "</pre><img src=x onerror=alert(1)>", '" onmouseover="x', "</style>"])
)


@given(text=TEXTS, other=TEXTS)
def test_nothing_that_was_written_is_markup(text: str, other: str) -> None:
    attempt = Attempt(
        1,
        ({"role": text, "content": other, text: other},),
        reply(text, thinking=other, tokens=(Token(text, -1.0, 0.5, None),), model=other, finish=text, mode=text),
        (Violation(text, other, text, other),),
        text,
        model=other,
        reason=text,
        repairs=(Edit(0, text, other, text),),
        repaired=other,
    )
    call = Call(text, other, text, other, text, {other: text}, 1.0, outcome=other, error=text, attempts=(attempt,))
    written = page(call, {"schema": {text: other}})
    written.encode()
    values = len(by_value((Token(text, -1.0, 0.5, None),), text))  # whose probabilities are listed
    plain = json.dumps(["a"] * values) if text else ""
    harmless = dataclasses.replace(
        attempt,
        messages=({"role": "a", "content": "b", "c": "d"},),
        reply=reply(plain, thinking="b" if other else "", tokens=(Token(plain, -1.0, 0.5, None),)),
        findings=(Violation("a", "b", "c", "d"),),
        error="a" if text else "",
        repairs=(Edit(0, "a", "b", "c"),),
    )
    same = page(dataclasses.replace(call, options={}, attempts=(harmless,)), {"schema": {}})
    kinds = [(tag, sorted(attributes)) for tag, attributes in Reader(written).elements]
    assert kinds == [(tag, sorted(attributes)) for tag, attributes in Reader(same).elements]
