"""The rooms of kernels/cpu: an include goes down, files stay short, and each stands in the map."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from guard.schemas import opcodes

CPU = Path(__file__).parents[2] / "kernels" / "cpu"
#: A room includes rooms to its right, and files of its own.
FLOORS = ("python", "runtime", "sampling masks attention", "automaton", "constraints", "lexers", "regex", "support")
HEIGHT = {room: -height for height, floor in enumerate(FLOORS) for room in floor.split()}
LONGEST = 700  #: Lines of a file.

SOURCES = sorted(path for path in CPU.rglob("*.?pp"))
INCLUDE = re.compile(r'^#include "([^"]+)"$', re.MULTILINE)


def includes(path: Path) -> list[str]:
    """Headers of ours that a file includes, as they are written."""
    return INCLUDE.findall(path.read_text())


def test_the_fuzzer_of_the_engine_fits_it() -> None:
    """It is built by `make fuzz` alone, and was not any more."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no C++ compiler (Debian: apt-get install g++)")
    source = CPU.parents[1] / "fuzz" / "kernel" / "engine.cpp"
    done = subprocess.run(
        [compiler, "-std=c++20", "-fsyntax-only", f"-I{CPU}", str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_file_lies_in_a_room() -> None:
    assert {path.parent.name for path in SOURCES} == set(HEIGHT)
    assert all(path.parent.parent == CPU for path in SOURCES)


@pytest.mark.parametrize("room", HEIGHT)
def test_an_include_names_its_room_and_goes_down(room: str) -> None:
    for path in (CPU / room).iterdir():
        for header in includes(path) if path.suffix in (".cpp", ".hpp") else ():
            assert (CPU / header).is_file(), f"{room}/{path.name} includes {header}, which names no room"
            into = header.split("/")[0]
            is_down = into == room or HEIGHT[into] < HEIGHT[room]
            assert is_down, f"{room}/{path.name} includes {header}: {room} is not above {into}"


def test_no_header_includes_itself_by_way_of_others() -> None:
    graph = {f"{path.parent.name}/{path.name}": includes(path) for path in SOURCES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for header in graph[name]:
                visit(header, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_only_the_room_of_python_knows_python() -> None:
    for path in SOURCES:
        knows = re.search(r"#include <(Python\.h|nanobind/)", path.read_text())
        assert not knows or path.parent.name == "python", path


def test_the_opcodes_are_those_of_the_front_end() -> None:
    assert (CPU / "support" / "opcodes.hpp").read_text() == opcodes.header(), "make opcodes"


def test_no_file_is_long() -> None:
    lines = {f"{path.parent.name}/{path.name}": path.read_text().count("\n") for path in SOURCES}
    assert {name: n for name, n in lines.items() if n > LONGEST} == {}


def test_the_map_has_a_line_for_each_file() -> None:
    text = (CPU / "README.md").read_text()
    named = set(re.findall(r"`([a-z_]+(?:\.[ch]pp|\.map|))`", text))
    assert {path.stem for path in SOURCES} - {name.split(".")[0] for name in named} == set()
