"""Turns in pieces: however a turn is cut, its pieces make the whole, and little is held back."""

from __future__ import annotations

import contextlib
import json
import os
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard import formats
from guard.models.scripted import ScriptedModel
from guard.turns import pieces, trials
from guard.turns.pieces import CallPiece, Spoken

DATA = Path(os.environ.get("GUARD_DATA") or Path(__file__).parents[4] / "shared" / "data")
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
SHAPES = (
    *("trl/qwen3", "trl/gemma4", "trl/lfm2_v2", "llama.cpp/Qwen3.5-4B", "llama.cpp/Qwen3-Coder"),
    *("llama.cpp/GLM-4.7-Flash", "llama.cpp/MiniMax-M2", "llama.cpp/Kimi-K2-Thinking"),
    *("llama.cpp/mistralai-Mistral-Nemo-Instruct-2407", "llama.cpp/deepseek-ai-DeepSeek-V4"),
    *("llama.cpp/LFM2.5-8B-A1B", "llama.cpp/ByteDance-Seed-OSS"),
    "llama.cpp/Apriel-1.6-15b-Thinker-fixed",  # thinking that nothing begins
)


@pytest.fixture(scope="module", params=SHAPES)
def form(request: pytest.FixtureRequest) -> Any:
    """A format of each shape."""
    if not (DATA / "chat-templates.tar.gz").exists():
        pytest.skip("no test data")
    with tarfile.open(DATA / "chat-templates.tar.gz") as archive:
        (name,) = [one for one in archive.getnames() if one.endswith(f"{request.param}.jinja")]
        file = archive.extractfile(name)
        assert file is not None
        return formats.from_chat_template(file.read().decode(), **SPECIAL)


def cut(text: str, draw: random.Random, longest: int) -> list[str]:
    """Cut a text into pieces of up to so many characters."""
    pieces = []
    while text:
        length = draw.randint(1, longest)
        pieces.append(text[:length])
        text = text[length:]
    return pieces


def told(reader: Any, pieces: list[str]) -> tuple[str, list[tuple[str, Any]]]:
    """Return what a reader tells of a turn in pieces: the text, and the calls."""
    text, calls = "", list[list[str]]()
    for part in [part for piece in pieces for part in reader.feed(piece)] + list(reader.end()):
        if not isinstance(part, CallPiece):
            text += part
        elif part.name:
            assert part.number == len(calls)
            calls.append([part.name, str(part)])
        else:
            calls[part.number][1] += str(part)
    return text, [(name, json.loads(arguments)) for name, arguments in calls]


@pytest.mark.parametrize("seed", range(5))
def test_every_cut_of_a_turn_makes_the_same_whole(form: Any, seed: int) -> None:
    draw = random.Random(seed)
    turn = trials.drawn(draw, form)
    text = form.assistant(turn.calls, turn.text)
    whole = form.read(text, trials.TOOLS, begun="")
    meant = (whole.text, [(call.name, call.arguments) for call in whole.calls])
    assert whole.trouble is None
    for longest in (1, 3, 9, len(text) + 1):
        assert told(form.reader(trials.TOOLS, begun=""), cut(text, draw, longest)) == meant


@pytest.mark.parametrize("calls", [[{}], [{"zone": "x"}], [{}, {"zone": "x"}, {}]])
def test_calls_without_arguments_come_once(form: Any, calls: list[Any]) -> None:
    clock = {"name": "clock", "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}}}
    made = [("clock", arguments) for arguments in (calls if form.anatomy.several else calls[:1])]
    text = form.assistant(made)
    for longest in (1, 3, len(text)):
        assert told(form.reader([clock], begun=""), cut(text, random.Random(7), longest)) == ("", made)


@pytest.mark.parametrize("begun", [None, ""])
@pytest.mark.parametrize(("calls", "text"), [([("ping", {})], ""), ([], "Hi there. <think a < b")])
def test_thinking_and_its_marks_are_no_text(form: Any, begun: str | None, calls: Any, text: str) -> None:
    thoughts = ["I wonder. <b Well"] if form.anatomy.thinking is not None else []
    for thought in (*thoughts, *([""] if begun is not None or not form.opened else [])):
        whole = form.assistant(calls, text, thought)
        whole = whole if begun is not None else whole.removeprefix(form.opened)
        read = form.read(whole, trials.TOOLS, begun=begun)
        if read.trouble is None:
            for longest in (1, 3, len(whole)):
                come = told(form.reader(trials.TOOLS, begun=begun), cut(whole, random.Random(3), longest))
                assert come == (read.text, calls)


def test_what_leaves_the_format_comes_as_text(form: Any) -> None:
    """The reader went on with a matcher that had refused bytes: text was lost, and unfinished values were read."""
    call = form.assistant([("get_weather", {"city": "Ulm", "days": 3})])
    for said, calls in (
        ("Hello ö <b", 0),
        (f'{{"a": "{call}"}}', 0),
        (f"{call[: len(call) // 2]}\x00 ö {call}", 0),
        (f"{call}\x00 {call}", 1),
    ):
        read = form.read(said, trials.TOOLS, begun=form.over, tool_choice="required")
        for longest in (1, 3, len(said)):
            reader = form.reader(trials.TOOLS, begun=form.over, tool_choice="required")
            parts = [part for piece in cut(said, random.Random(5), longest) for part in reader.feed(piece)]
            parts += reader.end()
            assert "".join(part for part in parts if not isinstance(part, CallPiece)) == read.text
            if calls or longest == len(said):
                made = ["".join(str(part) for part in parts if isinstance(part, CallPiece))]
                assert [json.loads(one) for one in made if one] == [one.arguments for one in read.calls]


def test_no_more_text_is_held_back_than_a_mark_is_long(form: Any) -> None:
    reader = form.reader(trials.TOOLS, begun=form.over)
    said = "It will rain < and <tool then <| and [TOOL and so on, a < b."
    longest = max(map(len, reader._marks), default=0)
    come = ""
    for number, char in enumerate(said, 1):
        come += "".join(reader.feed(char))
        assert said.startswith(come)
        assert number - len(come) <= longest
    assert come + "".join(reader.end()) == said


@pytest.mark.parametrize("before", [0, 300, 20_000])
def test_arguments_come_at_most_two_tokens_behind(form: Any, before: int) -> None:
    can_talk = form.anatomy.text_with_calls is not None
    text = form.assistant([("get_weather", {"city": "Ulm", "days": 3})], "word " * (before // 5) if can_talk else "")
    style = form.anatomy.arguments.style
    first = text.index('{"city"' if style is None else style["members"]["opening"].partition("{key}")[0] + "city")
    reader, come = form.reader(trials.TOOLS, begun=""), 0
    for number, at in enumerate(range(0, len(text), 4)):  # a token is about four characters
        parts = [part for part in reader.feed(text[at : at + 4]) if isinstance(part, CallPiece) and str(part)]
        if at + 4 > first and not come:
            come = number
        if parts:
            assert str(parts[0]).startswith("{")
            assert number - come <= 2
            return
    pytest.fail("no arguments came")


def test_a_long_argument_comes_while_it_is_written(form: Any) -> None:
    city = "Ulm, a < b, it is " * 200
    text = form.assistant([("get_weather", {"city": city, "days": 3})])
    reader, told, begin = form.reader(trials.TOOLS, begun=""), "", text.index(city)
    for at in range(0, begin + len(city), 4):
        told += "".join(str(part) for part in reader.feed(text[at : at + 4]) if isinstance(part, CallPiece))
        written = min(at + 4, begin + len(city)) - begin
        if written > 0:
            told_of_it = len(told) - len('{"city": "')
            assert written - told_of_it <= 20 + len(text) // pieces.SHARE


# ---- the text of a turn that is written as JSON ----------------------------------------------------------------------


def spoken(pieces: list[str]) -> str:
    reader = Spoken()
    return "".join([reader.feed(piece) for piece in pieces])


@given(st.text(), st.booleans(), st.randoms())
def test_every_cut_of_a_text_in_json_says_the_same(said: str, is_ascii: bool, draw: random.Random) -> None:
    written = json.dumps({"content": said, "calls": []}, ensure_ascii=is_ascii)
    for longest in (1, 5, len(written)):
        assert spoken(cut(written, draw, longest)) == said


@given(st.text(st.sampled_from('\\\\\\uudD8c3F0"n\n, x'), max_size=40), st.randoms())
def test_of_what_is_no_json_the_text_before_is_said(rest: str, draw: random.Random) -> None:
    written = '{"content": "so ' + rest
    said = spoken(cut(written, draw, 3))
    assert said == spoken([written])
    assert said.startswith("so ")
    assert said.encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (r"\ud83d", ""),
        (r"a \udc00 b c d e f g", "a "),
        (r"a \q b c d e f g h", "a "),
        ("a\nb", "a\nb"),
        (r"\ud83d\ude00", "😀"),
    ],
)
def test_half_of_a_surrogate_pair_is_not_said(tmp_path: Path, content: str, said: str) -> None:
    answer = f'{{"content": "{content}", "calls": [{{"name": "lamp", "arguments": {{"on": true}}}}]}}'
    lamp = {"name": "lamp", "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}}}
    asked = guard.Guard(model=ScriptedModel(answer, pieces=2), retries=0, repair=False, trace=tmp_path / "trace.db")
    events: list[Any] = []
    with contextlib.suppress(guard.ValidationFailed), asked.stream_turn("Light!", [lamp]) as stream:
        events += stream
    assert "".join(event.text for event in events) == said
