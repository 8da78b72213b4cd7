"""The pages hold together: links, lines, names of files, the reference, and what `make help` lists."""

from __future__ import annotations

import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
WIDTH = 100
#: Modules whose `__all__` is public.
PUBLIC = ("guard", "guard.formats", "guard.kernels", "guard.models", "guard.testing", "guard.trace")
#: Public names that the reference tells of under another name, or that are no more than their value.
ELSEWHERE = {"guard.models.Model", "guard.models.Request", "guard.models.Reply", "guard.kernels.Vocabulary"} | {
    "guard.models.Progress",
    "guard.testing.FAULTS",
    "guard.trace.REDACTED",
    "guard.trace.TraceError",
    "guard.trace.VERSION",
}


def name(page: Path) -> str:
    """Return what a test calls a page."""
    return str(page.relative_to(ROOT))


def test_every_public_name_is_in_the_reference() -> None:
    shown = set(re.findall(r"^::: ([\w.]+)$", "".join(p.read_text() for p in (DOCS / "reference").rglob("*.md")), re.M))
    public = {f"{module}.{each}" for module in PUBLIC for each in importlib.import_module(module).__all__}
    assert public - shown - ELSEWHERE == set()


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_lines_wrap(page: Path) -> None:
    """But for tables, headings and code."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert [line for line in prose.splitlines() if len(line) > WIDTH and not line.startswith(("|", "#", "    "))] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


def rooms(walk: str) -> list[str]:
    """Return the rooms that a walk enters, in order."""
    found: list[str] = []
    for path in re.findall(r"`((?:guard|schemas|kernels)/[\w/.]+)`", walk):
        assert (ROOT / path).is_file(), path
        parts = path.split("/")
        deep = {"guard": 2, "kernels": 3 if parts[1] == "cpu" else 1, "schemas": 1}[parts[0]]
        room = "/".join(parts[:-1][:deep])
        if not found or found[-1] != room:
            found.append(room)
    return found


def test_no_walk_enters_a_room_twice() -> None:
    _, *walks = re.split(r"^## ", (DOCS / "explanation" / "walks.md").read_text(), flags=re.MULTILINE)
    assert [walk.partition("\n")[0] for walk in walks] == ["A schema", "A token", "A request"]
    for walk in walks:
        entered = rooms(walk)
        assert len(entered) == len(set(entered)) > 3, entered


def test_the_newcomers_questions_are_answered_by_files_that_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (.*\?) \| (.*) \|$", text, re.MULTILINE)
    assert len(rows) >= 20
    for question, answer in rows:
        files = re.findall(r"`([\w./]+)`", answer)
        assert files, question
        assert [file for file in files if not (ROOT / file).exists()] == [], question


@pytest.mark.parametrize("folder", ["docs", "guard", "schemas", "kernels", "tests", "benchmarks", "fuzz"])
def test_every_file_that_is_named_is_there(folder: str) -> None:
    """But in the history."""
    roots = "guard|schemas|kernels|tests|docs|benchmarks|fuzz|examples|tools"
    path = re.compile(rf"\b((?:{roots})/[\w/.-]+\.(?:py|.pp|md|js))\b")
    texts = [
        file
        for suffix in ("*.md", "*.py", "*.cpp", "*.hpp")
        for file in (ROOT / folder).rglob(suffix)
        if "history" not in file.parts
    ]
    missing = {
        f"{file.relative_to(ROOT)}: {named}"
        for file in texts
        for named in path.findall(file.read_text(encoding="utf-8"))
        if not (ROOT / named).exists()
    }
    assert missing == set()


def test_the_rooms_are_those_of_the_package() -> None:
    rows = re.findall(r"^\| (`guard/.*) \| ", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    documented = {room for row in rows for room in re.findall(r"`guard/(\w+)`", row)}
    assert documented == {file.parent.name for file in (ROOT / "guard").glob("*/__init__.py")}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_make_help_lists_every_target_that_is_documented() -> None:
    makefile = (ROOT / "Makefile").read_text()
    documented = set(re.findall(r"^([a-z-]+):[^#\n]*## ", makefile, re.MULTILINE))
    done = subprocess.run(["make", "-s", "help"], capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S607 (ours)
    listed = re.findall(r"^  make ([a-z-]+) ", done.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(documented)


def test_the_changelog_has_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
