"""Numbers on the command line: where none is given that can be meant, one line says so and names the option."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from guard.cli import app

#: None of them means any of these.
NEVER = ("nan", "-inf", "-1", "1e400", "", "1,5", str(2**64), "9" * 5000)
#: What may be below zero.
SIGNED = ("--seed",)


def commands(group: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command's words, and the function that does it."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield (*path, command.name or command.callback.__name__.replace("_", "-")), command.callback
    for under in group.registered_groups:
        assert under.typer_instance is not None
        yield from commands(under.typer_instance, (*path, str(under.name)))


def numbers() -> Iterator[tuple[list[str], str, list[str]]]:
    """Yield of each option that is a number the words before it, its name, and what else the command needs."""
    for words, function in commands(app.app):
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters
        infos = {name: getattr(hints[name], "__metadata__", (None,))[0] for name in parameters}
        needed = [
            "1"
            for name, one in parameters.items()
            if isinstance(infos[name], typer.models.ArgumentInfo) and one.default is inspect.Parameter.empty
        ]
        for name, info in infos.items():
            kind = typing.get_args(hints[name])[0] if info is not None else hints[name]
            kinds = set(typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,))
            if kinds & {int, float} and not isinstance(info, typer.models.ArgumentInfo):
                named = [one for one in getattr(info, "param_decls", None) or () if one.startswith("--")]
                yield list(words), named[0] if named else "--" + name.replace("_", "-"), needed


OPTIONS = list(numbers())


def test_there_are_many_such_options() -> None:
    assert len(OPTIONS) > 25
    assert (["run"], "--usd", ["1"]) in OPTIONS


@pytest.mark.parametrize(
    ("words", "option", "needed"), OPTIONS, ids=[" ".join([*words, option]) for words, option, _ in OPTIONS]
)
def test_what_is_no_number_ends_in_one_line(
    words: list[str],
    option: str,
    needed: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for never in NEVER:
        if never == "-1" and option in SIGNED:
            continue
        with pytest.raises(SystemExit) as ended:
            app.main([*words, f"{option}={never}", *needed])
        said = capsys.readouterr()
        assert ended.value.code == 2, (never, said)
        assert said.out == ""
        assert said.err.count("\n") == 1, (never, said)
        assert option in said.err, (never, said)


@pytest.mark.parametrize("number", ["-1", str(2**63), "9" * 5000, "x"])
@pytest.mark.parametrize("words", [["show"], ["replay"], ["feedback", "--right"]])
def test_what_is_no_calls_number_ends_in_one_line(
    words: list[str], number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(["trace", *words, "--", number])
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert "number" in said.err


@pytest.mark.parametrize("age", [f"{2**63 - 1}d", f"{2**63 - 1}h", "9" * 5000 + "m", "100001d"])
@pytest.mark.parametrize("words", [["trace", "stats"], ["trace", "export", "--format", "sft"], ["economics", "f"]])
def test_an_age_beyond_all_records_ends_in_one_line(
    words: list[str], age: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main([*words, "--since", age])
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert said.err.startswith(f"guard: --since {age[:90]}")
    assert said.err.endswith(" must be at most 100000 days ago\n")
    assert len(said.err) < 200


def test_a_version_of_more_digits_than_python_reads_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(["models", "promote", "shop.read@" + "9" * 5000])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("… must name a version, as shop.read@2\n")


@pytest.mark.parametrize("given", [("--seconds", "nan"), ("--seconds=nan",), ("--usd", "NaN")])
def test_what_is_no_number_is_not_said_to_be_beyond_one(
    given: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(("run", "schema.json", "-i", "a.txt", *given))
    option = given[0].partition("=")[0]
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"guard: {option} must be a finite number; see `guard run --help`\n"
