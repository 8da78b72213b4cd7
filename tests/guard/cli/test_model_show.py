"""`guard models show`: what is derived from a chat template is printed, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guard.cli import app

TEMPLATE = """\
{%- for message in messages %}{{ message.role + ': ' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' + call.function.arguments | tojson }}
{%- endfor %}{{ eos_token }}{%- endfor %}
"""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        app.main(["models", "show", *arguments])
    return int(left.value.code or 0)


@pytest.fixture
def template(tmp_path: Path) -> str:
    path = tmp_path / "chat.jinja"
    path.write_text(TEMPLATE)
    return str(path)


def test_a_templates_format_is_printed_for_people(template, capsys) -> None:
    assert run("--template", template) == 0
    shown = capsys.readouterr().out
    assert "[TOOL_CALLS]{name}[ARGS]{arguments}" in shown
    assert '[TOOL_CALLS]get_weather[ARGS]{"city": "Bonn"}' in shown


def test_a_templates_format_is_printed_for_programs(template, capsys) -> None:
    assert run("--template", template, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["format"]["kind"] == "json"
    assert shown["format"]["round_trips"]


def test_a_template_without_calls_is_told(tmp_path, capsys) -> None:
    path = tmp_path / "chat.jinja"
    path.write_text("{{ messages[-1].content }}")
    assert run("--template", str(path)) == 0
    assert "no format of calls" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["smollm2", "--template", "x"], ["--template", "no-such-file"]])
def test_what_can_not_be_shown_is_said_in_a_line(arguments, capsys) -> None:
    assert run(*arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
