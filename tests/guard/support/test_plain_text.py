"""What is shown in a terminal: no command to it, no change of direction, whoever wrote it; and JSON stays JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard.cli import app
from guard.models.scripted import ScriptedModel, reply
from guard.sidecar.keys import create
from guard.support.plain_text import plain, plain_json, plain_line
from guard.trace import TraceStore

#: Clears the screen, sets the title, writes to the clipboard, by ESC and by C1; turns direction; markup of rich's.
EVIL = (
    "\x1b[2J\x1b]0;owned\x07\x1b]52;c;cm0=\x07\x9b31m\x9d0;x\x9c"
    "\u202ereversed\u2066\u200f\r\x08\x7f[red]bold[/red]\u2028"
)

characters = st.characters() | st.sampled_from(EVIL) | st.integers(0xD800, 0xDFFF).map(chr)
texts = st.lists(characters).map("".join)


def is_fit(character: str) -> bool:
    """Whether a character may be shown: by Unicode's own categories."""
    direction = unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return character in "\n\t" or not (unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or direction)


@given(texts)
def test_what_is_shown_is_fit_and_tells_what_there_was(text: str) -> None:
    shown = plain(text)
    assert all(map(is_fit, shown))
    shown.encode()
    if all(map(is_fit, text)) and shown == text:
        assert plain_line(text) == text.replace("\n", "\\n").replace("\t", "\\t")
    assert shown.count("\n") == text.count("\n")
    assert plain(shown) == shown
    assert len(plain_line(text).splitlines()) <= 1


@given(st.text(st.characters(categories=["L", "N", "P", "S", "M", "Zs"])))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert plain(text) == text


@given(st.recursive(texts | st.integers() | st.none(), lambda part: st.lists(part) | st.dictionaries(texts, part)))
def test_json_is_the_same_value(value: Any) -> None:
    for indent in (None, 2):
        shown = plain_json(value, indent)
        assert json.loads(shown) == json.loads(json.dumps(value))  # halves of one character meet in both
        assert all(map(is_fit, shown))


def test_escapes_are_readable() -> None:
    assert plain("a\x1b[2Jb\u202ec\x9bd\n\te") == "a\\x1b[2Jb\\u202ec\\x9bd\n\te"


def say_everywhere(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a text said by everybody: in names, schemas, inputs, answers, thinking, keys and the trace."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARD_TRACE", str(tmp_path / "trace.db"))
    schema = {"title": text, "type": "object", "properties": {text: {"type": "string"}}, "required": [text]}
    (tmp_path / "evil.json").write_text(json.dumps(schema))
    for name in ("evil.txt", f"in{text.replace('/', '')}.txt"):
        (tmp_path / name).write_text(text)
    store = TraceStore.at(tmp_path / "trace.db")
    answer = json.dumps({text: text}, ensure_ascii=False)
    bad = reply(text, thinking=text, model=f"model{text}", finish="stop")
    for answers in ((bad, answer), (bad, bad)):
        model = ScriptedModel(*answers, name=f"name{text}")
        asker = guard.Guard(model, retries=1, trace=store)
        messages = [{"role": "user", "content": text}]
        with contextlib.suppress(guard.ValidationFailed):
            asker.generate(schema, messages)
    create(store, f"key{text}")
    monkeypatch.setattr(
        "guard.models.load",
        lambda name, _progress=None: (
            ScriptedModel(*[answer, text] * 4, name=f"other{text}")
            if "no" not in str(name)[:2]
            else (_ for _ in ()).throw(guard.ModelError(f"unknown model {name}"))
        ),
    )


COMMANDS = [
    ["trace", "list"],
    ["trace", "show", "1"],
    ["trace", "show", "1", "--html", "-"],
    ["trace", "show", "2"],
    ["trace", "stats"],
    ["trace", "replay", "1"],
    ["trace", "export", "--format", "sft"],
    ["trace", "export", "--format", "dpo"],
    ["keys", "list"],
    ["run", "evil.json", "--input", f"in{EVIL.replace('/', '')}.txt", "evil.txt"],
    ["check", "evil.json", "--all"],
    ["check", f"none{EVIL}.json"],
    ["run", "evil.json", "--input", "evil.txt", "--model", f"no{EVIL}"],
    [f"command{EVIL}"],
    ["trace", "list", "--since", EVIL],
]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "command", COMMANDS, ids=lambda command: " ".join(command)[:24].encode("unicode_escape").decode()
)
def test_no_command_shows_what_strangers_say_raw(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    as_json: bool,
) -> None:
    say_everywhere(EVIL, tmp_path, monkeypatch)
    with pytest.raises(SystemExit):
        app.main([*command, *(["--json"] if as_json else [])])
    out, err = capsys.readouterr()
    assert out or err
    for character in out + err:
        assert is_fit(character), repr(character)
    if as_json:
        for line in out.splitlines():
            json.loads(line)


@pytest.mark.parametrize("command", [["trace", "list"], ["trace", "show", "2"], ["trace", "stats"], ["keys", "list"]])
def test_what_looks_like_an_emoji_s_name_or_like_markup_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    say_everywhere(text := ":tada:[b]x[-b]", tmp_path, monkeypatch)
    with pytest.raises(SystemExit):
        app.main(command)
    out = capsys.readouterr().out
    assert text in "".join(out.split())
    assert "\N{PARTY POPPER}" not in out


def test_the_sidecars_log_is_one_line_a_message() -> None:
    from guard.sidecar.process import _Lines

    try:
        raise ValueError(EVIL)
    except ValueError:
        record = logging.LogRecord("guard", logging.ERROR, "", 0, f"failed: %s\n{EVIL}", (EVIL,), None)
        record.exc_info = sys.exc_info()
    words = _Lines("guard: %(message)s").format(record)
    assert all(map(is_fit, words))
    assert words.splitlines()[0].startswith("guard: failed: \\x1b")
    assert words.splitlines()[1] == "Traceback (most recent call last):"
