"""What type checkers say of code that uses Guard: mypy as strict as it gets, and pyright; they read tests/typing."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import guard
from guard.calls import policy
from guard.calls.pipeline import CallSettings

ROOT = Path(__file__).parents[2]
CODE = ROOT / "tests" / "typing"
NEEDS_PLUGIN = {"docstrings.py"}  #: What pyright, which has no plug-ins, does not take.


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder in which Guard's sources have the shape in which they are installed."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "guard").mkdir()
    for source in [*(ROOT / "guard").iterdir(), ROOT / "schemas", ROOT / "kernels"]:
        (folder / "guard" / source.name).symlink_to(source)
    return folder


def _said_by_mypy(package: Path, tmp_path: Path) -> dict[tuple[str, int], str]:
    """Return mypy's errors: file and line, and what is said there."""
    settings = tmp_path / "mypy.ini"
    settings.write_text(
        f"[mypy]\nstrict = true\nplugins = guard.mypy\nmypy_path = {package}\npython_version = 3.11\n"
        "[mypy-guard.*]\nfollow_imports = silent\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings), "--output", "json"]
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / "typing"), "--no-error-summary", str(CODE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(Path(e["file"]).name, e["line"]): e["message"] for e in found if e["severity"] == "error"}


def _said_by_pyright(package: Path, tmp_path: Path) -> dict[tuple[str, int], str]:
    """Return pyright's errors: file and line, and what is said there."""
    settings = {
        "typeCheckingMode": "strict",
        "extraPaths": [str(package)],
        "pythonVersion": "3.11",
        "reportUnusedFunction": False,
    }
    shutil.copytree(CODE, tmp_path / "code")  # it reads what lies beside its settings
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--project", str(tmp_path), "--pythonpath", sys.executable]
    environment = {**os.environ, "PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT": "1", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run([*command, "--outputjson"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    told = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] == len(list(CODE.glob("*.py")))
    return {
        (Path(e["file"]).name, e["range"]["start"]["line"] + 1): e["message"]
        for e in told["generalDiagnostics"]
        if e["severity"] == "error"
    }


def _wrong() -> set[tuple[str, int]]:
    """Return the lines that are marked as wrong."""
    return {
        (file.name, number)
        for file in CODE.glob("*.py")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if line.endswith("# wrong")
    }


def test_mypy_infers_right_and_finds_what_is_wrong(package: Path, tmp_path: Path) -> None:
    said = _said_by_mypy(package, tmp_path)
    assert said.keys() == _wrong(), said


def test_pyright_infers_right_and_finds_what_is_wrong(package: Path, tmp_path: Path) -> None:
    said = _said_by_pyright(package, tmp_path)
    in_docstrings = {at: words for at, words in said.items() if at[0] in NEEDS_PLUGIN}
    assert said.keys() - in_docstrings.keys() == _wrong(), said
    assert all(re.match(r"Function with declared return type \S+ must return value", w) for w in in_docstrings.values())
    bodies = (CODE / "docstrings.py").read_text().count("def ")
    assert len(in_docstrings) == bodies  # else pyright takes them by now, and this file can go the way of the others


def test_the_settings_are_those_of_a_guard() -> None:
    made = inspect.signature(guard.Guard.__init__)
    assert list(CallSettings.__annotations__) == list(made.parameters)[1:]
    told = {name: getattr(kind, "__forward_arg__", kind) for name, kind in CallSettings.__annotations__.items()}
    assert told == {name: parameter.annotation for name, parameter in list(made.parameters.items())[1:]}


def test_the_failures_and_actions_that_are_typed_are_those_that_there_are() -> None:
    assert get_args(policy.Failure) == tuple(policy.FAILURES)
    assert get_args(policy.Action) == policy.ACTIONS
    assert get_args(policy.Repetition) == policy.REPETITION
